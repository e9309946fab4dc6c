"""MAP of individuals against published programs and a brute-force posterior."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from galenic.clock import SECOND
from galenic.errors import DataError
from galenic.inference.belief import Belief
from galenic.inference.estimator import Bundle, Observation, Schedule
from galenic.inference.importance import sampled
from galenic.inference.map import MAP, Individual, Residual
from galenic.modeling.variability import Between, Covariate, Population
from galenic.modeling.variability import Residual as Error
from galenic.signals import Action

sys.path.insert(0, str(Path(__file__).parent))
from patients import OneCompartment, Saturable, TwoCompartments

HOUR = 3600 * SECOND


def dose(amount, hours, duration=1.0, target="rate", **more):
    time = round(hours * HOUR)
    return Action(target, amount, "mg", time, time, "dose", duration * 3600.0, **more)


def level(hours, milligrams_per_litre, **more):
    time = round(hours * HOUR)
    return Bundle(time, (Observation("C", milligrams_per_litre * 1e-3, **more),))


def fold(estimator, events, prior=None):
    """Events in order of time, each after a prediction to it."""
    belief = estimator.start(prior, 0)
    for event in events:
        time = event.time if isinstance(event, Bundle) else event.source_time
        belief = estimator.predict(belief, time, {})
        step = estimator.correct if isinstance(event, Bundle) else estimator.act
        belief = step(belief, event)
    return belief


def vancomycin(clcr, weight, **options):
    """Goti et al. 2018, doi:10.1097/FTD.0000000000000490, as in posologyr."""
    individuals = [
        Individual("CL", 0.147**0.5),
        Individual("V1", 0.510**0.5),
        Individual("V2", 0.282**0.5),
    ]
    values = {"CL": 4.5 * (clcr / 120) ** 0.8, "V1": 58.4 * weight / 70}
    residual = {"C": Residual(3.4e-3, 0.227, "sd")}
    return MAP(TwoCompartments(), individuals, residual, values=values, **options)


CASE_A = [dose(1900, 0), level(12, 14.8), dose(1750, 22.2), level(37.5, 22.5)]


def test_vancomycin_patient_as_in_monolix_and_posologyr():
    """Reference case V11a: CL 1.7209, Vc 59.78, Vp 41.56 (Monolix 1.72, 59.8, 41.6)."""
    belief = fold(vancomycin(34, 62), CASE_A)

    assert belief.point("CL") * 3.6e6 == pytest.approx(1.7209, abs=1e-4)
    assert belief.point("V1") * 1e3 == pytest.approx(59.78, abs=0.01)
    assert belief.point("V2") * 1e3 == pytest.approx(41.56, abs=0.01)


def test_vancomycin_etas_of_the_second_patient():
    """Reference case V11b: eta .08208 .06122 .06286, CL 2.9912 L/h."""
    events = [dose(2000, 0, 2.0), level(13, 12.0), dose(1000, 24.2, 2.0), level(48, 9.5)]

    belief = fold(vancomycin(65, 70), events)

    assert belief.notes["eta"] == pytest.approx((0.08208, 0.06122, 0.06286), abs=2e-5)
    assert belief.point("CL") * 3.6e6 == pytest.approx(2.9912, abs=1e-4)


def one(log=True, omegas=(0.3, 0.2), residual=None, **options):
    individuals = [Individual("CL", omegas[0], log), Individual("V", omegas[1], log)]
    return MAP(OneCompartment(), individuals, residual or {"C": Residual(0.2e-3, 0.1)}, **options)


def grid_posterior(levels, dose_mg=100.0, points=401):
    """Brute force over eta_CL, eta_V for a bolus into one compartment, in h, L, mg."""
    a = np.linspace(-1.2, 1.2, points)
    cl, v = 2.0 * np.exp(a)[:, None], 20.0 * np.exp(a * 0.8)[None, :]
    log_p = -0.5 * (a[:, None] / 0.3) ** 2 - 0.5 * (a[None, :] * 0.8 / 0.2) ** 2
    for hours, value in levels:
        f = dose_mg / v * np.exp(-cl / v * hours)
        variance = 0.2**2 + (0.1 * f) ** 2
        log_p = log_p - 0.5 * (value - f) ** 2 / variance - 0.5 * np.log(variance)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    i, j = np.unravel_index(np.argmax(p), p.shape)
    mean = np.array([(p * a[:, None]).sum(), (p * a[None, :] * 0.8).sum()])
    square = [(p * a[:, None] ** 2).sum(), (p * (a[None, :] * 0.8) ** 2).sum()]
    return np.array([a[i], 0.8 * a[j]]), mean, np.sqrt(np.array(square) - mean**2)


LEVELS = [(1.0, 3.6), (6.0, 2.9), (12.0, 1.7)]
BOLUS = [dose(100, 0, 0.0, target="amount"), *(level(*row) for row in LEVELS)]


def test_mode_and_spread_agree_with_brute_force_on_a_grid():
    belief = fold(one(), BOLUS)
    mode, _, sd = grid_posterior(LEVELS)

    assert belief.notes["eta"] == pytest.approx(mode, abs=0.006)  # half a grid cell
    laplace = np.sqrt(np.diag(belief.spread))[1:]
    assert laplace == pytest.approx(sd, rel=0.06)


def test_resampling_gives_the_exact_posterior_moments():
    estimator = one()
    belief = fold(estimator, BOLUS)
    _, mean, sd = grid_posterior(LEVELS)

    ensemble = sampled(estimator, belief, 1500, np.random.default_rng(0)).ensemble

    etas = np.log(ensemble.members[:, 1:] / np.array([2.0 / 3.6e6, 20e-3]))
    got = ensemble.weights @ etas
    spread = np.sqrt(ensemble.weights @ (etas - got) ** 2)
    assert ensemble.effective_size > 700
    error = 4 * sd / np.sqrt(ensemble.effective_size)
    assert np.all(np.abs(got - mean) < error)
    assert spread == pytest.approx(sd, rel=0.1)


def grid_evidence(levels, dose_mg=100.0, points=801):
    """ln p(levels) by the sum over a grid of eta, levels in kg/m^3."""
    a = np.linspace(-2.0, 2.0, points)
    cl, v = 2.0 * np.exp(a)[:, None], 20.0 * np.exp(a)[None, :]
    log_p = norm.logpdf(a, 0, 0.3)[:, None] + norm.logpdf(a, 0, 0.2)[None, :]
    for hours, value in levels:
        f = dose_mg / v * np.exp(-cl / v * hours)
        log_p = log_p + norm.logpdf(value, f, np.hypot(0.2, 0.1 * f)) + np.log(1000.0)
    return np.log(np.exp(log_p).sum() * (a[1] - a[0]) ** 2)


@pytest.mark.parametrize("levels", [LEVELS, [(1.0, 7.0)], [(1.0, 3.6), (30.0, 1.5)]])
def test_the_evidence_is_that_of_quadrature(levels):
    estimator = one()
    belief = fold(estimator, [BOLUS[0], *(level(*row) for row in levels)])

    found = sampled(estimator, belief, 2000, np.random.default_rng(1))

    assert found.error < 0.05
    assert abs(found.log_evidence - grid_evidence(levels)) < 4 * found.error


def test_without_a_level_the_posterior_is_the_population():
    estimator = one()
    belief = fold(estimator, BOLUS[:1])

    found = sampled(estimator, belief, 4000, np.random.default_rng(2))

    assert abs(found.log_evidence) < 4 * found.error  # p(nothing) = 1
    logs = np.log(found.ensemble.members[:, 1:])
    got = found.ensemble.weights @ logs
    spread = np.sqrt(found.ensemble.weights @ (logs - got) ** 2)
    assert spread == pytest.approx([0.3, 0.2], rel=0.06)


def test_intervals_of_the_full_posterior_hold_the_truth_as_often_as_they_say():
    """60 patients from the population, two parameters: 90 % with a sampling sd of 3 points."""
    rng, estimator, inside = np.random.default_rng(11), one(), []
    hours = np.array([1.0, 6.0, 12.0])
    for _ in range(60):
        true = np.exp(rng.normal(0.0, [0.3, 0.2])) * [2.0, 20.0]
        f = 100.0 / true[1] * np.exp(-true[0] / true[1] * hours)
        seen = f + np.hypot(0.2, 0.1 * f) * rng.standard_normal(3)
        belief = fold(estimator, BOLUS[:1])
        for at, value in zip(hours, seen, strict=True):  # solved once, with all levels
            bundle = level(at, value)
            belief = estimator.predict(belief, bundle.time, {})
            belief = replace(belief, evidence=(*belief.evidence, bundle))
        belief = estimator.solve(belief)
        found = sampled(estimator, belief, 400, rng).ensemble
        bounds = [found.interval("CL"), found.interval("V")]
        scaled = np.array(bounds) * [[3.6e6], [1e3]]
        inside += list((scaled[:, 0] < true) & (true < scaled[:, 1]))

    assert 0.81 < np.mean(inside) < 0.99


def test_draws_together_are_those_one_by_one(monkeypatch):
    """The paths of models with exact steps and of all others weigh the same draws alike."""
    estimator = one()
    belief = fold(estimator, BOLUS)

    together = sampled(estimator, belief, 50, np.random.default_rng(3))
    monkeypatch.setattr("galenic.inference.importance.goes_together", lambda *_: False)
    single = sampled(estimator, belief, 50, np.random.default_rng(3))

    assert single.ensemble.weights == pytest.approx(together.ensemble.weights, rel=1e-8)
    assert single.ensemble.members == pytest.approx(together.ensemble.members, rel=1e-8)
    assert single.log_evidence == pytest.approx(together.log_evidence, abs=1e-8)


def test_bolus_through_an_input_equals_a_dose_into_the_state():
    into_state = fold(one(), BOLUS)
    through_input = fold(one(), [dose(100, 0, 0.0), *BOLUS[1:]])

    assert through_input.centre == pytest.approx(into_state.centre, rel=1e-9)
    assert through_input.spread == pytest.approx(into_state.spread, rel=1e-6)


def test_late_dose_is_a_rewind_away():
    """A dose that is learnt of after a level: going back and applying in order gives the same."""
    estimator = vancomycin(34, 62)
    straight = fold(estimator, CASE_A)
    without = fold(estimator, [CASE_A[0], CASE_A[1], CASE_A[3]])

    checkpoint = Belief.from_bytes(fold(estimator, CASE_A[:2]).to_bytes())
    belief = estimator.predict(checkpoint, CASE_A[2].source_time, {})
    belief = estimator.act(belief, CASE_A[2])
    belief = estimator.predict(belief, CASE_A[3].time, {})
    belief = estimator.correct(belief, CASE_A[3])

    assert belief.identity == straight.identity
    assert abs(without.point("CL") / straight.point("CL") - 1) > 0.1
    with pytest.raises(DataError, match="rewind"):
        estimator.act(without, CASE_A[2])


def test_nonlinear_patient_is_solved_with_the_engines_steps():
    """Michaelis-Menten: the mode is where finite differences of the objective vanish."""
    from galenic.inference.map import objective

    individuals = [Individual("Vmax", 0.3), Individual("V", 0.2)]
    estimator = MAP(Saturable(), individuals, {"C": Residual(0.1e-3, 0.1)})
    events = [dose(300, 0, 0.0, target="amount"), level(5, 8.5), level(20, 3.4)]
    belief = fold(estimator, events)
    precision = np.diag([1 / 0.3**2, 1 / 0.2**2])
    eta = np.array(belief.notes["eta"])
    prior = belief.start.centre[1:]

    def value(shift):
        return objective(estimator.replay(belief, prior + eta + shift), eta + shift, precision)

    for k in range(2):
        step = np.eye(2)[k] * 1e-3
        curvature = (value(step) - 2 * value(0 * step) + value(-step)) / 1e-6
        slope = (value(step) - value(-step)) / 2e-3
        assert abs(slope / curvature) < 2e-3


def test_unusual_patient_and_bad_level_are_pointed_out():
    belief = fold(one(), [BOLUS[0], level(6, 9.0, sd=2e-4), level(6.5, 2.0, sd=2e-4)])

    assert any("population sd" in text for text in belief.notes["warnings"])
    assert any("from its fit" in text for text in belief.notes["warnings"])


def test_flattened_prior_follows_the_data_more():
    loose, tight = fold(one(prior_weight=0.1), BOLUS), fold(one(), BOLUS)

    assert np.linalg.norm(loose.notes["eta"]) > np.linalg.norm(tight.notes["eta"])


def test_forecast_of_a_dose_and_its_interval():
    estimator = one()
    belief = fold(estimator, BOLUS)
    schedule = Schedule(actions=(dose(100, 20.0, 2.0),))
    until = round(40 * HOUR)

    forecast = estimator.forecast(belief, until, 3600.0, schedule, ["C"])
    drawn = estimator.forecast(
        belief, until, 3600.0, schedule, ["C"], np.random.default_rng(0), method="ensemble",
        members=300,
    )  # fmt: skip

    peak = int(np.argmax(forecast.mean[:, 0]))
    assert forecast.times[peak] == round(22 * HOUR)
    assert drawn.quantiles[2] == pytest.approx(forecast.quantiles[2], rel=0.05)
    assert drawn.sd == pytest.approx(forecast.sd, rel=0.2)


def test_members_of_an_uncertain_patient_agree_with_their_own_doses():
    """Drawn parameters bring the states that the doses give under them, however uncertain."""
    estimator = vancomycin(34, 62)
    belief = fold(estimator, CASE_A)

    points = estimator.members(belief, 5, np.random.default_rng(0))

    for w in points:
        again = estimator.replay(belief, w[2:])
        assert again.w == pytest.approx(w)
        assert estimator.replay(belief, w[2:], slopes=False).w == pytest.approx(w)


def test_members_agree_after_boluses_and_resets_too():
    estimator = one()
    reset = Action("amount", 30.0, "mg", 8 * HOUR, 8 * HOUR, "set")
    events = [*BOLUS[:3], reset, dose(50, 9.0, 0.0), dose(50, 10.0, 3.0), BOLUS[3]]
    belief = fold(estimator, events)

    points = estimator.members(belief, 4, np.random.default_rng(1))

    for w in points:
        assert estimator.replay(belief, w[1:]).w == pytest.approx(w)


def test_population_gives_the_estimator_of_its_subject():
    population = Population(
        TwoCompartments(),
        covariates=[Covariate("clcr", 120.0, "mL/min", 30.0), Covariate("weight", 70.0, "kg", 10)],
        relations={
            "CL": lambda typical, c: typical * (c.clcr / "120 mL/min") ** 0.8,
            "V1": lambda typical, c: typical * (c.weight / "70 kg"),
        },
        between=[
            Between("CL", 0.147**0.5),
            Between("V1", 0.510**0.5),
            Between("V2", 0.282**0.5),
        ],
        residuals=[Error("C", proportional=0.2, additive="1 mg/L")],
    )
    subject = population.for_subject({"clcr": "34 mL/min", "weight": "62 kg"})

    belief = fold(MAP.for_subject(subject), CASE_A)

    by_hand = vancomycin(34, 62)
    by_hand.residual = {"C": Residual(1e-3, 0.2)}
    assert belief.centre == pytest.approx(fold(by_hand, CASE_A).centre, rel=1e-9)


def test_individual_whose_covariates_are_inputs_is_the_same():
    population = Population(
        TwoCompartments(),
        covariates=[Covariate("clcr", 120.0, "mL/min", 30.0)],
        relations={"CL": lambda typical, c: typical * (c.clcr / "120 mL/min") ** 0.8},
        between=[Between("CL", 0.4), Between("V1", 0.6)],
        residuals=[Error("C", proportional=0.2, additive="1 mg/L", combine="sd")],
    )
    estimator = MAP.for_population(population, values={"clcr": "34 mL/min"})
    fixed = MAP.for_subject(population.for_subject({"clcr": "34 mL/min"}))

    belief, same = fold(estimator, CASE_A), fold(fixed, CASE_A)

    assert belief.notes["eta"] == pytest.approx(same.notes["eta"], abs=1e-7)
    own = estimator.observe(belief, ["individual.CL"])["individual.CL"][0]
    assert own == pytest.approx(same.point("CL"), rel=1e-7)
    assert estimator.residual["C"] == Residual(1e-3, 0.2, "sd")


def test_scoring_does_not_jump_to_and_fro_across_the_mode():
    """A level of 72.4 mg/L tells most of V1; there the true curvature is twice the expected one."""
    events = [dose(1000, h) for h in (0, 12, 24)] + [level(26, 72.4109)]

    belief = fold(vancomycin(52.397, 67.8675), events)

    assert belief.notes["iterations"] < 20


def test_readings_scatter_more_than_levels():
    estimator = vancomycin(34, 62)
    belief = fold(estimator, CASE_A)
    until = belief.time + 12 * HOUR

    quiet = estimator.forecast(belief, until, 3600.0, None, ["C"])
    noisy = estimator.forecast(belief, until, 3600.0, None, ["C"], noisy=True)

    error = 3.4e-3 + 0.227 * quiet.mean
    assert noisy.sd == pytest.approx(np.hypot(quiet.sd, error))
    assert noisy.quantiles[2] == pytest.approx(quiet.quantiles[2])
    assert np.all(noisy.quantiles[-1] > quiet.quantiles[-1])


def test_a_dose_over_time_into_a_state_is_refused():
    estimator = one()

    with pytest.raises(DataError, match="an input of role dose"):
        fold(estimator, [dose(100, 0, 2.0, target="amount")])


def test_wrong_input_is_named():
    with pytest.raises(DataError, match="residual error"):
        Residual()
    estimator = one()
    belief = fold(estimator, BOLUS[:1])
    with pytest.raises(DataError, match="start again"):
        estimator.act(belief, Action("CL", 1.0, "L/h", belief.time, belief.time))
    bad = MAP(OneCompartment(), [Individual("CL", 0.3)], {})
    with pytest.raises(DataError, match="error of C is not known"):
        bad.correct(bad.start(None, 0), level(0, 1.0))
