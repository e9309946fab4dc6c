"""Data quality per source: what became of everything that came, with reasons and a score.

Three places know a part: the connector (what it could not read, converted or guessed), the runner
(what it took in), the twin (what it accepted, knew already, rejected, found late). A `Book` puts
the parts together for each source and tag, and keeps them across restarts. Messages that nobody
could read are kept as dead letters.

The score of a tag or source is 100 times the share of values that can be relied on: a value that
was rejected, contradicts another one, or is missing counts fully against it, one that was late,
from the future or guessed by half; a duplicate does no harm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from galenic.connect.tally import DeadLetter, Tally
from galenic.identity import content_hash
from galenic.signals import Sample

QUALITY, DEAD, COUNT = "quality", "dead-letter", "dead-letter-count"
MOST_LETTERS = 10_000
FULLY = ("rejected", "conflicts", "missing")
BY_HALF = ("late", "future", "guessed")
KINDS = (
    "mapped", "converted", "accepted", "rejected", "guessed", "late", "duplicates", "conflicts",
    "future", "ignored", "missing",
)  # fmt: skip
OF_TWINS = ("accepted", "duplicates", "late", "conflicts", "future", "ignored")


def score(numbers: Mapping[str, int]) -> float | None:
    """The score [%] of what was counted; None where nothing came.

    Examples
    --------
    >>> score({"mapped": 98, "rejected": 2, "refused": 2, "late": 2})
    97.0
    """
    came = numbers.get("mapped", 0) + numbers.get("refused", 0) + numbers.get("missing", 0)
    came -= numbers.get("duplicates", 0)
    if came <= 0:
        return None
    lost = sum(numbers.get(kind, 0) for kind in FULLY)
    half = sum(numbers.get(kind, 0) for kind in BY_HALF)
    return round(max(0.0, 100.0 * (1.0 - (lost + half / 2) / came)), 2)


def keep_letters(tx: Any, letters: Iterable[DeadLetter]) -> None:
    """Keep messages that could not be read; beyond 10,000 they are counted only."""
    count = tx.get(COUNT, "all") or {"kept": 0, "not_kept": 0}
    changed = False
    for letter in letters:
        changed = True
        key = f"{letter.time:020d}-{content_hash(letter.to_dict())[:16]}"
        if tx.get(DEAD, key) is not None:
            continue
        if count["kept"] < MOST_LETTERS:
            tx.put(DEAD, key, letter.to_dict())
            count["kept"] += 1
        else:
            count["not_kept"] += 1
    if changed:
        tx.put(COUNT, "all", count)


def letters(store: Any) -> tuple[dict[str, DeadLetter], int]:
    """The dead letters of a site by key, oldest first, and how many were counted only."""
    kept = {key: DeadLetter.from_dict(said) for key, said in store.list(DEAD).items()}
    return kept, (store.get(COUNT, "all") or {}).get("not_kept", 0)


class Book:
    """What became of the data of every source.

    Parameters
    ----------
    store : Store
        Counts of earlier lives are read from it.
    """

    def __init__(self, store: Any = None) -> None:
        self.sources: dict[str, Tally] = {}
        self._before: dict[str, Tally] = {}
        self._missed: dict[str, int] = {}
        if store is not None:
            for source, said in store.list(QUALITY).items():
                self._before[source] = Tally.from_dict(said["source"])

    def took(self, source: str, batch: Iterable[Sample], units: Mapping[str, str]) -> None:
        """Count what the runner takes in; ``units`` are those of the bindings by tag."""
        tally = self.sources.setdefault(source, Tally())
        counted = Counter((sample.tag, sample.unit) for sample in batch)
        for (tag, unit), number in counted.items():
            tally.note(tag, "mapped", number)
            wanted = units.get(tag, unit)
            if unit and wanted != unit:
                tally.note(tag, "converted", number, reason=f"from {unit} to {wanted}")

    def missed(self, source: str, lost: int) -> None:
        """Samples that overflowed a queue, as its status counts them since it was made."""
        new = lost - self._missed.get(source, 0)
        if new > 0:
            self.sources.setdefault(source, Tally()).note(
                "", "missing", new, reason="a queue was full"
            )
        self._missed[source] = lost

    def source(self, name: str, connector: Any = None) -> Tally:
        """All counts of a source but those of twins: earlier lives, this one, the connector's."""
        whole = Tally()
        for part in (
            self._before.get(name),
            self.sources.get(name),
            getattr(connector, "tally", None),
        ):
            if isinstance(part, Tally):
                whole.add(part)
        return whole

    def records(self, connectors: Mapping[str, Any], twins: Mapping[str, Any]) -> dict[str, Any]:
        """What is kept, by source: its counts, and those of the twins that it feeds."""
        found = {}
        for name in {*self._before, *self.sources, *connectors, *_sources(twins)}:
            fed = {
                id: _of_twin(twin, name)
                for id, twin in twins.items()
                if name in _sources({"": twin})
            }
            tally = self.source(name, connectors.get(name))
            found[name] = {"source": tally.to_dict(), "twins": fed}
        return found

    @staticmethod
    def letters(connectors: Mapping[str, Any]) -> list[DeadLetter]:
        """Dead letters of connectors, taken away from them."""
        found: list[DeadLetter] = []
        for connector in connectors.values():
            tally = getattr(connector, "tally", None)
            if isinstance(tally, Tally):
                found += list(tally.letters)
                tally.letters.clear()
        return found


def _sources(twins: Mapping[str, Any]) -> set[str]:
    return {
        channel.binding.connection for twin in twins.values() for channel in twin.channels.values()
    } - {""}


def _of_twin(twin: Any, source: str) -> dict[str, Any]:
    """Counts and reasons of the tags of one source in a twin."""
    tags = [tag for tag, c in twin.channels.items() if c.binding.connection == source]
    reasons = twin.tally.to_dict()
    return {
        tag: {
            "numbers": dict(vars(twin.counters[tag])),
            "reasons": reasons.get(tag, {}).get("reasons", {}),
        }
        for tag in tags
        if tag in twin.counters
    }


def summary(record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Numbers, score and reasons by tag, of what `Book.records` gives for a source.

    A tag that feeds several twins counts what the worst of them says.
    """
    tags: dict[str, dict[str, Any]] = {}
    for tag, said in record["source"].items():
        numbers = dict(said["numbers"])
        numbers["refused"] = numbers.get("rejected", 0)  # never became a sample
        tags[tag] = {"numbers": numbers, "reasons": _rows(said["reasons"], "source")}
    for id, fed in record["twins"].items():
        for tag, said in fed.items():
            into = tags.setdefault(tag, {"numbers": {}, "reasons": []})
            numbers, own = into["numbers"], said["numbers"]
            for kind in OF_TWINS:
                numbers[kind] = max(numbers.get(kind, 0), own.get(kind, 0))
            worst = max(numbers.get("twin_rejected", 0), own.get("rejected", 0))
            numbers["twin_rejected"] = worst
            numbers["mapped"] = max(numbers.get("mapped", 0), own.get("received", 0))
            into["reasons"] += _rows(said["reasons"], id)
    for found in tags.values():
        numbers = found["numbers"]
        numbers["rejected"] = numbers.get("refused", 0) + numbers.pop("twin_rejected", 0)
        found["score"] = score(numbers)
    return tags


def total(tags: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Numbers of all tags together."""
    found: Counter[str] = Counter()
    for said in tags.values():
        found.update(said["numbers"])
    return dict(found)


def _rows(reasons: Mapping[str, Any], by: str) -> list[dict[str, Any]]:
    return [
        {"kind": kind, "reason": words, "by": by, **said}
        for kind, found in reasons.items()
        for words, said in found.items()
    ]
