"""Replay: the journal, with the recorded results of computations, through a fresh twin.

It must reach the belief and the decisions that were recorded. With ``recompute`` the computations
are done again too, and compared within a tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from galenic.errors import DataError
from galenic.signals import Compute, Computed
from galenic.twin import resume
from galenic.twin.project import Project, TwinSpec
from galenic.twin.workers import InlineWorkers, Workers

DEADLINES = ("deadline", "worker died", "no answer")


@dataclass
class Replayed:
    """What the replay of one twin found; ``ok`` when nothing differs."""

    twin: str
    events: int = 0
    decisions: int = 0
    head: str = ""
    recorded_head: str = ""
    belief: str = ""
    recorded_belief: str = ""
    recomputed: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.differences

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "ok": self.ok}


def replay(
    store: Any,
    project: Project,
    *,
    recompute: bool = False,
    tolerance: float = 1e-6,
    workers: Workers | None = None,
) -> list[Replayed]:
    """Replay every twin of a project from its beginning; the store is only read.

    Parameters
    ----------
    store : Store
    project : Project
    recompute : bool
        Also run computations again and compare with what was recorded.
    tolerance : float
        Relative and absolute tolerance of that comparison.
    workers : Workers, optional
        Where they run; in this process when not given.
    """
    return [
        _replayed(store, spec, recompute, tolerance, workers or InlineWorkers())
        for spec in project.twins
    ]


def _replayed(
    store: Any, spec: TwinSpec, recompute: bool, tolerance: float, workers: Workers
) -> Replayed:
    start = store.get(resume.STARTS, spec.id)
    if start is None:
        raise DataError(f"the store has no twin {spec.id!r}", hint="run the project first")
    twin, found = resume.first(spec, start), Replayed(spec.id)
    decisions = resume.Decisions(position=start["position"])
    recorded = resume.Decisions(**store.get(resume.DECISIONS, spec.id))
    stopped = store.get(resume.BELIEFS, spec.id) or {}
    asked: dict[str, Compute] = {}
    for position, event in store.applied_read(spec.id, start["position"]):
        if position > recorded.position:
            break
        if recompute and isinstance(event, Computed) and event.task in asked:
            _compare(asked.pop(event.task), event, workers, tolerance, found)
        for effect in resume.accepted(twin, event):
            if resume.decides(effect):
                decisions.add(effect)
            elif isinstance(effect, Compute):
                asked[effect.task] = effect
        found.events += 1
        decisions.position = position
        if position == stopped.get("position"):
            found.recorded_belief = stopped["belief"]
            found.belief = twin.belief.identity
    return _judged(found, decisions, recorded)


def _judged(found: Replayed, decisions: resume.Decisions, recorded: resume.Decisions) -> Replayed:
    found.decisions, found.head = decisions.count, decisions.head
    found.recorded_head = recorded.head
    if decisions.count != recorded.count:
        words = f"{decisions.count} decisions instead of the recorded {recorded.count}"
        found.differences.append(words)
    elif decisions.head != recorded.head:
        found.differences.append("the decisions differ from the recorded ones")
    if found.recorded_belief and found.belief != found.recorded_belief:
        found.differences.append("the belief differs from the recorded one")
    return found


def _compare(
    compute: Compute, event: Computed, workers: Workers, tolerance: float, found: Replayed
) -> None:
    """Run a computation again; one that ran out of time when it was recorded is not compared."""
    if any(words in event.error for words in DEADLINES):
        return
    outcome = workers.run(compute)
    found.recomputed += 1
    if bool(outcome.error) != bool(event.error):
        found.differences.append(f"{compute.task}: {outcome.error or 'no error'} now")
        return
    for path in _apart(event.result, outcome.result, tolerance):
        found.differences.append(f"{compute.task}: {path} differs when computed again")


def _apart(recorded: Any, computed: Any, tolerance: float, path: str = "result") -> Iterator[str]:
    """Where two results differ by more than the tolerance."""
    numbers = isinstance(recorded, int | float) and isinstance(computed, int | float)
    if numbers:
        if not math.isclose(recorded, computed, rel_tol=tolerance, abs_tol=tolerance):
            yield path
    elif isinstance(recorded, Mapping) and isinstance(computed, Mapping):
        for key in sorted({*recorded, *computed}):
            yield from _apart(recorded.get(key), computed.get(key), tolerance, f"{path}.{key}")
    elif isinstance(recorded, list | tuple) and isinstance(computed, list | tuple):
        if len(recorded) != len(computed):
            yield path
        for i, (a, b) in enumerate(zip(recorded, computed, strict=False)):
            yield from _apart(a, b, tolerance, f"{path}[{i}]")
    elif recorded != computed:
        yield path
