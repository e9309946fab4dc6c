"""Looking for entries of the ledger: filters, pages, differences, export."""

from __future__ import annotations

import csv
import io
import json
from itertools import pairwise

import pytest

from galenic.app.api import entries
from galenic.app.api.entries import Query
from galenic.clock import SECOND, to_iso
from galenic.records import open_site
from galenic.signals import Record

T0 = 1_800_000_000 * SECOND


@pytest.fixture
def store(tmp_path):
    """Genesis, then 60 entries: every third a level change of one of two twins."""
    with open_site(tmp_path, name="test") as made:
        with made.transaction() as tx:
            for k in range(60):
                kind = "level" if k % 3 == 0 else "alert"
                subject, who = f"twin-{k % 2}", ("ann", "bob")[k % 2]
                detail = {"to": ("shadow", "twin")[k // 3 % 2], "tags": [f"T{k}"]}
                tx.ledger(Record(kind, T0 + k * SECOND, subject, detail, who, f"reason {k}"))
        yield made


def indices(found) -> list[int]:
    return [entry.index for entry in found]


def test_pages_follow_each_other_without_gap_or_overlap(store, monkeypatch):
    monkeypatch.setattr(entries, "STEP", 7)
    seen, below = [], None
    while True:
        page = entries.page(store, Query(kind="level"), below, 4)
        seen += indices(page.entries)
        below = page.below
        if below is None:
            break

    wanted = [entry.index for entry in store.ledger_read(kinds=("level",))]
    assert seen == wanted[::-1]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        (Query(kind="level", subject="twin-0"), range(0, 60, 6)),
        (Query(who="bob"), range(1, 60, 2)),
        (Query(words="reason t17"), [17]),
        (Query(since=T0 + 57 * SECOND, until=T0 + 58 * SECOND), [57, 58]),
        (Query(kind="evolve"), []),
    ],
)
def test_each_filter_selects_what_it_says(store, query, numbers):
    found = [entry.reason for entry in entries.page(store, query, None, 100).entries]

    assert found == [f"reason {k}" for k in reversed(numbers)]


def test_a_long_search_stops_and_says_where_it_goes_on(store, monkeypatch):
    monkeypatch.setattr(entries, "STEP", 5)
    monkeypatch.setattr(entries, "FARTHEST", 10)
    first = entries.page(store, Query(words="t3"), None, 100)

    again = entries.page(store, Query(words="t3"), first.below, 100)

    assert first.below is not None
    assert again.below == first.below - 10


def test_what_changed_since_the_one_before_of_its_kind_and_subject(store):
    newest = entries.page(store, Query(kind="level", subject="twin-0")).entries[0]
    earlier = entries.before(store, newest)

    apart = {path: (a, b) for path, a, b in entries.differences(earlier, newest)}

    assert earlier.index == newest.index - 6
    assert apart["tags[0]"] == ("T48", "T54")
    assert set(apart) == {"reason", "tags[0]"}  # both go to the same level, by the same person


def test_the_first_of_its_kind_has_nothing_before_it(store):
    first = entries.page(store, Query(kind="level", subject="twin-0"), None, 100).entries[-1]

    assert entries.before(store, first) is None


def test_what_is_only_in_one_entry_is_a_difference_too():
    assert entries.flat({"a": {}, "b": [1, {"c": None}]}) == {"a": {}, "b[0]": 1, "b[1].c": None}


def test_json_lines_are_the_entries_in_full_and_chain(store):
    rows = [json.loads(line) for line in entries.written(store, Query(), "jsonl")]

    assert [row["index"] for row in rows] == list(range(store.head().index + 1))
    for one, two in pairwise(rows):
        assert two["previous"] == one["hash"]


def test_csv_has_one_row_per_entry_with_its_time_in_utc(store):
    text = "".join(entries.written(store, Query(kind="level", who="ann"), "csv"))
    rows = list(csv.DictReader(io.StringIO(text)))

    assert [row["reason"] for row in rows] == [f"reason {k}" for k in range(0, 60, 6)]
    assert rows[0]["time UTC"] == to_iso(T0)
    assert json.loads(rows[1]["detail"]) == {"to": "shadow", "tags": ["T6"]}
