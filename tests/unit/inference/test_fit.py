"""Fits against certified values, closed forms and simulation."""

import numpy as np
import pytest
from scipy import stats

from galenic.errors import DataError, SolveError, UnknownName
from galenic.inference.fit import fit
from galenic.inference.problem import Free, FunctionProblem, Record

# NIST StRD, nonlinear regression, data set Misra1a (Misra 1978): y = b1 (1 - exp(-b2 x))
MISRA_X = [77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1]
MISRA_X += [689.1, 760.0]
MISRA_Y = [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40]
MISRA_Y += [75.47, 81.78]


def misra(b):
    x = np.array(MISRA_X)
    decay = np.exp(-b[1] * x)
    return b[0] * (1 - decay), np.stack([1 - decay, b[0] * x * decay], axis=1)


def misra_problem(**options):
    free = [Free("b1", start=250.0, **options), Free("b2", start=0.0005, **options)]
    return FunctionProblem(misra, free, MISRA_Y)


@pytest.mark.parametrize("log", [False, True])
def test_certified_values_of_misra1a(log):
    """https://www.itl.nist.gov/div898/strd/nls/data/misra1a.shtml, certified to 11 digits."""
    result = fit(misra_problem(log=log), noise="estimate")

    assert result.values["b1"] == pytest.approx(2.3894212918e02, rel=1e-7)
    assert result.values["b2"] == pytest.approx(5.5015643181e-04, rel=1e-7)
    assert result.factors["y"] == pytest.approx(1.0187876330e-01, rel=1e-6)
    if not log:
        assert result.sd("b1") == pytest.approx(2.7070075241, rel=1e-5)
        assert result.sd("b2") == pytest.approx(7.2668688436e-06, rel=1e-5)


def test_linear_problem_gives_the_normal_equations():
    rng = np.random.default_rng(0)
    design = rng.normal(size=(30, 3))
    y = design @ [1.0, -2.0, 0.5] + rng.normal(0, 0.2, 30)
    free = [Free(name, start=0.0) for name in "abc"]
    problem = FunctionProblem(lambda b: (design @ b, design), free, y, 0.2)

    result = fit(problem)

    exact = np.linalg.solve(design.T @ design, design.T @ y)
    assert list(result.values.values()) == pytest.approx(exact, rel=1e-9)
    assert result.covariance == pytest.approx(0.04 * np.linalg.inv(design.T @ design), rel=1e-9)
    wald, profile = result.interval("a"), result.interval("a", method="profile")
    assert profile == pytest.approx(wald, rel=1e-6)


def test_prior_is_one_more_observation():
    """Conjugate normal mean: precision-weighted average of prior and data."""
    problem = FunctionProblem(
        lambda b: (np.full(4, b[0]), np.ones((4, 1))),
        [Free("mu", start=0.0, prior=(2.0, 0.5), log=False)],
        [1.0, 1.2, 0.8, 1.0],
        0.4,
    )

    result = fit(problem)

    precision = 4 / 0.16 + 1 / 0.25
    assert result.values["mu"] == pytest.approx((4 / 0.16 * 1.0 + 2.0 / 0.25) / precision)
    assert result.sd("mu") == pytest.approx(precision**-0.5)


def test_profile_interval_ends_where_the_likelihood_ratio_says():
    result = fit(misra_problem(log=True), noise="estimate")

    profile = result.profile("b1", 0.95)

    rise = stats.t.ppf(0.975, 12) ** 2
    for end in (profile.lower, profile.upper):
        x = np.array(MISRA_X)
        from scipy.optimize import minimize_scalar

        def objective(b2, end=end, x=x):
            return np.sum((MISRA_Y - end * (1 - np.exp(-b2 * x))) ** 2)

        best = minimize_scalar(objective, bounds=(4e-4, 7e-4), options={"xatol": 1e-12})
        gain = best.fun / result.factors["y"] ** 2 - result.objective
        assert gain == pytest.approx(rise, rel=1e-4)
    assert profile.is_closed


def test_several_starts_find_the_deeper_of_two_minima():
    def double_well(b):
        y = np.array([(b[0] ** 2 - 4) + 0.4 * b[0]])
        return y, np.array([[2 * b[0] + 0.4]])

    free = [Free("b", start=-3.0, lower=-5.0, upper=5.0, log=False, prior=(1.5, 1.0))]
    problem = FunctionProblem(double_well, free, [0.0], 0.3)

    one = fit(problem)
    many = fit(problem, starts=8, rng=np.random.default_rng(1))

    assert one.values["b"] < 0 < many.values["b"]
    assert many.objective < one.objective
    assert len(many.starts) == 8


def test_intervals_cover_at_their_level():
    """95 % Wald intervals with known noise on the nearly linear Misra problem."""
    rng = np.random.default_rng(7)
    truth = np.array([239.0, 5.5e-4])
    clean = misra(truth)[0]
    hits = 0
    for _ in range(200):
        free = [Free("b1", start=250.0), Free("b2", start=5e-4)]
        problem = FunctionProblem(misra, free, clean + rng.normal(0, 0.1, 14), 0.1)
        low, high = fit(problem).interval("b1", 0.95)
        hits += low <= truth[0] <= high

    assert 0.91 <= hits / 200 <= 0.985  # 190 expected, three binomial sd are 9


def test_robust_loss_shrugs_off_a_wild_reading():
    y = [1.0, 1.1, 0.9, 1.0, 1.05, 9.0]
    free = [Free("mu", start=0.5, log=False)]
    problem = FunctionProblem(lambda b: (np.full(6, b[0]), np.ones((6, 1))), free, y, 0.1)

    assert fit(problem).values["mu"] == pytest.approx(np.mean(y))
    assert fit(problem, robust=True).values["mu"] == pytest.approx(1.01, abs=0.04)


def test_bounds_hold_and_are_reported():
    free = [Free("b1", start=200.0, upper=220.0), Free("b2", start=5e-4)]
    result = fit(FunctionProblem(misra, free, MISRA_Y, 0.1))

    assert result.values["b1"] == pytest.approx(220.0, rel=1e-6)
    assert result.table()[0]["at_bound"] and not result.table()[1]["at_bound"]


def test_result_speaks_in_tables_dicts_and_beliefs():
    result = fit(misra_problem(log=True), noise="estimate")

    told = result.to_dict()
    belief = result.to_belief(5)

    assert told["parameters"][0]["parameter"] == "b1"
    assert told["diagnostics"]["y"]["r_squared"] > 0.9999
    assert belief.point("b1") == pytest.approx(result.values["b1"])
    assert belief.sd("b1") == pytest.approx(result.sd("b1"), rel=0.01)
    ring = result.region("b1", "b2", 0.95)
    assert ring.shape == (60, 2) and np.all(np.isfinite(ring))


def test_wrong_input_is_named():
    with pytest.raises(DataError, match="starts at"):
        FunctionProblem(misra, [Free("b1"), Free("b2", start=1.0)], MISRA_Y)
    with pytest.raises(DataError, match="sd above 0"):
        FunctionProblem(misra, [Free("b1", start=1.0)], MISRA_Y, 0.0)
    with pytest.raises(DataError, match="generator"):
        fit(misra_problem(), starts=3)
    with pytest.raises(UnknownName, match="b1"):
        fit(misra_problem()).interval("B1")
    broken = FunctionProblem(
        lambda b: (_ for _ in ()).throw(SolveError("stiff")), [Free("b", start=1.0)], [1.0]
    )
    with pytest.raises(SolveError, match="none of 1 starts"):
        fit(broken)


def test_record_leaves_missing_readings_out():
    record = Record.of("c", ["0 h", "1 h", "2 h"], [1.0, np.nan, 3.0], "mg/L", 0.1)

    assert [(r.time, r.value, r.sd) for r in record.readings] == [
        (0.0, pytest.approx(1e-3), pytest.approx(1e-4)),
        (7200.0, pytest.approx(3e-3), pytest.approx(1e-4)),
    ]
