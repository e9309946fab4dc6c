"""Replay: the journal, with the recorded results of computations, through a fresh twin.

It must reach the belief and the decisions that were recorded. The definition is the one that is in
the records, whatever has become of its source; the code that it names is today's, and what of it
has changed is said. With ``recompute`` the computations are done again too, and compared within a
tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from galenic.clock import to_iso
from galenic.errors import DataError, UnknownName
from galenic.signals import Compute, Computed
from galenic.twin import resume, sources
from galenic.twin.definition import TwinDefinition
from galenic.twin.kept import Versions
from galenic.twin.project import Project, TwinSpec
from galenic.twin.resume import Life
from galenic.twin.versions import Version, refuse_lost, to_version
from galenic.twin.workers import InlineWorkers, Workers

DEADLINES = ("deadline", "worker died", "no answer")
DECIDES = ("twin", "estimator")
SOLVES = ("controller",)


@dataclass
class Replayed:
    """What the replay of one life of a twin found; ``ok`` when nothing differs.

    ``definition`` says where the definition came from: "recorded" or "source". ``code`` says what
    of the code, the libraries and the machine is not as it was recorded: results may differ then.
    """

    twin: str
    events: int = 0
    decisions: int = 0
    head: str = ""
    recorded_head: str = ""
    belief: str = ""
    recorded_belief: str = ""
    recomputed: int = 0
    began: str = ""
    definition: str = ""
    version: str = ""
    notes: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.differences

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "ok": self.ok}


@dataclass(frozen=True)
class How:
    """How to replay: with which definitions, and whether to compute again."""

    project: Project | None
    source: bool
    recompute: bool
    tolerance: float
    workers: Workers
    folder: Path | None

    def spec(self, twin: str) -> TwinSpec | None:
        """The project's twin of this name."""
        twins = self.project.twins if self.project else ()
        return next((spec for spec in twins if spec.id == twin), None)


def replay(
    store: Any,
    project: Project | None = None,
    *,
    source: bool = False,
    recompute: bool = False,
    tolerance: float = 1e-6,
    workers: Workers | None = None,
    folder: Path | None = None,
) -> list[Replayed]:
    """Replay every life of every recorded twin from its beginning; the store is only read.

    Parameters
    ----------
    store : Store
    project : Project, optional
        Needed for ``source``, and for twins that were recorded without their definition. Only its
        twins are replayed, when it is given.
    source : bool
        Use the project's definitions as they are now, not the recorded ones.
    recompute : bool
        Also run computations again and compare with what was recorded.
    tolerance : float
        Relative and absolute tolerance of that comparison.
    workers : Workers, optional
        Where they run; in this process when not given.
    folder : Path, optional
        Where files of code that a definition names are looked for first.
    """
    how = How(project, source, recompute, tolerance, workers or InlineWorkers(), folder)
    known = resume.lives(store)
    wanted = [spec.id for spec in project.twins] if project else [life.twin for life in known]
    for id in wanted or ("",):
        if id not in {life.twin for life in known}:
            found = f"the store has no twin {id!r}" if id else "the store has no twins"
            raise DataError(found, hint="run the project first")
    return [_replayed(store, life, how) for life in known if life.twin in wanted]


def needs_source(store: Any) -> bool:
    """Whether a twin was recorded without its definition, so that a project must give it."""
    return any(not life.start.get("kept") for life in resume.lives(store))


def _replayed(store: Any, life: Life, how: How) -> Replayed:
    found = Replayed(life.twin, began=to_iso(life.start["time"]))
    versions = Versions(store, life.twin, how.folder)
    try:
        definition = _definition(life, how, versions, found)
    except (DataError, UnknownName) as error:
        if life.is_present:
            raise
        found.differences.append(f"not replayed: {error.found}")
        return found
    return _run(store, life, how, definition, None if how.source else versions, found)


def _definition(life: Life, how: How, versions: Versions, found: Replayed) -> TwinDefinition:
    """The definition to replay with; what there is to say about it goes into ``found``."""
    start, spec = life.start, how.spec(life.twin)
    recorded = None if how.source else versions.find(start["identity"], start["values"])
    definition = recorded or _from_source(life, spec, versions, how, found)
    found.definition, found.version = "recorded" if recorded else "source", definition.version
    if recorded is not None:
        _look_at_code(recorded, versions.all(start["identity"]), how, found)
    return definition


def _look_at_code(
    definition: TwinDefinition, versions: list[Version], how: How, found: Replayed
) -> None:
    """What of the code that decides has changed since any part of the life was recorded."""
    names = (*DECIDES, *(SOLVES if how.recompute else ()))
    code = definition.code()
    parts = {name: part for name, part in code.items() if name.partition(".")[0] in names}
    refuse_lost(parts, f"twin {found.twin}", str(versions[-1].code["galenic"]))
    now = sources.fingerprint(parts)
    for version in versions:
        for words in sources.changes(version.code, now, parts):
            if words not in found.code:
                found.code.append(words)


def _from_source(
    life: Life, spec: TwinSpec | None, versions: Versions, how: How, found: Replayed
) -> TwinDefinition:
    start = life.start
    why = start.get("not recorded", "it was recorded before definitions were")
    if spec is None:
        raise DataError(
            f"the definition of {life.twin} is not in the records: {why}",
            expected="a project that names the twin and its definition",
        )
    definition = resume.source_of(spec, start)
    same = definition.identity(start["values"]) == start["identity"]
    if how.source:
        other = versions.differences(start["identity"], definition)
        if other:
            found.notes.append(f"the source is not as recorded: {', '.join(other)}")
    else:
        found.notes.append(f"the definition is from the source: {why}")
    if not same and not how.source:
        raise DataError(
            f"the definition in the source is not that of the record: {why}",
            where=f"twin {life.twin}",
            hint="replay with the source of that time, or with --source to see what it would do",
        )
    return definition


def _run(
    store: Any,
    life: Life,
    how: How,
    definition: TwinDefinition,
    versions: Versions | None,
    found: Replayed,
) -> Replayed:
    twin = resume.first(definition, life.twin, life.start)
    decisions = resume.Decisions(position=life.start["position"])
    recorded = resume.Decisions(**life.decisions)
    asked: dict[str, Compute] = {}
    for position, event in store.applied_read(life.twin, life.start["position"]):
        if position > recorded.position:
            break
        led = versions.led(event) if versions else []
        if led:
            evolved = led[-1].definition(how.folder)
            _look_at_code(evolved, led, how, found)
            event = to_version(event, evolved)
        if how.recompute and isinstance(event, Computed) and event.task in asked:
            _compare(asked.pop(event.task), event, how.workers, how.tolerance, found)
        for effect in resume.accepted(twin, event):
            if resume.decides(effect):
                decisions.add(effect)
            elif isinstance(effect, Compute):
                asked[effect.task] = effect
        found.events += 1
        decisions.position = position
        if position == life.stopped.get("position"):
            found.recorded_belief = life.stopped["belief"]
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
