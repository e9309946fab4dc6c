"""The repository keeps every event once, unchanged, with its ledger entry, and finds it again."""

from __future__ import annotations

import json

import pytest
from tests.unit.connect.epcis.examples import (
    ITEM,
    LOGGER,
    PALLET,
    commissioned,
    document,
    moved,
    packed,
    reported,
)

from galenic.clock import SECOND
from galenic.connect.epcis.keys import canonical
from galenic.connect.epcis.query import Query
from galenic.errors import DataError, UnknownName
from galenic.records import open_site
from galenic.stages.supply.repository import Repository
from galenic.twin.quality import letters

TAG = f"{canonical(LOGGER)}/Temperature"


class Clock:
    time = 1_800_000_000 * SECOND

    def now(self) -> int:
        self.time += SECOND
        return self.time

    async def sleep_until(self, ns: int) -> None:
        raise AssertionError("nobody waits")


@pytest.fixture
def store(tmp_path):
    store = open_site(tmp_path / "site", name="test")
    yield store
    store.close()


@pytest.fixture
def repository(store):
    return Repository(store, Clock())


def test_a_capture_is_one_transaction_with_its_ledger_entry(store, repository):
    data = document(commissioned(1, 2), packed(1, 2), reported())
    captured = repository.capture(data, "Ann")

    assert (len(captured.ids), captured.samples, captured.success) == (3, 1, True)
    entry = list(store.ledger_read(kinds=["epcis"]))[-1]
    assert (entry.who, entry.subject, entry.detail["events"]) == ("Ann", captured.id, 3)
    assert store.artefact(entry.detail["document"]).data == data
    assert store.latest([TAG])[TAG].value == 4.5
    assert store.verify().ok


def test_what_is_known_changes_nothing(repository):
    data = document(commissioned(1), packed(1))
    first = repository.capture(data, "Ann")
    again = repository.capture(data, "Bob")

    assert (len(first.ids), len(again.ids), again.duplicates) == (2, 0, 2)
    assert len(repository) == 2


@pytest.mark.parametrize("behaviour", ["rollback", "proceed"])
def test_one_wrong_event_refuses_all_or_itself_and_is_kept_as_it_came(store, repository, behaviour):
    data = document(commissioned(1), {**packed(1), "bizStep": "paking"})

    if behaviour == "rollback":
        with pytest.raises(DataError, match="paking"):
            repository.capture(data, "Ann")
    else:
        captured = repository.capture(data, "Ann", behaviour)
        assert not captured.success
        assert "paking" in captured.refused[0]

    assert len(repository) == (behaviour == "proceed")
    ((_, letter),) = letters(store)[0].items()
    assert json.loads(letter.raw)["bizStep"] == "paking"
    assert "packing" in letter.reason


def test_a_message_of_no_use_at_all_is_kept_byte_for_byte(store, repository):
    with pytest.raises(DataError):
        repository.capture(b"\x00poison", "Ann")

    ((_, letter),) = letters(store)[0].items()
    assert (letter.raw, letter.size) == (b"\x00poison", 7)
    assert list(store.ledger_read(kinds=["epcis"]))[-1].subject == "refused"


def test_an_id_is_never_given_to_another_event(repository):
    one = {**commissioned(1), "eventID": "urn:uuid:1"}
    repository.capture(document(one), "Ann")

    with pytest.raises(DataError, match="never changed"):
        repository.capture(document({**one, "disposition": "inactive"}), "Eve")

    assert repository.event("urn:uuid:1").event.disposition == "active"


@pytest.mark.parametrize("order", [["dr"], ["rd"], ["d", "r"], ["r", "d"]])
def test_a_declared_error_withdraws_its_samples_and_is_one_more_event(store, repository, order):
    repository.capture(document(reported()), "Ann")
    right = reported(value=5.5) | {"eventID": "urn:uuid:right"}
    error = {"declarationTime": "2026-03-02T00:00:00Z", "correctiveEventIDs": ["urn:uuid:right"]}
    declared = {**reported(), "errorDeclaration": error}
    for part in order:
        repository.capture(document(*[{"d": declared, "r": right}[p] for p in part]), "Ann")

    history = store.history(TAG, 0, 2**62).to_pylist()
    assert [row["value"] for row in history if row["value"] is not None] == [5.5]
    versions = store.history(TAG, 0, 2**62, versions="all").to_pylist()
    assert 4.5 in [row["value"] for row in versions]
    assert len(repository) == 3


def test_pages_show_what_was_there_at_the_first_one(repository):
    repository.capture(document(*(commissioned(n) for n in range(7))), "Ann")
    query = Query.of({"eventType": ["ObjectEvent"]})

    found, token = repository.page(query, 3)
    repository.capture(document(commissioned(99)), "Ann")
    while token:
        more, token = repository.page(query, 3, token)
        found += more

    assert [r.number for r in found] == list(range(7))
    backwards = Query.of({"orderBy": ["recordTime"]})
    first, token = repository.page(backwards, 5)
    rest, end = repository.page(backwards, 5, token)
    assert [r.number for r in (*first, *rest)] == list(range(7, -1, -1))
    assert end == ""
    few, end = repository.page(Query.of({"eventCountLimit": ["4"]}), 3)
    last, end = repository.page(Query.of({"eventCountLimit": ["4"]}), 3, end)
    assert (len(few), len(last), end) == (3, 1, "")
    with pytest.raises(DataError, match="token"):
        repository.page(query, 3, "9.9.9")


def test_another_process_finds_everything_again(tmp_path, store, repository):
    repository.capture(document(commissioned(1, 2), packed(1, 2)), "Ann")
    other = Repository(open_site(tmp_path / "site", readonly=True), Clock())

    assert other.state().things[canonical(ITEM.format(1))].parent == canonical(PALLET)
    repository.capture(document(moved("shipping", 4)), "Ann")
    asked = Query.of({"MATCH_epc": [PALLET]})
    assert [r.event.bizStep for r in other.select(asked)] == ["shipping"]
    with pytest.raises(UnknownName):
        other.event("urn:uuid:none")
    other.store.close()


def test_named_queries_are_kept_and_entered(store, repository):
    repository.keep_query("shipped", {"EQ_bizStep": ["shipping"]}, "Ann")

    with pytest.raises(DataError, match="already"):
        repository.keep_query("shipped", {}, "Ann")
    with pytest.raises(UnknownName):
        repository.keep_query("wrong", {"EQ_bizStp": ["x"]}, "Ann")
    assert list(repository.queries()) == ["shipped"]
    repository.forget_query("shipped", "Ann")
    with pytest.raises(UnknownName):
        repository.query("shipped")
    assert [e.subject for e in store.ledger_read(kinds=["epcis"])] == ["query shipped"] * 2
