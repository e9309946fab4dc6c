"""Kalman filters against the closed form, quadrature and simulation."""

import numpy as np
import pytest
from scipy import stats
from scipy.linalg import expm

from galenic.clock import SECOND
from galenic.errors import DataError, UnitError, UnknownName
from galenic.inference.augment import Augmented
from galenic.inference.belief import Gaussian
from galenic.inference.estimator import Bundle, Noise, Observation, Schedule
from galenic.inference.kalman import EKF, UKF
from galenic.inference.linear import LinearTransition
from galenic.signals import Action

A = np.array([[-0.1, 0.05], [0.1, -0.2]])
B = np.array([[0.3], [0.0]])
C = np.array([[1.0, 0.0], [1.0, 1.0]])
NOISE = Noise(
    process={"x0": 0.05, "x1": 0.02},
    measurement={"y0": 0.1, "y1": 0.2},
    start={"x0": 0.5, "x1": 0.3},
)
FILTERS = [EKF, UKF]


def transition(**options):
    return LinearTransition(A, B, C, [1.0, 2.0], **options)


def closed_form(events):
    """The textbook filter on the same noise definition; events are (dt, u, {row: value})."""
    m, p = np.array([1.0, 2.0]), np.diag([0.25, 0.09])
    q, r = np.diag([0.05**2, 0.02**2]), np.diag([0.01, 0.04])
    for dt, u, readings in events:
        both = expm(np.block([[A, B], [np.zeros((1, 3))]]) * dt)
        f, g = both[:2, :2], both[:2, 2:]
        m = f @ m + g[:, 0] * u
        p = f @ (p + q * dt / 2) @ f.T + q * dt / 2
        rows = sorted(readings)
        h = C[rows]
        k = p @ h.T @ np.linalg.inv(h @ p @ h.T + r[np.ix_(rows, rows)])
        m = m + k @ (np.array([readings[i] for i in rows]) - h @ m)
        p = p - k @ h @ p
    return m, p


def run(estimator, events):
    belief = estimator.start(None, 0)
    for dt, u, readings in events:
        until = belief.time + round(dt * SECOND)
        belief = estimator.predict(belief, until, {"u0": u})
        observations = tuple(Observation(f"y{i}", v) for i, v in readings.items())
        belief = estimator.correct(belief, Bundle(until, observations))
    return belief


EVENTS = [
    (1.0, 0.5, {0: 1.1, 1: 3.2}),
    (0.5, 0.5, {1: 3.0}),
    (2.0, 0.0, {}),
    (0.25, 1.0, {0: 1.3}),
    (1.0, 1.0, {1: 2.9, 0: 1.2}),
]


@pytest.mark.parametrize("kind", FILTERS)
def test_linear_model_gives_the_closed_form_at_many_rates(kind):
    belief = run(kind(transition(), NOISE, step=10.0, gate=None), EVENTS)
    mean, cov = closed_form(EVENTS)

    assert belief.mean_vector == pytest.approx(mean, rel=1e-10)
    assert belief.covariance == pytest.approx(cov, rel=1e-9)


@pytest.mark.parametrize("kind", FILTERS)
def test_order_inside_a_bundle_does_not_matter(kind):
    estimator = kind(transition(), NOISE)
    belief = estimator.predict(estimator.start(None, 0), SECOND, {})
    readings = [Observation("y0", 1.2, 0.1, key="a"), Observation("y1", 3.3, 0.2, key="b")]

    one = estimator.correct(belief, Bundle(SECOND, tuple(readings)))
    two = estimator.correct(belief, Bundle(SECOND, tuple(reversed(readings))))

    assert one.identity == two.identity


def test_innovations_state_what_was_expected():
    estimator = EKF(transition(), NOISE)

    belief = estimator.correct(
        estimator.start(None, 0), Bundle(0, (Observation("y1", 3.5, 0.2, key="k"),))
    )

    (innovation,) = belief.innovations
    assert innovation.expected == pytest.approx(3.0)
    assert innovation.sd == pytest.approx(np.sqrt(0.25 + 0.09 + 0.04))
    assert innovation.nis == pytest.approx(0.25 / 0.38)
    assert innovation.accepted and innovation.key == "k"


def test_gate_refuses_then_gives_in_after_its_patience():
    estimator = EKF(transition(), NOISE, gate=0.999, patience=3)
    belief = estimator.start(None, 0)
    verdicts = []
    for k in range(1, 6):
        belief = estimator.predict(belief, k * SECOND, {})
        belief = estimator.correct(belief, Bundle(k * SECOND, (Observation("y0", 50.0, 0.1),)))
        verdicts.append(belief.innovations[0].accepted)

    assert verdicts[:4] == [False, False, False, True]
    assert "in a row" in belief.innovations[0].why or belief.innovations[0].nis < 11
    assert belief.mean("x0") > 40


def test_accepted_readings_reset_the_count_of_refusals():
    estimator = EKF(transition(), NOISE)
    belief = estimator.start(None, 0)

    refused = estimator.correct(belief, Bundle(0, (Observation("y0", 50.0, 0.1),)))
    accepted = estimator.correct(refused, Bundle(0, (Observation("y0", 1.0, 0.1),)))

    assert refused.context.rejected == {"y0": 1}
    assert refused.mean("x0") == belief.mean("x0")
    assert accepted.context.rejected == {}


def test_uncertain_quality_counts_less():
    estimator = EKF(transition(), NOISE)
    belief = estimator.start(None, 0)

    half = estimator.correct(belief, Bundle(0, (Observation("y0", 1.2, 0.1, weight=0.25),)))
    same = estimator.correct(belief, Bundle(0, (Observation("y0", 1.2, 0.2),)))

    assert half.mean_vector == pytest.approx(same.mean_vector)
    assert half.covariance == pytest.approx(same.covariance)


def scalar(**options):
    noise = Noise(measurement={"y0": 0.05}, start={"x0": 1.0})
    return EKF(LinearTransition([[0.0]], [[0.0]], [[1.0]], [0.3]), noise, gate=None, **options)


def test_rounded_reading_has_the_moments_of_the_exact_posterior():
    """By quadrature over the state: prior times probability that the reading rounds to 1.0."""
    estimator = scalar(rounding="interval")
    observation = Observation("y0", 1.0, 0.05, resolution=0.5)

    belief = estimator.correct(estimator.start(None, 0), Bundle(0, (observation,)))

    x = np.linspace(-5, 6, 200_001)
    weight = stats.norm.pdf(x, 0.3, 1.0) * (
        stats.norm.cdf(1.25, x, 0.05) - stats.norm.cdf(0.75, x, 0.05)
    )
    weight /= weight.sum()
    mean = weight @ x
    assert belief.mean("x0") == pytest.approx(mean, abs=1e-8)
    assert belief.sd("x0") == pytest.approx(np.sqrt(weight @ (x - mean) ** 2), rel=1e-6)


def test_rounding_as_variance_adds_a_twelfth_of_the_squared_step():
    rounded = Observation("y0", 1.0, 0.05, resolution=0.5)
    plain = Observation("y0", 1.0, np.sqrt(0.05**2 + 0.25 / 12))
    estimator = scalar(rounding="variance")
    start = estimator.start(None, 0)

    one = estimator.correct(start, Bundle(0, (rounded,)))
    two = estimator.correct(start, Bundle(0, (plain,)))

    assert one.mean("x0") == pytest.approx(two.mean("x0"))
    assert one.sd("x0") == pytest.approx(two.sd("x0"))


@pytest.mark.parametrize("kind", FILTERS)
@pytest.mark.parametrize("bounds", ["project", "truncate"])
def test_bounds_hold_after_every_step(kind, bounds):
    estimator = kind(transition(lower=0.0), NOISE, bounds=bounds, gate=None)
    belief = estimator.start(None, 0)
    for k in range(1, 8):
        belief = estimator.predict(belief, k * SECOND, {"u0": -2.0})
        assert belief.mean_vector.min() >= 0.0
        belief = estimator.correct(belief, Bundle(k * SECOND, (Observation("y0", -0.3, 0.1),)))
        assert belief.mean_vector.min() >= 0.0
        assert np.linalg.eigvalsh(belief.covariance).min() >= 0.0


def test_projection_moves_correlated_quantities_along():
    """The point of highest density inside the bounds, against a numerical optimum."""
    from scipy.optimize import minimize

    from galenic.inference.algebra import project

    mean = np.array([-0.4, 0.2, 1.0])
    cov = np.array([[0.5, 0.3, 0.1], [0.3, 0.6, 0.2], [0.1, 0.2, 0.4]])
    precision = np.linalg.inv(cov)

    got = project(mean, cov, np.zeros(3), np.full(3, np.inf))

    best = minimize(
        lambda w: (w - mean) @ precision @ (w - mean),
        np.ones(3),
        bounds=[(0, None)] * 3,
        options={"ftol": 1e-15, "gtol": 1e-10},
    )
    assert got == pytest.approx(best.x, abs=1e-5)


def test_truncated_moments_hold_far_in_the_tail():
    from galenic.inference.algebra import truncated_moments

    for low, high in [(-1.0, 2.0), (3.0, np.inf), (-np.inf, -4.0), (30.0, 31.0), (0.0, np.inf)]:
        law = stats.truncnorm(low, high)
        mean, var = truncated_moments(0.0, 1.0, low, high)
        assert mean == pytest.approx(law.mean(), rel=1e-6)
        assert var == pytest.approx(law.var(), rel=5e-3)


def test_output_disturbance_takes_up_a_sensor_bias():
    """Two readings of one state, one of them off by 0.7: the bias is found, the state is not."""
    twice = LinearTransition([[-0.05]], [[0.1]], [[1.0], [1.0]], [1.0])
    noise = Noise(
        process={"x0": 0.02},
        measurement={"y0": 0.05, "y1": 0.05},
        start={"x0": 0.5, "nir.bias": 1.0},
        drift={"nir.bias": 0.001},
    )
    estimator = EKF(twice, noise, [Augmented("nir.bias", acts_on="y1")])
    rng = np.random.default_rng(4)
    truth, belief = 2.0, estimator.start(None, 0)
    for k in range(1, 200):
        truth = twice.step(np.array([truth]), np.array([1.0]), np.empty(0), 1.0)[0]
        belief = estimator.predict(belief, k * SECOND, {"u0": 1.0})
        readings = truth + rng.normal(0, 0.05, 2) + np.array([0.0, 0.7])
        observations = tuple(Observation(f"y{i}", v) for i, v in enumerate(readings))
        belief = estimator.correct(belief, Bundle(k * SECOND, observations))

    assert belief.mean("nir.bias") == pytest.approx(0.7, abs=0.04)
    assert belief.mean("x0") == pytest.approx(truth, abs=0.06)


@pytest.mark.parametrize("form", ["replaced", "added"])
def test_unmeasured_input_is_estimated_without_offset(form):
    plant = LinearTransition([[-0.1]], [[0.1]], [[1.0]], [0.0])
    noise = Noise(
        process={"x0": 1e-3},
        measurement={"y0": 0.02},
        start={"u0": 2.0, "load": 2.0},
        drift={"u0": 0.05, "load": 0.05},
    )
    item = Augmented("u0") if form == "replaced" else Augmented("load", acts_on="u0")
    noise = Noise(noise.process, noise.measurement, {item.path: 0.05}, {item.path: 2.0})
    estimator = EKF(plant, noise, [item])
    truth, belief = np.zeros(1), estimator.start(None, 0)
    rng = np.random.default_rng(3)
    for k in range(1, 150):
        truth = plant.step(truth, np.array([1.5]), np.empty(0), 1.0)
        belief = estimator.predict(belief, k * SECOND, {})
        reading = Observation("y0", truth[0] + rng.normal(0, 0.02))
        belief = estimator.correct(belief, Bundle(k * SECOND, (reading,)))

    assert belief.mean(item.path) == pytest.approx(1.5, abs=0.2)


def test_mean_reversion_forgets_towards_the_start_value():
    noise = Noise(start={"load": 1.0}, drift={"load": 0.1})
    item = Augmented("load", acts_on="u0", reverts_in=10.0)
    estimator = EKF(LinearTransition([[0.0]], [[0.0]], [[1.0]]), noise, [item], step=0.05)
    belief = estimator.start(Gaussian.of(0, {"load": 4.0}, {"load": 1.0}), 0)

    belief = estimator.predict(belief, 200 * SECOND, {})

    assert belief.mean("load") == pytest.approx(4.0 * np.exp(-20.0), abs=1e-9)
    assert belief.sd("load") == pytest.approx(0.1 * np.sqrt(10.0 / 2), rel=1e-3)


def test_wrong_input_is_refused_with_a_hint():
    estimator = EKF(transition(), NOISE)
    belief = estimator.start(None, 5 * SECOND)

    with pytest.raises(DataError, match="rewind"):
        estimator.predict(belief, 4 * SECOND, {})
    with pytest.raises(DataError, match="equal times"):
        estimator.correct(belief, Bundle(6 * SECOND, (Observation("y0", 1.0),)))
    with pytest.raises(UnknownName, match="y0"):
        estimator.correct(belief, Bundle(5 * SECOND, (Observation("Y0", 1.0),)))
    with pytest.raises(UnknownName, match="u0"):
        estimator.predict(belief, 6 * SECOND, {"u9": 1.0})
    with pytest.raises(DataError, match="nan"):
        estimator.predict(belief, 6 * SECOND, {"u0": float("nan")})
    with pytest.raises(UnknownName, match=r"Noise\.process"):
        EKF(transition(), Noise(process={"x7": 1.0}))
    with pytest.raises(UnknownName, match="x0"):
        EKF(transition(), NOISE, ["q0"], values={"x5": 1.0})


def action(target, value, unit="1", at=0, **more):
    return Action(target, value, unit, at, at, **more)


def test_set_dose_and_reset_act_on_inputs_and_states():
    estimator = EKF(transition(), NOISE)
    start = estimator.start(None, 0)

    held = estimator.act(start, action("u0", 0.7))
    bolus = estimator.act(start, action("u0", 2.0, "s", what="dose"))
    added = estimator.act(start, action("x1", 0.5, what="dose"))
    known = estimator.act(start, action("x0", 4.0))
    again = estimator.act(known, action("x0", None, what="reset"))

    assert held.context.inputs["u0"] == 0.7
    assert bolus.mean_vector == pytest.approx([1.0 + 0.3 * 2.0, 2.0], rel=1e-6)
    assert added.mean_vector == pytest.approx([1.0, 2.5])
    assert (known.mean("x0"), known.sd("x0")) == (4.0, 0.0)
    assert (again.mean("x0"), again.sd("x0")) == (1.0, 0.5)


def test_infusion_ends_between_predictions():
    """A dose over 3 s, predicted in one go, equals the rate held for 3 s and then none."""
    estimator = EKF(transition(), NOISE, step=0.5)
    start = estimator.start(None, 0)

    given = estimator.act(start, action("u0", 6.0, "s", what="dose", duration=3.0))
    one = estimator.predict(given, 5 * SECOND, {})
    two = estimator.predict(
        estimator.predict(start, 3 * SECOND, {"u0": 2.0}), 5 * SECOND, {"u0": 0.0}
    )

    assert one.mean_vector == pytest.approx(two.mean_vector)
    assert one.context.running == ()


def test_actions_of_wrong_unit_kind_or_time_are_refused():
    estimator = EKF(transition(), NOISE)
    start = estimator.start(None, 0)

    with pytest.raises(UnitError, match="mg"):
        estimator.act(start, action("u0", 1.0, "mg", what="dose"))
    with pytest.raises(DataError, match="of kind"):
        estimator.act(start, action("u0", 1.0, what="wish"))
    with pytest.raises(DataError, match="rewind"):
        estimator.act(start, action("u0", 1.0, at=-5))
    with pytest.raises(UnknownName, match="u0"):
        estimator.act(start, action("u1", 1.0))


@pytest.mark.parametrize("kind", FILTERS)
def test_forecast_equals_prediction_and_leaves_the_belief(kind):
    estimator = kind(transition(), NOISE, step=0.5)
    belief = run(estimator, EVENTS)
    before = belief.to_bytes()
    schedule = [(belief.time + 2 * SECOND, {"u0": 0.2})]

    forecast = estimator.forecast(
        belief, belief.time + 5 * SECOND, 1.0, schedule, ["y0", "y1", "x0"]
    )

    later = estimator.predict(belief, belief.time + 2 * SECOND, {})
    later = estimator.predict(later, belief.time + 5 * SECOND, {"u0": 0.2})
    mean, sd = forecast.at(later.time)["y1"]
    assert (mean, sd) == pytest.approx(estimator.observe(later, ["y1"])["y1"], rel=1e-9)
    assert len(forecast.times) == 6
    low, high = forecast.band("y1", 0.9)
    assert high[-1] - low[-1] == pytest.approx(2 * 1.6448536 * sd)
    assert belief.to_bytes() == before


def test_sampled_forecast_agrees_with_the_linear_one_on_a_linear_model():
    estimator = EKF(transition(), NOISE, step=1.0)
    belief = run(estimator, EVENTS)
    until = belief.time + 4 * SECOND
    schedule = Schedule(
        ((belief.time + SECOND, {"u0": 0.2}),),
        (action("u0", 0.4, "s", belief.time + 2 * SECOND, what="dose"),),
    )

    exact = estimator.forecast(belief, until, 1.0, schedule, ["y0", "y1"], noisy=True)
    drawn = estimator.forecast(
        belief,
        until,
        1.0,
        schedule,
        ["y0", "y1"],
        np.random.default_rng(0),
        method="ensemble",
        members=1500,
        noisy=True,
    )

    error = 4 / np.sqrt(1500)
    assert np.abs(drawn.mean - exact.mean).max() < error * exact.sd.max()
    assert drawn.sd == pytest.approx(exact.sd, rel=0.08)
    assert drawn.quantiles[0] == pytest.approx(exact.quantiles[0], abs=0.1)


@pytest.mark.parametrize("kind", FILTERS)
def test_belief_travels_as_bytes_through_a_run(kind):
    estimator = kind(transition(), NOISE)
    belief = run(estimator, EVENTS)
    until = belief.time + SECOND

    again = type(belief).from_bytes(belief.to_bytes())

    assert (
        estimator.predict(again, until, {}).identity
        == estimator.predict(belief, until, {}).identity
    )
