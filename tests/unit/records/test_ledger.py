"""What verify finds, and how it says it."""

from __future__ import annotations

import hashlib

import pytest

from galenic.identity import canonical_json, content_hash
from galenic.records import Head
from galenic.records.journal import ANCHOR_EVERY, START, row_hash
from galenic.records.ledger import chain, pending_intentions
from galenic.signals import Record, Sample

SECOND = 10**9


@pytest.fixture
def filled(site):
    for batch in range(5):
        samples = [
            Sample("T", float(i), "K", i * SECOND, i) for i in range(batch * 500, batch * 500 + 500)
        ]
        with site.transaction() as tx:
            tx.journal(samples, batch)
            tx.samples(samples)
            tx.ledger(Record("level", batch, "line", {"batch": batch}, "ann", "test"))
    site.seal(1000 * SECOND, 1)
    with site.transaction() as tx:
        tx.artefact(b"report", "text/plain", {"by": "ann"}, 2)
    return site


def change(store, statement, *values):
    with store.transaction() as tx:
        tx._do(statement, values)


def first_bad(store, head=None):
    report = store.verify(head)
    assert not report.ok
    return report.first_bad


def test_an_untouched_store_verifies_and_says_what_it_could_not_see(filled):
    report = filled.verify()

    assert report.ok and report.first_bad is None
    assert (10, 2500, 1, 1) == (report.entries, report.rows, report.segments, report.artefacts)
    assert filled.head() == report.head
    assert "no head from outside" in report.text
    assert "compared with the outside head at entry 9" in filled.verify(filled.head()).text


def test_the_journal_is_anchored_in_the_ledger(filled):
    anchors = [entry.detail["offset"] for entry in filled.ledger_read(kinds=["journal"])]

    assert [ANCHOR_EVERY, 2 * ANCHOR_EVERY] == anchors


def test_a_changed_entry_is_named_with_its_time(filled):
    change(
        filled,
        "UPDATE ledger SET body = replace(CAST(body AS TEXT), 'ann', 'bob') WHERE number = 4",
    )

    bad = first_bad(filled)
    assert ("ledger", 4) == (bad.part, bad.index)
    assert "entry 4 of 1970-01-01T00:00:00.000000Z: its contents do not give its hash" in str(bad)


def test_a_changed_entry_with_a_new_hash_is_named(filled):
    entry = next(filled.ledger_read(4, 5))
    facts = {key: value for key, value in entry.to_dict().items() if key != "hash"}
    body = canonical_json(facts | {"who": "bob"})
    change(
        filled,
        "UPDATE ledger SET body = ?, hash = ? WHERE number = 4",
        body,
        hashlib.sha256(body).digest(),
    )

    bad = first_bad(filled)
    assert 4 == bad.index
    assert "not the one that entry 5 was chained to" in bad.reason


def test_a_missing_entry_is_named(filled):
    change(filled, "DELETE FROM ledger WHERE number = 3")

    assert (3, "missing: entry 4 follows") == (first_bad(filled).index, first_bad(filled).reason)


def test_reordered_entries_are_named(filled):
    change(filled, "UPDATE ledger SET number = 100 WHERE number = 3")
    change(filled, "UPDATE ledger SET number = 3 WHERE number = 4")
    change(filled, "UPDATE ledger SET number = 4 WHERE number = 100")

    bad = first_bad(filled)
    assert 3 == bad.index
    assert "its listed index 3 is not the recorded 4" in bad.reason


def test_a_missing_genesis_is_named(filled):
    change(filled, "DELETE FROM ledger")

    assert "the genesis entry is missing" == first_bad(filled).reason


def test_a_cut_off_end_needs_a_head_from_outside(filled):
    head = filled.head()
    change(filled, "DELETE FROM ledger WHERE number >= 9")
    change(filled, "DELETE FROM artefacts")
    change(filled, 'DELETE FROM journal WHERE "offset" > 2400')

    assert filled.verify().ok
    problems = filled.verify(head).problems
    assert "entry 9: the end is cut off" in str(problems[0])
    assert "rows 2401 to 2500: missing" in str(problems[1])


def test_a_rewritten_ledger_needs_a_head_from_outside(filled):
    head = filled.head()
    old = list(filled.ledger_read())
    records = [
        Record(e.kind, e.time, e.subject, e.detail, "bob" if e.index == 4 else e.who, e.reason)
        for e in old
    ]
    for entry in chain(records):
        facts = {key: value for key, value in entry.to_dict().items() if key != "hash"}
        change(
            filled,
            "UPDATE ledger SET body = ?, hash = ? WHERE number = ?",
            canonical_json(facts),
            bytes.fromhex(entry.hash),
            entry.index,
        )

    assert filled.verify().ok
    bad = first_bad(filled, head)
    assert ("head", 9) == (bad.part, bad.index)


@pytest.mark.parametrize(
    "column",
    [
        "received = received + 1",
        "kind = 'tick'",
        "body = x'7b7d'",
        "hash = zeroblob(32)",
    ],
)
def test_a_changed_journal_row_is_named(filled, column):
    change(filled, f'UPDATE journal SET {column} WHERE "offset" = 1234')

    assert ("journal", "row 1234") == (first_bad(filled).part, first_bad(filled).place)


def test_missing_journal_rows_are_named(filled):
    change(filled, 'DELETE FROM journal WHERE "offset" BETWEEN 7 AND 9')

    assert ("rows 7 to 9", "missing") == (first_bad(filled).place, first_bad(filled).reason)


def test_a_rewritten_journal_is_located_between_two_anchors(filled):
    previous = START
    rows = list(filled.journal_rows())
    with filled.transaction() as tx:
        for offset, received, kind, body, _ in rows:
            body = body.replace(b"1500.0", b"1501.0")
            previous = row_hash(previous, offset, received, kind, body)
            tx._do(
                'UPDATE journal SET body = ?, hash = ? WHERE "offset" = ?', (body, previous, offset)
            )

    bad = first_bad(filled)
    assert ("rows 1001 to 2000", "journal") == (bad.place, bad.part)
    assert f"ledger entry {bad.index} has another hash" in bad.reason


def test_segments_are_held_to_their_entry(filled):
    (segment,) = filled.segments()
    path = filled.folder / "segments" / segment.name
    data = path.read_bytes()

    path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    bad = first_bad(filled)
    assert ("segment", f"segments/{segment.name}") == (bad.part, bad.place)
    assert "do not give its hash" in bad.reason
    assert "seal" == next(filled.ledger_read(bad.index)).kind
    path.unlink()
    assert "the file is missing" == first_bad(filled).reason
    path.write_bytes(data)
    assert filled.verify().ok
    change(filled, "UPDATE segments SET rows = rows - 1")
    assert "registration differs" in first_bad(filled).reason
    change(filled, "UPDATE segments SET rows = rows + 1")
    change(
        filled,
        "INSERT INTO segments SELECT 'other', start, stop, rows, last, size, hash FROM segments",
    )
    assert "registered without a ledger entry" == first_bad(filled).reason


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE artefacts SET data = x'00'", "its bytes do not give its hash"),
        ("UPDATE artefacts SET media_type = 'text/html'", "its origin is not as recorded"),
        ("DELETE FROM artefacts", "missing"),
        ("UPDATE artefacts SET hash = 'x'", "kept without a ledger entry"),
    ],
)
def test_artefacts_are_held_to_their_entry(filled, statement, reason):
    change(filled, statement)

    assert ("artefact", reason) == (first_bad(filled).part, first_bad(filled).reason)


def test_a_damaged_file_is_reported_not_raised(filled):
    filled.close()
    path = filled.path
    data = bytearray(path.read_bytes())
    data[4096 * 2 : 4096 * 12] = bytes(4096 * 10)
    path.write_bytes(data)

    from galenic.records import open_site

    with open_site(filled.folder, readonly=True) as damaged:
        assert not damaged.verify().ok


def test_intentions_without_an_outcome_are_pending():
    records = [
        Record("intended", 1, "A", {"key": "w1"}),
        Record("intended", 2, "B", {"key": "w2"}),
        Record("intended", 3, "C", {"key": "w3"}),
        Record("intended", 4, "D"),
        Record("done", 5, "A", {"key": "w1"}),
        Record("unknown", 6, "C", {"key": "w3"}),
        Record("level", 7, "B", {"key": "w2"}),
    ]

    assert [2, 4] == [entry.time for entry in pending_intentions(chain(records))]


def test_chaining_the_same_records_reaches_the_same_head(filled):
    entries = list(filled.ledger_read())
    records = [Record(e.kind, e.time, e.subject, e.detail, e.who, e.reason) for e in entries]

    assert entries == list(chain(records))
    assert filled.head().hash == list(chain(records))[-1].hash
    assert (
        content_hash({k: v for k, v in entries[5].to_dict().items() if k != "hash"})
        == entries[5].hash
    )


def test_a_head_travels_as_one_line(filled):
    head = filled.head()

    assert head == Head.from_text(head.text + "\n")
    assert Head(3, "ab") == Head.from_text("3:ab")
