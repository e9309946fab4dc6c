"""The list of checks that every storage back end must pass.

``check_store(opener)`` runs them all; each is also a plain function, so that a test suite can
show them one by one.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from galenic.errors import StorageError
from galenic.records.ledger import Head, pending_intentions
from galenic.records.store import Checkpoint, Store
from galenic.signals import Correction, Record, Sample, Tick

SECOND = 1_000_000_000

Opener = Callable[[Path], Store]
"""Opens the store of a folder for writing; an importable function, as a child process calls it."""


def check_store(opener: Opener) -> list[str]:
    """Run every check on stores that ``opener`` makes; the names of the checks passed.

    Raises
    ------
    AssertionError
        With the name of the check and what did not hold.
    """
    for check in CHECKS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                check(opener, Path(folder))
            except AssertionError as error:
                raise AssertionError(f"{check.__name__}: {error}") from error
    return [check.__name__ for check in CHECKS]


def _hold(condition: bool, what: str) -> None:
    if not condition:
        raise AssertionError(what)


def _sample(second: int, value: float | str | bool | None = 1.0, tag: str = "T") -> Sample:
    return Sample(tag, value, "K", second * SECOND, second * SECOND + 7)


def journal_keeps_what_came_in_order(opener: Opener, folder: Path) -> None:
    """Signals come back unchanged, in order, with consecutive offsets, also after reopening."""
    events = [_sample(2, float("inf")), Tick(3), _sample(1, "late"), _sample(1, "late")]
    store = opener(folder)
    with store.transaction() as tx:
        _hold(tx.journal(events, 5) == range(1, 5), "offsets start at 1 and have no gap")
        _hold(tx.journal([], 5) == range(5, 5), "an empty batch takes no offset")
    store.close()
    store = opener(folder)
    _hold(list(store.journal_read()) == list(enumerate(events, 1)), "the journal changed")
    _hold(list(store.journal_read(2, 3)) == [(2, Tick(3))], "a range is start <= offset < stop")
    _hold([k for k, _ in store.journal_read(kinds=["tick"])] == [2], "kinds select signals")
    store.close()


def applied_order_is_kept(opener: Opener, folder: Path) -> None:
    """What a twin applied is read in its order, from any position on."""
    store = opener(folder)
    with store.transaction() as tx:
        tx.journal([_sample(i, float(i)) for i in range(4)], 5)
        position = tx.applied("one", [3, 1], 5)
        tx.applied("one", [2, 4], 5)
    values = [signal.to_dict()["value"] for _, signal in store.applied_read("one")]
    _hold(values == [2.0, 0.0, 1.0, 3.0], "the order applied is not the order read")
    after = [signal.to_dict()["value"] for _, signal in store.applied_read("one", position)]
    _hold(after == [1.0, 3.0], "reading after a position starts at the next one")
    _hold(not list(store.applied_read("two")), "twins do not share an order")
    store.close()


def everything_or_nothing(opener: Opener, folder: Path) -> None:
    """A transaction that ends in an error leaves no trace, and the next one works."""
    store = opener(folder)
    before = store.head()
    try:
        with store.transaction() as tx:
            tx.journal([_sample(1)], 5)
            tx.ledger(Record("level", 5, "line"))
            tx.samples([_sample(1)])
            tx.put("setting", "a", 1)
            tx.artefact(b"x", "text/plain", {}, 5)
            tx.checkpoint(Checkpoint("line", 1, 5, b"state"))
            raise KeyError("on purpose")
    except KeyError:
        pass
    _hold(store.head() == before, "journal or ledger kept part of a failed transaction")
    _hold(store.get("setting", "a") is None, "a document was kept")
    _hold(not store.latest() and store.history("T", 0, 9 * SECOND).num_rows == 0, "samples kept")
    _hold(store.checkpoint("line") is None, "a checkpoint was kept")
    with store.transaction() as tx:
        tx.journal([_sample(1)], 5)
    _hold(store.head().offset == before.offset + 1, "the next transaction does not follow on")
    _hold(store.verify().ok, "the records do not verify after a failed transaction")
    store.close()


def _die_between_two_writes(opener: Opener, folder: Path) -> None:
    store = opener(folder)
    with store.transaction() as tx:
        tx.journal([_sample(1)], 5)
        tx.put("state", "a", 1)
        tx.ledger(Record("intended", 5, "write", {"key": "w1"}))
    with store.transaction() as tx:
        tx.journal([_sample(2)], 6)
        tx.put("state", "a", 2)
        tx.ledger(Record("done", 6, "write", {"key": "w1"}))
        os._exit(9)


def crash_between_two_writes(opener: Opener, folder: Path) -> None:
    """A process that dies inside a transaction leaves what was committed, all of it, no more."""
    child = multiprocessing.get_context("spawn").Process(
        target=_die_between_two_writes, args=(opener, folder)
    )
    child.start()
    child.join(60)
    _hold(child.exitcode == 9, f"the child ended with {child.exitcode}, not inside its write")
    store = opener(folder)
    _hold(list(store.journal_read()) == [(1, _sample(1))], "journal is not what was committed")
    _hold(store.get("state", "a") == 1, "a document is not what was committed")
    pending = pending_intentions(store.ledger_read())
    _hold([entry.detail["key"] for entry in pending] == ["w1"], "the intention is not pending")
    _hold(store.verify().ok, "the records do not verify after a crash")
    store.close()


def ledger_is_a_chain(opener: Opener, folder: Path) -> None:
    """Each entry carries the hash of the one before; the first names the site."""
    store = opener(folder)
    with store.transaction() as tx:
        index = tx.ledger(Record("level", 5, "line", {"to": "twin"}, "ann", "campaign 12"))
    entries = list(store.ledger_read())
    _hold(entries[0].kind == "genesis" and entries[0].subject == store.site, "no genesis entry")
    _hold([entry.index for entry in entries] == list(range(len(entries))), "indexes have gaps")
    links = pairwise(entries)
    _hold(all(b.previous == a.hash for a, b in links), "an entry does not carry its predecessor")
    last = entries[-1]
    found = (last.index, last.kind, last.who, last.reason, dict(last.detail))
    expected = (index, "level", "ann", "campaign 12", {"to": "twin"})
    _hold(found == expected, f"the entry read is {found}")
    head = store.head()
    _hold((head.index, head.hash) == (last.index, last.hash), "head is not the last entry")
    store.close()


def verify_compares_with_an_outside_head(opener: Opener, folder: Path) -> None:
    """A head of a longer or of another ledger is refused; an earlier one of this is accepted."""
    store = opener(folder)
    early = store.head()
    with store.transaction() as tx:
        tx.journal([_sample(1)], 5)
        tx.ledger(Record("level", 5, "line"))
    head = store.head()
    _hold(store.verify(early).ok and store.verify(head).ok, "a true head is refused")
    _hold(store.verify().against is None, "a report without a head must say so")
    cut = store.verify(Head(head.index + 1, "0" * 64)).first_bad
    _hold(cut is not None and cut.index == head.index + 1, "a cut-off end is not found")
    other = store.verify(Head(head.index, "0" * 64)).first_bad
    _hold(other is not None and other.index == head.index, "another ledger is not found")
    store.close()


def latest_follows_source_time(opener: Opener, folder: Path) -> None:
    """A late sample does not replace a newer one; every type of value comes back as itself."""
    store = opener(folder)
    for number, value in enumerate([2.5, True, False, "text", None]):
        with store.transaction() as tx:
            tx.samples([_sample(5, value, f"T{number}"), _sample(4, 0.0, f"T{number}")])
        _hold(store.latest([f"T{number}"]) == {f"T{number}": _sample(5, value, f"T{number}")}, "")
    _hold(len(store.latest()) == 5, "all tags have a latest value")
    store.close()


def history_merges_late_rows_and_versions(opener: Opener, folder: Path) -> None:
    """Sealing loses and doubles nothing; late rows are merged; corrections are versions."""
    store = opener(folder)
    with store.transaction() as tx:
        tx.samples([_sample(i, float(i)) for i in range(10)])
    store.seal(6 * SECOND, 100 * SECOND)
    with store.transaction() as tx:
        tx.samples([Sample("T", 2.5, "K", 5 * SECOND // 2, 90 * SECOND)])
        tx.correct(Correction("x", 30.0, "K", 91 * SECOND, "ann", "typo"), "T", 3 * SECOND)
        tx.correct(Correction("x", None, "K", 92 * SECOND, "ann", "void"), "T", 4 * SECOND)
    expected = [0.0, 1.0, 2.0, 2.5, 30.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    for _ in range(2):
        values = store.history("T", 0, 60 * SECOND)["value"].to_pylist()
        _hold(values == expected, f"history reads {values}, not {expected}")
        everything = store.history("T", 0, 60 * SECOND, versions="all")
        _hold(everything.num_rows == 13, "all versions are kept")
        store.seal(8 * SECOND, 101 * SECOND)
    _hold(store.verify().ok and store.segments() != [], "segments do not verify")
    store.close()


def taken_samples_are_journalled_and_filed(opener: Opener, folder: Path) -> None:
    """What is taken in bulk reads as if it had come one by one: journal, history, latest."""
    values = [1.5, -0.0, float("nan"), float("inf"), True, False, None, "text", 7, 2**53]
    samples = [
        Sample(f"T{i % 7}", values[i % len(values)], "K", (i // 7) * SECOND, i, i % 3, i, f"k{i}")
        for i in range(120)
    ]
    store = opener(folder)
    with store.transaction() as tx:
        offsets = tx.take(samples, 5)
        tx.applied("one", [*offsets[50:], *offsets[:3]], 5)
    _hold(offsets == range(1, 121), "offsets are not consecutive")
    store.close()
    store = opener(folder)
    _hold(repr([s for _, s in store.journal_read()]) == repr(samples), "the journal changed")
    part = [(offset, repr(s)) for offset, s in store.journal_read(60, 63)]
    _hold(part == [(at, repr(samples[at - 1])) for at in (60, 61, 62)], "a range is not its part")
    applied = [repr(s) for _, s in store.applied_read("one")]
    _hold(applied == [repr(s) for s in (*samples[50:], *samples[:3])], "not the order applied")
    _hold(store.latest(["T0"])["T0"].source_key == "k119", "latest is not the newest")
    _hold(store.locate("k33") == ("T5", 4 * SECOND), "a sample is not found by its key")
    with store.transaction() as tx:
        tx.correct(Correction("k33", 9.0, "K", 91 * SECOND, "ann", "typo"), "T5", 4 * SECOND)
    before = store.history([f"T{i}" for i in range(7)], 0, 60 * SECOND, versions="all")
    _hold(before.num_rows == 121, "history has not every sample")
    buckets = store.history("T1", 0, 60 * SECOND, every=5 * SECOND)
    store.seal(100 * SECOND, 1)
    after = store.history([f"T{i}" for i in range(7)], 0, 60 * SECOND, versions="all")
    _hold(repr(before.to_pylist()) == repr(after.to_pylist()), "sealing changed the history")
    sealed = store.history("T1", 0, 60 * SECOND, every=5 * SECOND)
    _hold(repr(buckets.to_pylist()) == repr(sealed.to_pylist()), "sealing changed the buckets")
    _hold(store.verify().ok and store.verify().rows == 121, "the records do not verify")
    store.close()


def artefacts_are_their_content(opener: Opener, folder: Path) -> None:
    """The same bytes are one artefact with one ledger entry."""
    store = opener(folder)
    with store.transaction() as tx:
        first = tx.artefact(b"bytes", "text/plain", {"made by": "check"}, 5)
        again = tx.artefact(b"bytes", "text/plain", {"made by": "another"}, 6)
    _hold(first == again, "equal bytes have different names")
    found = store.artefact(first)
    _hold((found.data, dict(found.provenance)) == (b"bytes", {"made by": "check"}), "changed")
    _hold(len(list(store.ledger_read(kinds=["artefact"]))) == 1, "one entry per artefact")
    store.close()


def documents_and_checkpoints_come_back(opener: Opener, folder: Path) -> None:
    """Documents list by kind and prefix; the newest checkpoint is the one read."""
    store = opener(folder)
    with store.transaction() as tx:
        for key in ("b1", "a2", "a1"):
            tx.put("kind", key, {"key": key})
        tx.put("other", "a3", 1)
        for position in (1, 2, 3):
            tx.checkpoint(Checkpoint("line", position, 5 * position, bytes([position])), keep=2)
    store.close()
    store = opener(folder)
    _hold(list(store.list("kind")) == ["a1", "a2", "b1"], "documents list in order of keys")
    _hold(list(store.list("kind", "a")) == ["a1", "a2"], "a prefix selects keys")
    _hold(store.checkpoint("line") == Checkpoint("line", 3, 15, b"\3"), "not the newest one")
    _hold(store.checkpoint("line", 14) == Checkpoint("line", 2, 10, b"\2"), "not the one before")
    _hold(store.checkpoint("line", 9) is None, "one that was not kept, or a later one")
    store.close()


def one_writer_at_a_time(opener: Opener, folder: Path) -> None:
    """A second writer is refused with a StorageError; after closing the next one may."""
    store = opener(folder)
    try:
        opener(folder)
    except StorageError as error:
        _hold(str(os.getpid()) in str(error), "the error does not name the holder")
    else:
        raise AssertionError("two writers opened one store")
    store.close()
    opener(folder).close()


CHECKS: tuple[Callable[[Opener, Path], None], ...] = (
    journal_keeps_what_came_in_order,
    applied_order_is_kept,
    everything_or_nothing,
    crash_between_two_writes,
    ledger_is_a_chain,
    verify_compares_with_an_outside_head,
    latest_follows_source_time,
    history_merges_late_rows_and_versions,
    taken_samples_are_journalled_and_filed,
    artefacts_are_their_content,
    documents_and_checkpoints_come_back,
    one_writer_at_a_time,
)
