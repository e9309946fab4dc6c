"""The fold: the belief is what the accepted observations and actions say, in order of their time.

Entries are sorted by (source time, kind, tag, source key) whatever the order of their arrival.
Those of one time are taken together: predict to that time, correct by one bundle, then let inputs
and actions take effect. An entry that arrives late rewinds to the last checkpoint before it and
replays, so every arrival order within the lateness ends in the same state, bit for bit.

What is computed here is a function of the entries alone; when it is computed does not matter.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from operator import attrgetter

import numpy as np

from galenic.clock import nanoseconds, seconds
from galenic.errors import GalenicError
from galenic.inference.belief import Belief
from galenic.inference.estimator import Estimator
from galenic.inference.evidence import Bundle, Observation
from galenic.inference.packing import packable
from galenic.twin.alarm.book import Alarming, Book
from galenic.twin.binding import Bypass, Channel
from galenic.twin.events import ACTION, INPUT, LOOK, OBSERVATION, WATCH, Entry
from galenic.twin.genealogy import GenealogyRules, Track
from galenic.twin.health import HealthRules, Monitor

NUMERICAL = (GalenicError, ArithmeticError, ValueError, RuntimeError)


@dataclass(frozen=True)
class FoldRules:
    """How entries are taken in.

    Parameters
    ----------
    lateness : float [s]
        An entry older than the newest by more than this goes to the historian only.
    checkpoint : float [s]
        Time between kept states; a late entry replays at most this much more than its own age.
    future : float [s]
        Time stamps further ahead of their reception than this are not believed.
    grid : float [s]
        Observation times are rounded to multiples of this, so that tags that a device scans one
        after the other are corrected together; 0 keeps them as they are.
    """

    lateness: float = 900.0
    checkpoint: float = 30.0
    future: float = 2.0
    grid: float = 0.0

    def on_grid(self, time: int) -> int:
        """The time at which an observation is folded."""
        step = nanoseconds(self.grid)
        return (time + step // 2) // step * step if step else time


@packable
@dataclass(frozen=True)
class State:
    """Everything folded up to and including ``time``."""

    time: int
    belief: Belief
    inputs: Mapping[str, float]
    monitor: Monitor = field(default_factory=Monitor)
    track: Track = field(default_factory=Track)
    folded: int = 0
    alarms: Book = field(default_factory=Book)


@dataclass(frozen=True)
class Mechanics:
    """What the fold works with; holds no state."""

    estimator: Estimator
    channels: Mapping[str, Channel]
    rules: FoldRules
    health: HealthRules
    genealogy: GenealogyRules | None = None
    alarming: Alarming | None = None

    def step(self, state: State, entries: list[Entry], bypasses: Iterable[Bypass]) -> State:
        """The state after all entries of one time."""
        after = self._moved_on(state, entries, bypasses)
        if self.alarming is None:
            return after
        looks = after.belief is not state.belief or any(e.rank == LOOK for e in entries)
        estimates = self._estimates(after) if looks and self.alarming.quantities else {}
        book = self.alarming.step(state.alarms, after.time, entries, estimates, after.monitor)
        return replace(after, alarms=book)

    def _estimates(self, state: State) -> dict[str, float]:
        """What the alarms ask of the belief at the state's time [SI]; nothing is committed."""
        names = self.alarming.quantities if self.alarming is not None else ()
        try:
            belief = state.belief
            if belief.time < state.time:
                belief = self.estimator.predict(belief, state.time, state.inputs)
            found = {name: belief.point(name) for name in names if name in belief.names}
            outputs = [name for name in names if name not in found]
            observed = self.estimator.observe(belief, outputs) if outputs else {}
        except NUMERICAL:
            return {}
        found |= {name: mean for name, (mean, _) in observed.items()}
        return {name: float(value) for name, value in found.items() if np.isfinite(value)}

    def _moved_on(self, state: State, entries: list[Entry], bypasses: Iterable[Bypass]) -> State:
        time = entries[0].time
        bypassed = {bypass.tag for bypass in bypasses if bypass.covers(time)}
        entries = told_once([e for e in entries if e.moves and e.tag not in bypassed])
        if all(self._changes_nothing(state, entry) for entry in entries):
            return replace(state, time=time, track=self._moved(state, time))
        state = self._predicted(state, time)
        state = self._corrected(state, [e for e in entries if e.rank == OBSERVATION])
        for entry in entries:
            if entry.rank != OBSERVATION:
                state = self._affected(state, entry)
        return replace(state, folded=state.folded + len(entries))

    def _changes_nothing(self, state: State, entry: Entry) -> bool:
        if entry.rank == WATCH:
            return self._tracked(state, entry) is state.track
        return entry.rank == INPUT and state.inputs.get(entry.quantity) == entry.value

    def _attempt(self, state: State, do: Callable[[], Belief]) -> State:
        """The state with a new belief, or with the old one and the trouble noted."""
        try:
            belief = do()
        except NUMERICAL as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            return replace(state, monitor=state.monitor.troubled(reason))
        if not np.all(np.isfinite(belief.mean_vector)):
            return replace(state, monitor=state.monitor.troubled("the belief is not finite"))
        return replace(state, belief=belief)

    def _predicted(self, state: State, time: int) -> State:
        moved = self._moved(state, time)
        after = self._attempt(
            state, lambda: self.estimator.predict(state.belief, time, state.inputs)
        )
        return replace(after, time=time, track=moved)

    def _moved(self, state: State, time: int) -> Track:
        if self.genealogy is None:
            return state.track
        rate = throughput(self.genealogy, state, self.estimator)
        moved = state.track.moved(rate * seconds(time - state.time))
        return moved.forgotten(self.genealogy.points) if len(moved.marks) > 8 else moved

    def _corrected(self, state: State, entries: list[Entry]) -> State:
        if not entries or state.belief.time != state.time:
            return state
        values = [(entry.tag, entry.time, float(entry.value or 0.0)) for entry in entries]
        state = replace(state, monitor=state.monitor.seen(values))
        doubled = {e.tag for a, e in pairwise(entries) if a.tag == e.tag}
        bundle = Bundle(
            state.time, tuple(self._observation(state, e, e.tag in doubled) for e in entries)
        )
        after = self._attempt(state, lambda: self.estimator.correct(state.belief, bundle))
        if after.belief is state.belief:
            return after
        return replace(after, monitor=self._judged(after, entries).well())

    def _observation(self, state: State, entry: Entry, doubled: bool) -> Observation:
        channel = self.channels[entry.tag]
        limit = channel.binding.frozen_after
        frozen = limit is not None and state.monitor.frozen_for(entry.tag, entry.time) > limit
        weight = channel.weight if entry.uncertain or frozen or doubled else 1.0
        return Observation(
            entry.quantity,
            float(entry.value or 0.0),
            entry.sd,
            key=entry.key,
            weight=weight,
            resolution=channel.resolution_si,
        )

    def _judged(self, state: State, entries: list[Entry]) -> Monitor:
        tags = {(entry.quantity, entry.key): entry.tag for entry in entries}
        verdicts = [
            (
                tags[innovation.quantity, innovation.key],
                innovation.standardised,
                innovation.accepted and not innovation.why,
            )
            for innovation in state.belief.innovations
            if (innovation.quantity, innovation.key) in tags
        ]
        return state.monitor.judged(verdicts, self.health.window)

    def _affected(self, state: State, entry: Entry) -> State:
        if entry.rank == WATCH or isinstance(entry.value, str):
            return replace(state, track=self._tracked(state, entry))
        if entry.quantity in state.inputs and (entry.action is None or entry.action.what == "set"):
            value = float(entry.value or 0.0)
            return replace(state, inputs={**state.inputs, entry.quantity: value})
        action = entry.action
        if entry.rank == ACTION and action is not None and state.belief.time == entry.time:
            return self._attempt(state, lambda: self.estimator.act(state.belief, action))
        return state

    def _tracked(self, state: State, entry: Entry) -> Track:
        """Where material is, after a lot or the line's own state has changed."""
        rules, track = self.genealogy, state.track
        if rules is None:
            return track
        if isinstance(entry.value, str):
            known = entry.tag in rules.points
            return track.changed(entry.tag, entry.time, entry.value) if known else track
        standing = not entry.value
        moved = entry.tag == rules.running and standing != track.standing
        return replace(track, standing=standing) if moved else track


def told_once(entries: list[Entry]) -> list[Entry]:
    """Entries of one time without observations that say again what another one says.

    Repeats stay in the fold: when the one that counts is corrected away, the next one counts.
    """
    kept: dict[tuple[object, ...], Entry] = {}
    for entry in entries:
        again = (entry.tag, entry.value) if entry.rank == OBSERVATION else (entry.order,)
        kept.setdefault(again, entry)
    return list(kept.values())


def throughput(rules: GenealogyRules, state: State, estimator: Estimator) -> float:
    """Mass flow through the line under a state [kg/s]."""
    total, unknown = 0.0, []
    for path in rules.throughput:
        if path in state.inputs:
            total += state.inputs[path]
        elif path in state.belief.names:
            total += state.belief.mean(path)
        else:
            unknown.append(path)
    if unknown:
        total += sum(mean for mean, _ in estimator.observe(state.belief, unknown).values())
    return total


class Fold:
    """The entries within the lateness, the checkpoints, and the state they lead to."""

    def __init__(self, mechanics: Mechanics, start: State) -> None:
        self.mechanics = mechanics
        self.entries: list[Entry] = []
        self.checkpoints: list[State] = [start]
        self.bypasses: tuple[Bypass, ...] = ()
        self.watermark = start.time
        self._current = start
        self._orders: dict[str, Entry] = {}

    @property
    def state(self) -> State:
        """The state after all entries so far."""
        self._advance()
        return self._current

    @property
    def horizon(self) -> int:
        """Entries at or before this time come too late [ns]."""
        late = self.watermark - nanoseconds(self.mechanics.rules.lateness)
        return max(late, self.checkpoints[0].time)

    def insert(self, entry: Entry) -> None:
        """Take in an entry later than ``horizon``."""
        insort(self.entries, entry, key=attrgetter("order"))
        self._orders[entry.key] = entry
        if entry.moves:
            self.watermark = max(self.watermark, entry.time)
        self.rewind(entry.time)

    def remove(self, key: str) -> Entry | None:
        """Take an entry out again; None where there is none of this key."""
        entry = self._orders.pop(key, None)
        if entry is not None:
            del self.entries[bisect_left(self.entries, entry.order, key=attrgetter("order"))]
            self.rewind(entry.time)
        return entry

    def others(self, entry: Entry) -> list[Entry]:
        """Entries of the same tag, kind and time with another key."""
        first = bisect_left(self.entries, (entry.time,), key=attrgetter("order"))
        found = []
        for other in self.entries[first:]:
            if other.time != entry.time:
                break
            if other.tag == entry.tag and other.key != entry.key and other.rank == entry.rank:
                found.append(other)
        return found

    def bypass(self, bypass: Bypass) -> None:
        """Leave a tag out for a while; one that is bypassed already gets the new span from now."""
        self.bypasses = (*(b for b in self.bypasses if b.until > self.horizon), bypass)
        self.rewind(bypass.start)

    def end_bypass(self, tag: str, time: int) -> None:
        """Believe a tag again from ``time`` on."""
        self.bypasses = tuple(
            replace(b, until=min(b.until, max(b.start, time))) if b.tag == tag else b
            for b in self.bypasses
        )
        self.rewind(time)

    def rewind(self, time: int) -> None:
        """Forget what was folded at ``time`` and later; it is folded again when it is asked for."""
        if time > self._current.time:
            return
        keep = max(1, bisect_left(self.checkpoints, time, key=attrgetter("time")))
        del self.checkpoints[keep:]
        self._current = self.checkpoints[-1]

    def prune(self) -> None:
        """Drop what no accepted entry can reach any more."""
        old = bisect_left(self.checkpoints, self.horizon + 1, key=attrgetter("time"))
        if old > 1:
            del self.checkpoints[: old - 1]
            gone = bisect_right(self.entries, self.checkpoints[0].time, key=attrgetter("time"))
            for entry in self.entries[:gone]:
                self._orders.pop(entry.key, None)
            del self.entries[:gone]

    def restored(
        self,
        state: State,
        entries: Iterable[Entry],
        watermark: int,
        tip: State | None = None,
    ) -> None:
        """Take over the base state and the entries of a snapshot.

        ``tip`` is the state that they lead to, where it is known; nothing is then folded again.
        """
        self.checkpoints = [state] if tip is None else [state, tip]
        self._current = self.checkpoints[-1]
        self.entries = sorted(entries, key=attrgetter("order"))
        self._orders = {entry.key: entry for entry in self.entries}
        self.watermark = watermark

    def _advance(self) -> None:
        i = bisect_right(self.entries, self._current.time, key=attrgetter("time"))
        every = nanoseconds(self.mechanics.rules.checkpoint)
        while i < len(self.entries):
            time = self.entries[i].time
            stop = bisect_right(self.entries, time, lo=i, key=attrgetter("time"))
            self._current = self.mechanics.step(self._current, self.entries[i:stop], self.bypasses)
            if time - self.checkpoints[-1].time >= every:
                self.checkpoints.append(self._current)
            i = stop


def beginning(time: int, belief: Belief, inputs: Mapping[str, float]) -> State:
    """The state before the first entry."""
    return State(time, belief, dict(inputs))
