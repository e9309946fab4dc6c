"""The controller of the tablet line: predictive control, refill feed-forward and diversion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scipy.special import ndtr

from galenic.decision.goal import Goal, Limits, Proposal
from galenic.decision.governor import ReferenceGovernor
from galenic.decision.mpc import MPC, Soft
from galenic.modeling.system import System
from galenic.twin.definition import with_values

REFILL = {
    "api": {"low": 0.40, "high": 1.05, "rate": 0.06, "settle": 12.0},
    "excipient": {"low": 3.0, "high": 7.5, "rate": 0.35, "settle": 12.0},
}
MOVES = {
    "api.setpoint": 30.0,
    "excipient.setpoint": 60.0,
    "press.fill_depth": 500.0,
    "press.main_gap": 2000.0,
    "press.turret_speed": 30.0,
}
TRACKED = {
    "coming": 1.0,
    "press.weight": 0.3,
    "press.main_force": 2.0,
    "hopper.M": 2.0,
    "excipient.flow": 0.05,
}
SOFT = {"hopper.M": Soft("0.2 kg", "0.65 kg", 10.0)}
KEPT = {"coming": (0.95, 1.05), "press.weight": (237.5e-6, 262.5e-6), "hopper.M": (0.1, 0.8)}
"""Limits [SI] that no change of targets may break: at start-up and when a recipe changes."""

LABEL = 0.10
AHEAD = 1800.0
"""How far refills are foretold [s]."""
STEPS = (5.0,) * 6 + (10.0,) * 6 + (20.0,) * 6


def refills_ahead(belief: Any, goal: Goal) -> list[tuple[float, Mapping[str, float]]]:
    """When each feeder will be blind: from its mass, flow and refill limits.

    A refill that is going on ends when the upper mass is reached, plus the settling time; the
    next ones start whenever the lower mass is reached.
    """
    schedule: list[tuple[float, Mapping[str, float]]] = []
    for feeder, rule in REFILL.items():
        path = f"{feeder}.refilling"
        W = belief.point(f"{feeder}.W")
        flow = max(goal.inputs[f"{feeder}.setpoint"], 1e-6)
        filling = max(rule["rate"], 2 * flow) - flow
        begin = max(0.0, W - rule["low"]) / flow
        if goal.inputs.get(path, 0.0) > 0.5:
            end = max(0.0, rule["high"] - W) / filling + rule["settle"]
            schedule.append((end, {path: 0.0}))
            begin = end + (rule["high"] - rule["low"]) / flow
        length = (rule["high"] - rule["low"]) / filling + rule["settle"]
        while begin < AHEAD:
            schedule += [(begin, {path: 1.0}), (begin + length, {path: 0.0})]
            begin += length + (rule["high"] - rule["low"]) / flow
    return schedule


@dataclass(frozen=True)
class LineController:
    """Predictive control of feeders and press, and the gate by what the tablets are now.

    Tablets are diverted while the probability that their content is outside of the limits is above
    ``risk``, with the content of powder in the feed frame as the belief has it.
    """

    planner: ReferenceGovernor
    low: float = 0.95
    high: float = 1.05
    risk: float = 0.5

    def forget(self) -> None:
        """Drop the planner's warm start."""
        self.planner.forget()

    def propose(self, belief: Any, goal: Goal, limits: Limits) -> Proposal:
        """Moves of the planner, with the gate."""
        proposal = self.planner.propose(belief, goal, limits)
        content = "feed_frame.x[1]"
        mean, sd = belief.mean(content) / LABEL, max(belief.sd(content) / LABEL, 1e-9)
        outside = float(ndtr((self.low - mean) / sd) + ndtr((mean - self.high) / sd))
        divert = outside > self.risk
        note = (f"{outside:.0%} of tablets expected outside {self.low:.0%} to {self.high:.0%}",)
        return replace(
            proposal,
            inputs={**proposal.inputs, "diverter.divert": float(divert)},
            reasons=(*proposal.reasons, *(note if divert else ())),
        )


def line_controller(system: System, **options: Any) -> LineController:
    """The controller as a worker process makes it."""
    # The end of a refill is scheduled; a sharp one only makes the program hard to solve.
    soft_ends = {"api.fade": 0.05, "excipient.fade": 0.05}
    mpc = MPC(
        with_values(system, soft_ends),
        MOVES,
        TRACKED,
        soft=SOFT,
        grid=STEPS,
        control_horizon=10,
        forewarning=refills_ahead,
        **options,
    )
    return LineController(ReferenceGovernor(mpc, KEPT))
