"""One changed byte anywhere in the records is found, and its place is named."""

from __future__ import annotations

import shutil
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galenic.records import open_site
from galenic.signals import Record, Sample

SECOND = 10**9


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A site with some of everything."""
    path = tmp_path_factory.mktemp("site")
    with open_site(path, site="site-1") as store:
        for batch in range(6):
            samples = [
                Sample("T", i / 7, "°C", i * SECOND, i) for i in range(batch * 5, batch * 5 + 5)
            ]
            with store.transaction() as tx:
                tx.journal(samples, batch)
                tx.samples(samples)
                tx.ledger(Record("level", batch, "line", {"batch": batch}, "ann", "ü test"))
            store.seal(batch * 4 * SECOND, batch)
        assert store.verify().ok
    return path


def flip(data: bytes, position: int, bit: int) -> bytes:
    position %= len(data)
    return data[:position] + bytes([data[position] ^ (1 << bit)]) + data[position + 1 :]


def changed_copy(folder, target, table, key, row, column, position, bit):
    shutil.copytree(folder, target, dirs_exist_ok=True)
    connection = sqlite3.connect(target / "site.sqlite")
    keys = [found[0] for found in connection.execute(f"SELECT {key} FROM {table} ORDER BY {key}")]
    chosen = keys[row % len(keys)]
    old, kind = connection.execute(
        f"SELECT CAST({column} AS BLOB), typeof({column}) FROM {table} WHERE {key} = ?", (chosen,)
    ).fetchone()
    new = flip(old, position, bit)
    as_text = f"CAST(? AS {'TEXT' if kind == 'text' else 'BLOB'})"
    connection.execute(f"UPDATE {table} SET {column} = {as_text} WHERE {key} = ?", (new, chosen))
    connection.commit()
    connection.close()
    return chosen


where = st.integers(0, 10_000)
bits = st.integers(0, 7)
quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@quick
@given(
    row=where,
    column=st.sampled_from(["time", "kind", "subject", "body", "hash"]),
    position=where,
    bit=bits,
)
def test_one_changed_byte_of_a_ledger_entry_is_named(folder, tmp_path, row, column, position, bit):
    number = changed_copy(folder, tmp_path, "ledger", "number", row, column, position, bit)

    with open_site(tmp_path, readonly=True) as store:
        bad = store.verify().first_bad

    assert ("ledger", number) == (bad.part, bad.index)
    assert bad.place.startswith(f"entry {number}")


@quick
@given(
    row=where,
    column=st.sampled_from(["received", "kind", "body", "hash"]),
    position=where,
    bit=bits,
)
def test_one_changed_byte_of_a_journal_row_is_named(folder, tmp_path, row, column, position, bit):
    offset = changed_copy(folder, tmp_path, "journal", '"offset"', row, column, position, bit)

    with open_site(tmp_path, readonly=True) as store:
        bad = store.verify().first_bad

    assert ("journal", f"row {offset}") == (bad.part, bad.place)


@quick
@given(which=where, position=st.integers(0, 10**6), bit=bits)
def test_one_changed_byte_of_a_segment_is_named(folder, tmp_path, which, position, bit):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    paths = sorted((tmp_path / "segments").iterdir())
    path = paths[which % len(paths)]
    path.write_bytes(flip(path.read_bytes(), position, bit))

    with open_site(tmp_path, readonly=True) as store:
        bad = store.verify().first_bad

    assert ("segment", f"segments/{path.name}") == (bad.part, bad.place)
    assert bad.index is not None


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(page=where, position=where, bit=bits)
def test_one_changed_byte_of_the_file_never_crashes_verify(folder, tmp_path, page, position, bit):
    """Raw damage is reported or refused with a StorageError; it never shows as a traceback."""
    from galenic.errors import StorageError

    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "site.sqlite"
    path.write_bytes(flip(path.read_bytes(), page * 4096 + position, bit))

    try:
        with open_site(tmp_path, readonly=True) as store:
            store.verify()
    except StorageError as error:
        assert error.found


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.floats(allow_nan=False, width=32), st.booleans()),
        min_size=1,
        max_size=60,
    ),
    st.randoms(),
)
def test_history_is_the_same_however_it_was_sealed(tmp_path_factory, rows, random):
    """Sealing at any moments, in any order of arrival, changes nothing that is read."""
    folder = tmp_path_factory.mktemp("site")
    with open_site(folder) as store:
        for t, value, seal in rows:
            with store.transaction() as tx:
                tx.samples([Sample("a", value, "K", t, t)])
            if seal:
                store.seal(random.randint(0, 51), 1)
        everything = store.history("a", 0, 100, versions="all")
        latest = store.history("a", 0, 100)

    newest = {t: value for t, value, _ in rows}
    assert sorted((t, value) for t, value, _ in rows) == sorted(
        zip(everything["time"].to_pylist(), everything["value"].to_pylist(), strict=True)
    )
    assert newest == dict(zip(latest["time"].to_pylist(), latest["value"].to_pylist(), strict=True))
