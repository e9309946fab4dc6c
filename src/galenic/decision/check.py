"""What every controller must do, as a public list of checks: ours and strangers' alike.

``check_controller(factory)`` runs them all; ``controller_checks`` gives them one by one, for a test
runner. Each raises ``AssertionError`` with what was found.

``factory(system, moves, tracked, **options)`` makes a controller that moves the inputs ``moves``
and brings the outputs ``tracked`` to their targets; an option it is given is ``deadline`` [s].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from galenic import Input, Model, Parameter, State, Variable, When, der
from galenic.clock import SECOND
from galenic.decision.goal import Controller, Goal, Limits, Proposal
from galenic.errors import DataError, StructureError
from galenic.inference.augment import Augmented
from galenic.inference.belief import Belief
from galenic.inference.estimator import Noise
from galenic.inference.evidence import Bundle, Observation
from galenic.inference.kalman import EKF

Factory = Callable[..., Controller]

MOVES, TRACKED = ("heater",), ("shown",)
LOW, HIGH, RATE = 0.0, 2.0, 0.02
LIMITS: Limits = {"heater": (LOW, HIGH, RATE)}
SLACK = 1e-6


class Bath(Model):
    """A heated bath: two lags between the heater and what is shown, and a constant load."""

    load = Parameter(0.0, "1", "disturbance", source="definition")
    tau = Parameter(20.0, "s", "time constant", lower=0, source="definition")
    heater = Input(0.5, "1", "heating", role="manipulated", lower=-10, upper=10, nominal=1)
    wall = State(0.5, "1", "wall", nominal=1)
    core = State(0.5, "1", "core", nominal=1)
    shown = Variable("1", "what is measured")

    def equations(m):
        yield der(m.wall) == (m.heater + m.load - m.wall) / m.tau
        yield der(m.core) == (m.wall - m.core) / m.tau
        yield m.shown == m.core


class Switching(Bath):
    """The bath with an event that a smooth program cannot hold."""

    def events(m):
        yield When(m.core > 3.0, {m.wall: 0.0}, name="overheated")


class Bench:
    """Controller and observer of the bath, and the calls that checks make.

    Parameters
    ----------
    factory : callable
    options
        Given to the factory.
    """

    def __init__(self, factory: Factory, **options: Any) -> None:
        self.system = Bath().flatten()
        self.controller = factory(self.system, MOVES, TRACKED, **options)
        noise = Noise(
            process={"wall": 1e-3, "core": 1e-3},
            measurement={"shown": 1e-3},
            start={"wall": 0.3, "core": 0.3},
        )
        self.observer = EKF(
            self.system, noise, augmented=(Augmented("load", sd=0.5, drift=1e-2),), gate=None
        )

    def belief(self, **means: float) -> Belief:
        """The belief at time 0 with other means."""
        start = self.observer.start(None, 0)
        centre = start.centre.copy()
        for name, value in means.items():
            centre[start.position(name)] = value
        from dataclasses import replace

        return replace(start, centre=centre)

    def propose(
        self,
        target: float = 1.0,
        heater: float = 0.5,
        limits: Limits = LIMITS,
        previous: Mapping[str, Any] | None = None,
        **means: float,
    ) -> Proposal:
        """The answer to one question."""
        goal = Goal(0, {"shown": target}, {"heater": heater}, previous=previous or {})
        return self.controller.propose(self.belief(**means), goal, limits)


def limits_hold(factory: Factory) -> None:
    """No planned move leaves its limits, whatever is wanted."""
    bench = Bench(factory)
    for target in (-50.0, 0.9, 50.0):
        plan = np.array(bench.propose(target).plan["heater"])
        assert (plan >= LOW - SLACK).all() and (plan <= HIGH + SLACK).all(), plan


def rates_hold(factory: Factory) -> None:
    """No planned move is faster than its rate."""
    proposal = Bench(factory).propose(50.0)
    lengths = np.diff([0.0, *proposal.times])
    steps = np.abs(np.diff([0.5, *proposal.plan["heater"]]))
    assert (steps <= RATE * lengths + SLACK).all(), steps / lengths
    assert steps[0] > 0.0, "the wanted change is not begun"


def first_move_is_the_plan(factory: Factory) -> None:
    """What is to be done now is the first step of the plan, and the forecast covers the times."""
    proposal = Bench(factory).propose()
    assert proposal.inputs["heater"] == proposal.plan["heater"][0]
    assert len(proposal.forecast["shown"]) == len(proposal.times)
    assert proposal.reasons, "no reason in words"


def equal_questions_equal_answers(factory: Factory) -> None:
    """Two controllers of one kind answer alike, to the last bit."""
    first, second = (Bench(factory).propose(1.3).plan["heater"] for _ in range(2))
    assert list(first) == list(second), (first, second)


def nothing_is_remembered(factory: Factory) -> None:
    """An answer does not depend on what was asked before, but for the last digits."""
    bench = Bench(factory)
    before = np.array(bench.propose(1.0).plan["heater"])
    bench.propose(2.0, heater=1.8, wall=1.9, core=1.7)
    after = np.array(bench.propose(1.0).plan["heater"])
    assert np.allclose(before, after, atol=1e-3), np.abs(before - after).max()


def belief_is_left_alone(factory: Factory) -> None:
    """The belief is the same afterwards."""
    bench = Bench(factory)
    belief = bench.belief()
    before = belief.to_bytes()
    bench.controller.propose(belief, Goal(0, {"shown": 1.0}, {"heater": 0.5}), LIMITS)
    assert belief.to_bytes() == before


def late_is_safe(factory: Factory) -> None:
    """Without time it says so, and gives a safe move: the old plan one step on, or none."""
    bench = Bench(factory, deadline=1e-9)
    previous = {"plan": {"heater": [0.5, 0.55, 0.6]}}
    proposal = bench.propose(1.5, previous=previous, wall=0.9, core=0.2)
    assert proposal.status in ("fallback", "limited"), proposal.status
    step = proposal.inputs["heater"] - 0.5
    assert abs(step) <= 5.0 * RATE + SLACK, proposal.inputs
    if proposal.status == "fallback":
        assert abs(step - 0.05) < SLACK, proposal.inputs
        without = bench.propose(1.5, wall=0.9, core=0.2)
        assert abs(without.inputs["heater"] - 0.5) < SLACK, without.inputs


def nonsense_is_safe(factory: Factory) -> None:
    """A belief that is not finite gives a fallback, not a move and not an exception."""
    proposal = Bench(factory).propose(1.0, wall=float("nan"))
    assert proposal.status == "fallback", proposal.status
    assert proposal.inputs["heater"] == 0.5, proposal.inputs


def starts_outside(factory: Factory) -> None:
    """From an input outside its limits it comes back inside, no faster than the rate allows."""
    proposal = Bench(factory).propose(1.0, heater=2.1)
    assert proposal.inputs["heater"] <= 2.1 + SLACK, proposal.inputs
    assert np.isfinite(proposal.plan["heater"]).all()
    assert min(proposal.plan["heater"]) <= HIGH + SLACK, proposal.plan


def constant_disturbance_leaves_no_offset(factory: Factory) -> None:
    """On a bath with another gain and a load, what is shown settles on the target."""
    shown = list(_closed_loop(factory, target=1.0, gain=1.25, load=-0.2, steps=120))
    assert abs(shown[-1] - 1.0) < 2e-3, shown[-1]
    assert max(shown) < 1.25, f"overshoot to {max(shown):.2f}"


def _closed_loop(
    factory: Factory, target: float, gain: float, load: float, steps: int, dt: float = 5.0
) -> Iterator[float]:
    """What is shown at each step; the bath is solved in closed form."""
    bench = Bench(factory)
    belief = bench.observer.start(None, 0)
    wall = core = heater = 0.5
    plan: Mapping[str, Any] = {}
    decay, rise = np.exp(-dt / 20.0), dt / 20.0 * np.exp(-dt / 20.0)
    for k in range(1, steps + 1):
        end = gain * heater + load
        core, wall = end + (core - end) * decay + (wall - end) * rise, end + (wall - end) * decay
        time = round(k * dt * SECOND)
        belief = bench.observer.predict(belief, time, {"heater": heater})
        belief = bench.observer.correct(belief, Bundle(time, (Observation("shown", core),)))
        goal = Goal(time, {"shown": target}, {"heater": heater}, previous=plan)
        proposal = bench.controller.propose(belief, goal, LIMITS)
        heater, plan = proposal.inputs["heater"], proposal.to_dict()
        yield core


def events_are_refused(factory: Factory) -> None:
    """A system with an event that the plan cannot hold is refused, and the event is named."""
    try:
        factory(Switching().flatten(), MOVES, TRACKED)
    except StructureError as error:
        assert "overheated" in str(error), str(error)
    else:
        raise AssertionError("a system with a state event was accepted")


def targets_are_asked_for(factory: Factory) -> None:
    """A tracked quantity without a target is an error that names it."""
    bench = Bench(factory)
    try:
        bench.controller.propose(bench.belief(), Goal(0, {}, {"heater": 0.5}), LIMITS)
    except DataError as error:
        assert "shown" in str(error), str(error)
    else:
        raise AssertionError("no target, and no error")


CHECKS: tuple[Callable[[Factory], None], ...] = (
    limits_hold,
    rates_hold,
    first_move_is_the_plan,
    equal_questions_equal_answers,
    nothing_is_remembered,
    belief_is_left_alone,
    late_is_safe,
    nonsense_is_safe,
    starts_outside,
    constant_disturbance_leaves_no_offset,
    events_are_refused,
    targets_are_asked_for,
)


def controller_checks(factory: Factory) -> Iterator[tuple[str, Callable[[], None]]]:
    """Each check by name, ready to be called."""
    for check in CHECKS:
        yield check.__name__.replace("_", " "), partial(check, factory)


def check_controller(factory: Factory) -> None:
    """Run all checks; the first that fails raises."""
    for _, check in controller_checks(factory):
        check()
