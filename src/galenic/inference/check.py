"""What every estimator must do, as a public list of checks: ours and strangers' alike.

``check_estimator(factory, kind)`` runs them all; ``estimator_checks`` gives them one by one, for a
test runner. Each raises ``AssertionError`` with what was found.

Kinds, by what the factory is given:

- ``"gaussian"``: ``factory(subject, noise)``, judged by the Kalman filter in closed form;
- ``"individual"``: ``factory(subject, individuals, residual)``, judged by the conjugate normal
  posterior of a model that is linear in its parameter.

``tolerance`` is relative to the posterior's standard deviation: 1e-6 for exact estimators; one
that samples states its Monte Carlo error there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import casadi as ca
import numpy as np
from scipy.linalg import expm

from galenic.clock import SECOND
from galenic.errors import DataError, GalenicError
from galenic.inference.belief import Array, Belief
from galenic.inference.estimator import Bundle, Estimator, Noise, Observation, Schedule
from galenic.inference.linear import LinearTransition
from galenic.inference.map import Individual, Residual
from galenic.modeling.system import Entry, System
from galenic.signals import Action
from galenic.units import unit

Events = tuple[tuple[float, float, dict[str, float]], ...]


@dataclass(frozen=True)
class Case:
    """An estimator with a story whose ending is known.

    ``events`` are (seconds, value of the input meanwhile, readings); ``mean`` and ``cov`` are the
    posterior of ``names`` at the end, by a closed form that shares no code with the estimators.
    """

    make: Callable[[], Estimator]
    make_bounded: Callable[[], Estimator] | None
    input: str
    output: str
    events: Events
    names: tuple[str, ...]
    mean: Array
    cov: Array
    tolerance: float

    def run(self, estimator: Estimator, stop: int | None = None) -> Belief:
        """The belief after the first ``stop`` events."""
        belief = estimator.start(None, 0)
        for dt, u, readings in self.events[:stop]:
            until = belief.time + round(dt * SECOND)
            belief = estimator.predict(belief, until, {self.input: u})
            belief = estimator.correct(belief, bundle(until, readings))
        return belief


def bundle(time: int, readings: dict[str, float]) -> Bundle:
    """Readings as a bundle; their sd is the estimator's own."""
    return Bundle(time, tuple(Observation(name, value) for name, value in readings.items()))


def gaussian_case(factory: Callable[..., Estimator], tolerance: float) -> Case:
    """Two coupled tanks with an input, two sensors at different rates."""
    a, b = np.array([[-0.1, 0.05], [0.1, -0.2]]), np.array([[0.3], [0.0]])
    c, start = np.array([[1.0, 0.0], [1.0, 1.0]]), [1.0, 2.0]
    noise = Noise(
        process={"x0": 0.05, "x1": 0.02},
        measurement={"y0": 0.1, "y1": 0.2},
        start={"x0": 0.5, "x1": 0.3},
    )
    events: Events = (
        (1.0, 0.5, {"y0": 1.1, "y1": 3.2}),
        (0.5, 0.5, {"y1": 3.0}),
        (1.0, 0.0, {}),
        (0.25, 1.0, {"y0": 1.3}),
        (1.0, 1.0, {"y1": 2.9, "y0": 1.2}),
    )
    mean, cov = _kalman(a, b, c, np.array(start), noise, events)
    return Case(
        make=lambda: factory(LinearTransition(a, b, c, start), noise),
        make_bounded=lambda: factory(LinearTransition(a, b, c, start, lower=0.0), noise),
        input="u0",
        output="y0",
        events=events,
        names=("x0", "x1"),
        mean=mean,
        cov=cov,
        tolerance=tolerance,
    )


def _kalman(
    a: Array, b: Array, c: Array, m: Array, noise: Noise, events: Events
) -> tuple[Array, Array]:
    """The textbook filter, information form, with Q = dt/2 (F q F' + q)."""
    p = np.diag([noise.start[f"x{i}"] ** 2 for i in range(2)])
    q = np.diag([noise.process[f"x{i}"] ** 2 for i in range(2)])
    for dt, u, readings in events:
        both = expm(np.block([[a, b], [np.zeros((1, 3))]]) * dt)
        f, g = both[:2, :2], both[:2, 2]
        m, p = f @ m + g * u, f @ p @ f.T + 0.5 * dt * (f @ q @ f.T + q)
        for name, value in readings.items():
            h, r = c[int(name[1:])], noise.measurement[name] ** 2
            information = np.linalg.inv(p)
            p = np.linalg.inv(information + np.outer(h, h) / r)
            m = p @ (information @ m + h * value / r)
    return m, p


def individual_case(factory: Callable[..., Estimator], tolerance: float) -> Case:
    """A ramp, x' = slope + u, y = x: the slope's posterior is that of a normal mean."""
    x, u, p = ca.SX.sym("x"), ca.SX.sym("u"), ca.SX.sym("p")
    empty = ca.SX(0, 1)
    one = unit("1")
    system = System(
        name="ramp",
        t=ca.SX.sym("t"),
        x=x,
        z=empty,
        u=u,
        p=p,
        ode=p + u,
        alg=empty,
        y=x,
        x0=ca.SX(0.0),
        states=(Entry("x", "state", one, value=0.0),),
        algebraics=(),
        inputs=(Entry("u", "input", one, value=0.0),),
        parameters=(Entry("slope", "parameter", one, value=0.5),),
        outputs=(Entry("y", "output", one),),
    )
    events: Events = (
        (1.0, 0.0, {"y": 0.9}),
        (1.0, 0.2, {}),
        (2.0, 0.0, {"y": 3.4}),
        (1.0, 0.1, {"y": 4.6}),
    )
    precision, weighted, t, x_u = 1 / 0.3**2, 0.5 / 0.3**2, 0.0, 0.0
    for dt, held, readings in events:
        t, x_u = t + dt, x_u + held * dt
        for value in readings.values():
            precision += t**2 / 0.2**2
            weighted += t * (value - x_u) / 0.2**2
    slope = weighted / precision
    return Case(
        make=lambda: factory(
            system, (Individual("slope", 0.3, log=False),), {"y": Residual(add=0.2)}
        ),
        make_bounded=None,
        input="u",
        output="y",
        events=events,
        names=("x", "slope"),
        mean=np.array([slope * t + x_u, slope]),
        cov=np.array([[t * t, t], [t, 1.0]]) / precision,
        tolerance=tolerance,
    )


CASES = {"gaussian": gaussian_case, "individual": individual_case}


def estimator_checks(
    factory: Callable[..., Estimator], kind: str = "gaussian", tolerance: float = 1e-6
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Names and checks, to be run one by one."""
    if kind not in CASES:
        raise DataError(f"kind {kind!r}", where="check_estimator", expected=" or ".join(CASES))
    case = CASES[kind](factory, tolerance)
    for check in CHECKS:
        if check is not stays_inside_bounds or case.make_bounded is not None:
            yield check.__name__, partial(check, case)


def check_estimator(
    factory: Callable[..., Estimator], kind: str = "gaussian", tolerance: float = 1e-6
) -> tuple[str, ...]:
    """Run all checks; the names of those that passed."""
    names = []
    for name, check in estimator_checks(factory, kind, tolerance):
        check()
        names.append(name)
    return tuple(names)


def starts_at_its_time(case: Case) -> None:
    """The first belief is at the asked time and names states and parameters."""
    estimator = case.make()
    belief = estimator.start(None, 7 * SECOND)
    assert belief.time == 7 * SECOND, belief.time
    assert belief.names == estimator.names, belief.names
    assert set(case.names) <= set(belief.names), belief.names
    assert case.output in estimator.observable, estimator.observable


def agrees_with_the_closed_form(case: Case) -> None:
    """Mean and covariance equal the reference within the stated tolerance."""
    belief = case.run(case.make())
    at = [belief.position(name) for name in case.names]
    sd = np.sqrt(np.diag(case.cov))
    off = np.abs(belief.mean_vector[at] - case.mean) / sd
    wide = np.abs(belief.covariance[np.ix_(at, at)] - case.cov) / np.outer(sd, sd)
    assert off.max() <= case.tolerance, f"means are {off} sd off"
    assert wide.max() <= case.tolerance, f"covariance is off by {wide.max()} of its scale"


def is_independent_of_order_in_a_bundle(case: Case) -> None:
    """Observations of one time give one belief in whatever order they come."""
    estimator = case.make()
    belief = estimator.predict(estimator.start(None, 0), SECOND, {})
    rows = [Observation(case.output, v, s, key=k) for v, s, k in ((1.1, 0.1, "a"), (0.9, 0.3, "b"))]
    one = estimator.correct(belief, Bundle(SECOND, tuple(rows)))
    two = estimator.correct(belief, Bundle(SECOND, tuple(reversed(rows))))
    assert one.identity == two.identity, "the order inside a bundle changed the belief"


def does_nothing_without_data(case: Case) -> None:
    """An empty bundle leaves mean and covariance; a gap is just a longer prediction."""
    estimator = case.make()
    belief = case.run(estimator, 2)
    same = estimator.correct(belief, Bundle(belief.time, ()))
    assert np.array_equal(same.mean_vector, belief.mean_vector), "an empty bundle moved the mean"
    assert np.array_equal(same.covariance, belief.covariance), "an empty bundle changed the spread"
    later = estimator.predict(belief, belief.time, {})
    assert np.allclose(later.mean_vector, belief.mean_vector), "no time, but another mean"


def stays_inside_bounds(case: Case) -> None:
    """Readings far below the bound do not push the estimate through it."""
    assert case.make_bounded is not None
    estimator = case.make_bounded()
    belief = estimator.start(None, 0)
    for k in range(1, 7):
        belief = estimator.predict(belief, k * SECOND, {case.input: -2.0})
        assert belief.mean_vector.min() >= 0.0, f"{belief.mean_vector} after predict"
        belief = estimator.correct(belief, bundle(k * SECOND, {case.output: -0.1}))
        assert belief.mean_vector.min() >= 0.0, f"{belief.mean_vector} after correct"
    assert belief.sample(200, np.random.default_rng(0)).min() >= 0.0, "a sample beyond a bound"


def travels_as_bytes(case: Case) -> None:
    """A belief written and read back is the same, and goes on the same."""
    estimator = case.make()
    belief = case.run(estimator, 3)
    again = Belief.from_bytes(belief.to_bytes())
    assert again.to_bytes() == belief.to_bytes(), "bytes differ after a round trip"
    dt, u, readings = case.events[3]
    ends = []
    for one in (belief, again):
        until = one.time + round(dt * SECOND)
        moved = estimator.predict(one, until, {case.input: u})
        ends.append(estimator.correct(moved, bundle(until, readings)))
    assert ends[0].identity == ends[1].identity, "the belief read back went another way"


def repeats_itself(case: Case) -> None:
    """The same events give the same belief bit for bit, also from another instance."""
    estimator = case.make()
    assert case.run(estimator).identity == case.run(estimator).identity, "same estimator"
    assert case.run(estimator).identity == case.run(case.make()).identity, "another instance"


def forecasts_without_touching_the_belief(case: Case) -> None:
    """A forecast starts at the belief, spreads with time, and leaves the belief as it was."""
    estimator = case.make()
    belief = case.run(estimator)
    before = belief.to_bytes()
    until = belief.time + 5 * SECOND
    schedule = Schedule(((belief.time + 2 * SECOND, {case.input: 0.3}),))
    rng = np.random.default_rng(1)
    forecast = estimator.forecast(belief, until, 1.0, schedule, [case.output], rng)
    now = estimator.observe(belief, [case.output])[case.output]
    allowed = max(case.tolerance, 1e-9) * max(now[1], 1e-9) * 10
    assert belief.to_bytes() == before, "the forecast changed the belief"
    assert forecast.times[0] == belief.time and forecast.times[-1] == until, forecast.times
    assert abs(forecast.mean[0, 0] - now[0]) <= allowed, (forecast.mean[0, 0], now)
    assert np.all(np.diff(forecast.quantiles[:, -1, 0]) > 0), "quantiles do not rise"
    plain = estimator.forecast(belief, until, 1.0, None, [case.output], np.random.default_rng(1))
    assert plain.mean[-1, 0] != forecast.mean[-1, 0], "the schedule made no difference"


def keeps_its_covariance_positive(case: Case) -> None:
    """Symmetric and positive semi-definite after every event, also after many exact readings."""
    estimator = case.make()
    for stop in range(len(case.events) + 1):
        _assert_positive(case.run(estimator, stop).covariance)
    belief = case.run(estimator)
    for k in range(20):
        readings = (Observation(case.output, 1.0, 1e-7, key=str(k)),)
        belief = estimator.correct(belief, Bundle(belief.time, readings))
    _assert_positive(belief.covariance)


def _assert_positive(cov: Array) -> None:
    scale = np.sqrt(np.maximum(np.diag(cov), 0.0))
    scale[scale == 0] = 1.0
    correlation = cov / np.outer(scale, scale)
    assert np.allclose(correlation, correlation.T, atol=1e-12), "not symmetric"
    smallest = np.linalg.eigvalsh(correlation).min()
    assert smallest > -1e-9, f"smallest eigenvalue {smallest}"


def refuses_what_is_not_a_number(case: Case) -> None:
    """NaN and infinity are refused as readings and as inputs."""
    estimator = case.make()
    belief = case.run(estimator, 1)
    until = belief.time + SECOND
    for value in (np.nan, np.inf):
        inputs, readings = {case.input: value}, {case.output: value}
        _assert_refused(partial(estimator.predict, belief, until, inputs))
        _assert_refused(partial(bundle, belief.time, readings))


def refuses_unknown_names(case: Case) -> None:
    """A mistyped quantity, input or target is named in an error."""
    estimator = case.make()
    belief = case.run(estimator, 1)
    action = Action("nothing", 1.0, "1", belief.time, belief.time)
    _assert_refused(lambda: estimator.correct(belief, bundle(belief.time, {"nothing": 1.0})))
    _assert_refused(lambda: estimator.predict(belief, belief.time + SECOND, {"nothing": 1.0}))
    _assert_refused(lambda: estimator.act(belief, action))


def refuses_what_comes_late(case: Case) -> None:
    """An earlier time is refused, so that the twin rewinds; after a rewind all ends are equal."""
    estimator = case.make()
    early, late = case.run(estimator, 1), case.run(estimator, 2)
    action = Action(case.input, 0.4, "1", early.time, early.time)
    _assert_refused(lambda: estimator.act(late, action))
    _assert_refused(lambda: estimator.correct(late, bundle(early.time, {case.output: 1.0})))
    _assert_refused(lambda: estimator.predict(late, early.time, {}))
    until = late.time
    rewound = estimator.predict(estimator.act(early, action), until, {})
    direct = estimator.predict(early, until, {case.input: 0.4})
    assert np.allclose(rewound.mean_vector, direct.mean_vector, rtol=1e-9), "the action was lost"


def says_how_readings_met_expectation(case: Case) -> None:
    """Innovations are on the corrected belief and gone after the next prediction."""
    estimator = case.make()
    belief = case.run(estimator, 1)
    (first, *_) = belief.innovations
    values = (first.measured, first.expected, first.sd, first.nis)
    assert first.quantity == case.output and np.all(np.isfinite(values)), first
    later = estimator.predict(belief, belief.time + SECOND, {})
    assert later.innovations == (), "old innovations on a predicted belief"


def _assert_refused(call: Callable[[], Any]) -> None:
    try:
        call()
    except GalenicError as error:
        assert str(error), "an error without a message"
        return
    raise AssertionError("nothing was refused")


CHECKS: tuple[Callable[[Case], None], ...] = (
    starts_at_its_time,
    agrees_with_the_closed_form,
    is_independent_of_order_in_a_bundle,
    does_nothing_without_data,
    stays_inside_bounds,
    travels_as_bytes,
    repeats_itself,
    forecasts_without_touching_the_belief,
    keeps_its_covariance_positive,
    refuses_what_is_not_a_number,
    refuses_unknown_names,
    refuses_what_comes_late,
    says_how_readings_met_expectation,
)
