"""Forecasts of a twin: from its belief, under what is known to come and what it will do itself.

While a twin acts, its controller answers what it will see; a forecast that only held the last plan
would show deviations that never come. So the controller is asked again along the forecast, at the
belief expected there. Its answers fix the inputs; the spread stays that of the belief.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from galenic.clock import nanoseconds
from galenic.decision.goal import Controller, Forewarning, Goal, Limits
from galenic.identity import generator
from galenic.inference.belief import Belief
from galenic.inference.estimator import Estimator, Forecast, Schedule
from galenic.inference.forecast import follow

Rows = list[tuple[int, dict[str, float]]]


@dataclass(frozen=True)
class Feedback:
    """How a controller that stays in charge is asked again on the way.

    Parameters
    ----------
    begin : int [ns]
        When the plan in force was made.
    plan : mapping
        That plan: ``Proposal.to_dict``.
    targets, inputs : mapping
        SI by path; the inputs as they stand.
    limits : Limits
    held : mapping
        Inputs that somebody else holds: the controller works around them.
    forewarning : Forewarning, optional
        Changes of inputs that can be told from a belief.
    """

    begin: int
    plan: Mapping[str, Any]
    targets: Mapping[str, float]
    inputs: Mapping[str, float]
    limits: Limits
    held: Mapping[str, float] = field(default_factory=dict)
    forewarning: Forewarning | None = None

    def allowed(self) -> Limits:
        """The limits, closed around what is held."""
        return {**self.limits, **{path: (v, v, 0.0) for path, v in self.held.items()}}


@dataclass(frozen=True)
class Question:
    """What is to be forecast; all that a forecast needs beside estimator and controller.

    Parameters
    ----------
    until : int [ns]
    every : float [s]
    schedule : Schedule
        Inputs as they stand, known changes, the plan in force, actions.
    outputs : tuple of str
    seed : tuple
        Key of the random numbers, for beliefs that are sampled.
    feedback : Feedback, optional
        None where nobody acts.
    """

    until: int
    every: float
    schedule: Schedule
    outputs: tuple[str, ...]
    seed: tuple[Any, ...]
    feedback: Feedback | None = None


def forecast(
    estimator: Estimator, belief: Belief, question: Question, controller: Controller | None = None
) -> Forecast:
    """What will be; with a controller, what will be while it acts."""
    schedule = question.schedule
    if question.feedback is not None and controller is not None:
        schedule = answered(estimator, belief, question, question.feedback, controller)
    return estimator.forecast(
        belief,
        question.until,
        question.every,
        schedule,
        question.outputs,
        generator(*question.seed),
    )


def answered(
    estimator: Estimator,
    belief: Belief,
    question: Question,
    feedback: Feedback,
    controller: Controller,
) -> Schedule:
    """The schedule with what the controller will decide: asked anew halfway through each plan."""
    forget = getattr(controller, "forget", None)
    if forget is not None:
        forget()
    rows: Rows = [(time, dict(values)) for time, values in question.schedule.inputs]
    actions = question.schedule.actions
    time = max(belief.time + 1, feedback.begin + _half(feedback.plan["times"]))
    while time < question.until:
        due = tuple(action for action in actions if action.source_time > belief.time)
        belief = next(follow(estimator, belief, [time], Schedule(tuple(rows), due)))  # type: ignore[arg-type]
        inputs = {**feedback.inputs, **Schedule(tuple(rows)).at(time)}
        goal = Goal(time, feedback.targets, inputs)
        proposal = controller.propose(belief, goal, feedback.allowed())
        if proposal.status == "fallback":
            break
        coming = feedback.forewarning(belief, goal) if feedback.forewarning else ()
        rows = [row for row in rows if row[0] <= time]
        rows += [(time + nanoseconds(wait), dict(values)) for wait, values in coming]
        rows += planned(time, proposal.to_dict())
        rows = sorted(((t, {**v, **feedback.held}) for t, v in rows), key=lambda row: row[0])
        time += _half(proposal.times)
    return Schedule(tuple(rows), actions)


def planned(begin: int, plan: Mapping[str, Any]) -> Rows:
    """The moves of a plan: each step from its beginning."""
    starts = [0.0, *plan["times"][:-1]]
    rows = []
    for k, start in enumerate(starts):
        values = {path: moves[k] for path, moves in plan["plan"].items() if k < len(moves)}
        rows.append((begin + nanoseconds(start), values))
    return rows


def _half(times: Any) -> int:
    return max(1, nanoseconds(times[-1] / 2))
