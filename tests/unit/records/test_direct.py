"""Samples read straight from row groups, against the same question put to DuckDB."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from galenic.errors import StorageError
from galenic.records import historian, open_site
from galenic.records.query import PLAIN, raw
from galenic.signals import Correction, Quality, Sample

VALUES = [1.5, -0.0, float("nan"), True, None, "text"]


def sample(tag, time, received=0):
    quality = (Quality.GOOD, Quality.UNCERTAIN, Quality.BAD)[time % 3]
    key = f"key{time}" if time % 4 == 0 else ""
    value = VALUES[(time * 7 + received) % len(VALUES)]
    return Sample(tag, value, "kg", time, time + received, quality, time % 5, key)


@pytest.fixture(params=[1, 2, 3])
def grown(tmp_path, monkeypatch, request):
    """Rows in two segments of small row groups, packs and single rows; some of them late."""
    monkeypatch.setattr(historian, "ROW_GROUP", 7)
    numbers = random.Random(request.param)
    times = {tag: numbers.sample(range(-50, 150), 120) for tag in ("a", "ab", "b", "é")}
    rest = [sample(tag, time) for tag, held in times.items() for time in held]
    numbers.shuffle(rest)
    with open_site(tmp_path) as store:
        for number, until in enumerate((60, 90, None)):
            part, rest = rest[:160], rest[160:]
            with store.transaction() as tx:
                tx.take(part, 1) if number else tx.samples(part)
            if until is not None:
                store.seal(until, 1)
        assert len(store.segments()) == 2
        with store._reading() as connection:
            assert historian.hot_packs(connection, -100, 200)
        yield store


def asked(store, tags, start, stop):
    """The answer without versions, and the answer that looks at them."""
    plain = store._history._ask(tags, start, stop, PLAIN).drop_columns("sequence")
    return plain, store._history._ask(tags, start, stop, raw(None, "latest"))


def test_it_is_what_duckdb_answers(grown):
    for tags in (["a"], ["é", "a", "a"], ["ab", "nothing", "b"], ["nothing"]):
        for span in ((-100, 200), (-50, 0), (17, 18), (58, 95), (40, 40)):
            found = grown._history._plain(tags, *span)

            for expected in asked(grown, tags, *span):
                assert found.schema == expected.schema
                assert repr(found.to_pydict()) == repr(expected.to_pydict())
            assert grown.history(tags, *span, limit=5).num_rows == min(5, found.num_rows)


def test_where_one_sample_has_versions_duckdb_answers(grown):
    time = grown.history("a", -100, 200).column("time")[3].as_py()
    for change in (
        lambda tx: tx.samples([sample("a", time, received=1)]),
        lambda tx: tx.correct(Correction("k", 2.5, "kg", 5, "Ann", "slip"), "a", time),
    ):
        before = grown.history("b", -100, 200)
        with grown.transaction() as tx:
            change(tx)
        assert grown._history._plain(["a"], -100, 200) is None
        assert grown._history._plain(["a"], time + 1, 200) is not None
        _, expected = asked(grown, ["a"], -100, 200)
        assert repr(grown.history("a", -100, 200).to_pylist()) == repr(expected.to_pylist())
        assert repr(grown.history("b", -100, 200).to_pylist()) == repr(before.to_pylist())


def test_only_the_row_groups_with_the_tag_are_read(grown):
    segment = grown.segments()[0]
    path = grown.folder / historian.FOLDER / segment.name
    groups = grown._history._direct._groups(segment.name, path)
    held = groups.holding("b", -100, 200)
    assert 0 < len(held) < groups.footer.num_row_groups / 2
    assert groups.holding("b", 1000, 2000) == groups.holding("0", -100, 200) == []


def test_damage_inside_of_a_row_group_is_an_error(grown):
    path = grown.folder / historian.FOLDER / grown.segments()[0].name
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size // 2))
    with pytest.raises(StorageError, match="history cannot be read"):
        grown.history("a", -100, 200)
    assert isinstance(grown.history("a", 1000, 2000), pa.Table)
