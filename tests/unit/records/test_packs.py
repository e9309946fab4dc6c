"""Packs: many samples in one row of the journal, and everything that reads them."""

from __future__ import annotations

import json
import math
import random
import sqlite3
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galenic import packs
from galenic.connect.files.recorded import Recorded
from galenic.errors import StorageError
from galenic.records import historian, open_site
from galenic.records.bundle import write_bundle
from galenic.records.export import export
from galenic.records.moving import move_site
from galenic.signals import Sample, Tick

SECOND = 10**9
FOREVER = 2**62

VALUES = st.one_of(
    st.floats(), st.booleans(), st.none(), st.text(max_size=5), st.integers(-(2**53), 2**53)
)
TIMES = st.integers(-(2**63), 2**63 - 1)
SAMPLES = st.lists(
    st.builds(
        Sample, st.text(max_size=3), VALUES, st.sampled_from(["", "kg", "°C"]), TIMES, TIMES,
        st.integers(0, 2), st.integers(0, 2**32 - 1), st.text(max_size=3), st.booleans(),
    ),
    min_size=1, max_size=40,
)  # fmt: skip


def batch(first, count=20, tags=4):
    return [
        Sample(f"T{i % tags}", i * 0.5, "kg", i * SECOND, i * SECOND + 7)
        for i in range(first, first + count)
    ]


@given(SAMPLES)
def test_what_is_unpacked_is_what_was_packed(samples):
    packed = packs.pack(samples)
    if packed is None:  # only text that is no Unicode cannot be packed
        with pytest.raises(UnicodeEncodeError):
            "".join(f"{s.tag}{s.value}{s.source_key}" for s in samples).encode()
        return
    line, columns = packed

    assert repr(samples) == repr(packs.unpack(line).samples())
    assert len(samples) == packs.count_of(line) == len(columns)
    assert packs.damaged_rows(line) is None
    assert (
        line
        == json.dumps(
            json.loads(line), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode()
    )


@pytest.mark.parametrize("odd", [2**60, 2**70, "\udc80", [1]], ids=repr)
def test_what_no_column_holds_is_journalled_one_by_one(site, odd):
    samples = [*batch(0), Sample("odd", 1.0, "kg", 1, 1)]
    if isinstance(odd, int):
        samples[-1] = Sample("odd", odd, "kg", 1, 1)
    assert packs.pack([*samples, Sample("a", odd, "kg", 1, 1)]) is None

    with site.transaction() as tx:
        tx.take(samples, 9)

    assert samples == [event for _, event in site.journal_read()]
    assert site.verify().ok


@pytest.fixture
def packed(site):
    """40 packs of 20 samples, with other rows between them."""
    for n in range(40):
        with site.transaction() as tx:
            offsets = tx.take(batch(20 * n), n * 20 * SECOND)
            tx.applied("line", reversed(offsets), n * 20 * SECOND)
            tx.journal([Tick(n)], n * 20 * SECOND)
    return site


def everything(store):
    return (
        [(at, repr(signal)) for at, signal in store.journal_read()],
        [(at, repr(signal)) for at, signal in store.journal_read(30, 400, ["sample"])],
        [(at, repr(signal)) for at, signal in store.applied_read("line", 100)],
        list(store.journal_rows()),
        store.latest(),
        store.history(["T0", "T2"], 0, FOREVER).to_pylist(),
        store.history("T1", 5 * SECOND, 500 * SECOND, every=60 * SECOND).to_pylist(),
    )


def test_readers_see_the_same_wherever_packs_are(packed):
    before = everything(packed)
    with open_site(packed.folder, readonly=True) as reader:
        assert everything(reader) == before
    seen = []
    for until in (300 * SECOND, FOREVER):
        packed.seal(until, 1)
        packed.seal_journal(FOREVER, 1, 400)
        seen.append(everything(packed))

    assert seen == [before, before]
    assert len(packed.volumes()) == 2 == len(packed.segments())
    report = packed.verify()
    assert (report.ok, report.rows) == (True, 880)


def test_a_volume_with_packs_is_read_as_a_record(packed, tmp_path):
    packed.seal_journal(FOREVER, 1, 500)
    (volume,) = packed.volumes()

    samples = list(Recorded(packed.folder / "journal" / volume.name))
    assert samples == [
        event for _, event in packed.journal_read(1, volume.last + 1) if isinstance(event, Sample)
    ]
    manifest = export(packed, tmp_path / "copy")
    assert manifest["files"][1]["rows"] == 880
    assert list(Recorded(tmp_path / "copy" / "journal.jsonl")) == [
        event for _, event in packed.journal_read() if isinstance(event, Sample)
    ]


def test_every_row_of_a_pack_that_was_changed_is_named(packed):
    (offset, body) = next((row[0], row[3]) for row in packed.journal_rows(300) if row[2] == "pack")
    facts = json.loads(body)
    packed.close()
    for row in (0, 7, 19):
        columns = packs.unpack(body)
        values = columns.value.copy()
        values[row] += 1e-9
        facts["data"]["value"] = packs._base64(values)
        change(packed, offset, json.dumps(facts, sort_keys=True, separators=(",", ":")).encode())

        with open_site(packed.folder, readonly=True) as store:
            (problem,) = store.verify().problems
        assert problem.place == f"row {offset - 19 + row}"


def test_every_changed_byte_of_a_pack_is_located_to_it(packed):
    offset, body = next((row[0], row[3]) for row in packed.journal_rows(300) if row[2] == "pack")
    inside = {f"row {at}" for at in range(offset - 19, offset + 1)}
    packed.close()
    for position in range(0, len(body), 23):
        changed = bytearray(body)
        changed[position] ^= 1
        change(packed, offset, bytes(changed))

        with open_site(packed.folder, readonly=True) as store:
            bad = store.verify().first_bad
        first = bad.place.removeprefix("rows ").removeprefix("row ").split(" to ")[0].split(",")[0]
        assert bad.part == "journal"
        # a pack that no longer says how long it is counts as one row: those before it are missing
        assert f"row {first}" in inside, (position, bad)


def change(site, offset, body):
    with sqlite3.connect(site.path) as connection:
        connection.execute('UPDATE journal SET body = ? WHERE "offset" = ?', (body, offset))
    connection.close()


def test_a_damaged_pack_is_not_read_as_history(packed):
    change(packed, 20, b'{"count":20,"data":{}}')

    with pytest.raises(StorageError, match="pack at journal row 20 is damaged"):
        packed.history("T0", 0, FOREVER)
    with pytest.raises(StorageError, match="row 20 was changed"):
        packed.seal_journal(FOREVER, 1, 500)


def test_the_single_file_verifier_checks_packs(packed, tmp_path):
    write_bundle(packed, tmp_path / "bundle")
    run = [sys.executable, str(tmp_path / "bundle" / "galenic_verify.py"), str(tmp_path / "bundle")]
    first = subprocess.run(run, capture_output=True, text=True)
    path = tmp_path / "bundle" / "journal.jsonl"
    text = path.read_text()
    at = text.index('\\"value\\":\\"', len(text) // 2) + 30
    path.write_text(text[:at] + ("B" if text[at] == "A" else "A") + text[at + 1 :])
    second = subprocess.run(run, capture_output=True, text=True)

    assert first.returncode == 0 and "880 rows" in first.stdout, first.stdout
    assert second.returncode == 1 and "do not give its hash" in second.stdout


def test_a_site_with_packs_moves_to_postgres_and_back(tmp_path, packed, postgres):
    packed.seal(300 * SECOND, 1)
    before = everything(packed)
    packed.close()
    for place in (postgres, "embedded"):
        move_site(packed.folder, place)
        with open_site(packed.folder, readonly=True) as store:
            assert everything(store) == before
            assert store.verify().ok


def test_a_nan_and_the_sign_of_a_zero_are_filed_as_the_tables_file_them(site):
    values = [math.nan, -0.0, math.inf, *map(float, range(20))]
    samples = [Sample("T", value, "K", i, i) for i, value in enumerate(values)]
    with site.transaction() as tx:
        tx.take(samples, 1)
        tx.samples([Sample("U", *list(vars(one).values())[1:]) for one in samples])

    one, other = (site.history(tag, 0, FOREVER).drop_columns("tag") for tag in "TU")
    assert repr(one.to_pylist()) == repr(other.to_pylist())


def test_the_newest_of_each_tag_is_found_among_packs():
    """Beside a plain loop; times repeat, and tags come in other orders in each pack."""
    rng = random.Random(4)
    for count in range(1, 6):
        parts = [
            [
                Sample(f"T{rng.randrange(9)}", float(i), "kg", rng.randrange(6), 1)
                for i in range(100 * number, 100 * number + rng.randrange(1, 40))
            ]
            for number in range(count)
        ]
        expected: dict[str, Sample] = {}
        for one in (sample for part in parts for sample in part):
            known = expected.get(one.tag)
            if known is None or one.source_time >= known.source_time:
                expected[one.tag] = one

        found = historian.newest_samples(packs.Columns.of(part) for part in parts)

        assert {one.tag: one for one in found} == expected
        assert len(found) == len(expected)
    assert historian.newest_samples([]) == []
