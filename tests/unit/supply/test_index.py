"""The index answers as the events themselves would, and is made anew where it does not fit."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.connect.epcis.examples import (
    ALL_KINDS,
    DEPOT,
    ITEM,
    PALLET,
    PLANT,
    at,
    commissioned,
    document,
    moved,
    packed,
)
from tests.unit.supply.test_repository import Clock

from galenic.connect.epcis.event import event_of
from galenic.connect.epcis.goods import Goods
from galenic.connect.epcis.keys import canonical
from galenic.connect.epcis.query import Query
from galenic.connect.epcis.state import lot_and_expiry
from galenic.records import open_site
from galenic.stages.supply.index import FILE
from galenic.stages.supply.repository import Repository

THINGS = [ITEM.format(1), ITEM.format(2), PALLET, "urn:epc:id:sscc:4012345.0000000444"]
LOT = "urn:epc:class:lgtin:4012345.011111.{}"


@pytest.fixture
def site(tmp_path):
    return tmp_path / "site"


@pytest.fixture
def store(site):
    store = open_site(site, name="test")
    yield store
    store.close()


@pytest.fixture
def repository(store):
    return Repository(store, Clock())


def joined(minute: int, kind: str, action: str, parent: str, children: list[str]) -> dict:
    return {"type": kind, **at(minute), "action": action, "parentID": parent,
            **({"childEPCs": children} if children else {})}  # fmt: skip


@st.composite
def happenings(draw) -> dict:
    minute, kind = draw(st.integers(0, 59)), draw(st.sampled_from(["object", "join"]))
    if kind == "object":
        step, action = draw(
            st.sampled_from(
                [("commissioning", "ADD"), ("shipping", "OBSERVE"), ("receiving", "OBSERVE"),
                 ("decommissioning", "DELETE")]
            )
        )  # fmt: skip
        place = draw(st.sampled_from([PLANT, DEPOT]))
        return moved(step, minute, place, draw(st.sampled_from(THINGS))) | {"action": action}
    parent = draw(st.sampled_from(THINGS))
    children = draw(st.lists(st.sampled_from(THINGS), max_size=2, unique=True))
    action = draw(st.sampled_from(["ADD", "ADD", "ADD", "DELETE", "OBSERVE"]))
    if not children and action != "DELETE":
        children = [next(one for one in THINGS if one != parent)]
    kind = draw(st.sampled_from(["AggregationEvent"] * 3 + ["AssociationEvent"]))
    return joined(minute, kind, action, parent, children)


@given(st.lists(happenings(), min_size=8, max_size=20), st.integers(0, 3), st.integers(0, 30))
@settings(max_examples=80, deadline=None)
def test_the_story_of_a_thing_is_that_of_all_goods(events, parts, wrong):
    """Cut anywhere into captures, in any order of time, one of them declared wrong."""
    if wrong < len(events):
        error = {"errorDeclaration": {"declarationTime": "2026-03-02T00:00:00Z"}}
        events = [*events, events[wrong] | error]
    whole = Goods(map(event_of, events)).state
    with tempfile.TemporaryDirectory() as folder:
        store = open_site(Path(folder) / "site", name="test")
        repository = Repository(store, Clock())
        for n in range(parts + 1):
            repository.capture(document(*events[n :: parts + 1]), "Ann")
            repository.state()
        stories = {canonical(t): repository.story(t).state for t in THINGS}
        carried = repository.state()
        store.close()

    assert carried.things == whole.things
    assert carried.findings == whole.findings
    for name, story in stories.items():
        assert story.things.get(name) == whole.things.get(name)
        assert story.location(name) == whole.location(name)
        told = [f for f in whole.findings if f.epc == name]
        assert [f for f in story.findings if f.epc == name] == told


def made(minute: int, inputs: list[str], outputs: list[str], run: str = "") -> dict:
    return {
        "type": "TransformationEvent", **at(minute),
        "inputQuantityList": [{"epcClass": LOT.format(i), "quantity": 5.0} for i in inputs],
        "outputQuantityList": [{"epcClass": LOT.format(o), "quantity": 2.0} for o in outputs],
        **({"transformationID": f"urn:uuid:{run}"} if run else {}),
    }  # fmt: skip


def test_lineage_is_that_of_all_goods_also_through_runs_told_in_parts(repository):
    events = [
        made(1, ["api", "filler"], [], "blend"), made(2, [], ["mix"], "blend"),
        made(3, ["mix"], ["cores"]), made(4, ["cores", "coat"], ["tablets"]),
        made(5, ["other"], ["else"]),
    ]  # fmt: skip
    repository.capture(document(*events), "Ann")
    whole = repository.state()

    for lot in ("api", "mix", "cores", "coat", "tablets", "other"):
        story = repository.lineage(LOT.format(lot))
        for trace in ("origins", "uses"):
            assert getattr(story, trace)(LOT.format(lot)) == getattr(whole, trace)(LOT.format(lot))
    assert len(repository.lineage(LOT.format("tablets")).origins(LOT.format("tablets"))) == 3


@pytest.mark.parametrize(
    "given",
    [
        {"MATCH_anyEPC": [PALLET]}, {"MATCH_anyEPC": [f"{PALLET}|{ITEM.format(1)}"]},
        {"MATCH_epc": ["https://id.gs1.org/01/04012345111224"]},
        {"MATCH_anyEPC": ["urn:epc:idpat:sgtin:4012345.011122.*"]},
        {"MATCH_anyEPCClass": ["https://id.gs1.org/01/04012345987652"]},
        {"MATCH_epcClass": ["urn:epc:class:lgtin:4012345.012345.998877"]},
        {"MATCH_inputEPC": [ITEM.format(25)]}, {"MATCH_parentID": [PALLET]},
        {"EQ_bizStep": ["https://ref.gs1.org/cbv/BizStep-shipping|packing"]},
        {"EQ_disposition": ["urn:epcglobal:cbv:disp:active"]},
        {"EQ_bizLocation": ["https://id.gs1.org/414/4012345000023"]},
        {"EQ_readPoint": [PLANT]}, {"eventType": ["AggregationEvent|ObjectEvent"]},
        {"GE_eventTime": ["2026-03-01T08:01:00Z"], "LT_eventTime": ["2026-03-01T08:04:00Z"]},
        {"EQ_bizStep": ["shipping"], "GE_eventTime": ["2026-03-01T08:03:00Z"]},
        {"GE_recordTime": ["2027-01-15T08:00:03Z"]}, {"LT_eventTime": ["2015-01-01T00:00:00Z"]},
    ],
)  # fmt: skip
def test_a_query_finds_what_a_look_at_every_event_finds(repository, given):
    for events in (
        [commissioned(1, 2, 3), packed(1, 2)], ALL_KINDS,
        [moved("shipping", 2), moved("receiving", 3, DEPOT), moved("shipping", 4)],
    ):  # fmt: skip
        repository.capture(document(*events), "Ann")
    query = Query.of(given)
    every = [repository.read(n) for n in range(len(repository))]

    found = repository.select(query)

    assert found == [r for r in every if query.matches(r)]
    assert found


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("2", [ITEM.format(2), ITEM.format(25)]),
        ("04012345111224", [ITEM.format(1), ITEM.format(2), ITEM.format(25)]),
        ("4012345111224", [ITEM.format(1), ITEM.format(2), ITEM.format(25)]),
        (ITEM.format(25), [ITEM.format(25)]),
        (" https://example.com/01/04012345111224/21/25?17=290101 ", [ITEM.format(25)]),
        ("340123450000003", [PALLET]), ("nobody", []), ("%", []), ("' OR 1=1", []),
    ],
)  # fmt: skip
def test_things_are_found_by_the_beginning_of_what_is_printed_on_them(repository, text, names):
    repository.capture(document(commissioned(1, 2, 25), moved("shipping", 4)), "Ann")
    if text.startswith("3"):
        text = canonical(PALLET).rpartition("/")[2][:12]

    found = [name for name, _ in repository.find(text, 10)]

    wanted = {canonical(name) for name in names}
    assert set(found) - {"https://id.gs1.org/01/04012345111224"} == wanted


def test_an_index_that_is_damaged_lost_or_of_other_records_is_made_anew(site, store, repository):
    repository.capture(document(commissioned(1), packed(1)), "Ann")
    for data in (b"no database at all" * 100, b"", None):
        for file in site.glob(f"{FILE}*"):
            file.unlink()
        if data is not None:
            (site / FILE).write_bytes(data)
        assert [name for name, _ in Repository(store, Clock()).find(PALLET, 9)] == [
            canonical(PALLET)
        ]
    other = open_site(site.with_name("other"), name="other")
    for file in site.glob(f"{FILE}*"):
        (other.folder / file.name).write_bytes(file.read_bytes())
    empty = Repository(other, Clock())
    assert len(empty) == 0
    assert not empty.find(PALLET, 9)
    empty.capture(document(moved("shipping", 2, thing=ITEM.format(9))), "Ann")
    assert [r.event.bizStep for r, _ in empty.story(ITEM.format(9)).events] == ["shipping"]
    other.close()


def test_where_nothing_can_be_written_the_index_is_in_memory(site, store, repository):
    repository.capture(document(commissioned(1)), "Ann")
    for file in site.glob(f"{FILE}*"):
        file.unlink()
    (site / FILE).mkdir()  # also root cannot make a file of that name

    again = Repository(store, Clock())

    assert lot_and_expiry(again.story(ITEM.format(1)).state, ITEM.format(1))[0] == "L7"


def test_the_story_of_a_thing_has_what_happened_to_what_it_was_in_while_it_was_there(repository):
    outer = THINGS[3]
    container = joined(3, "AggregationEvent", "ADD", outer, [PALLET])
    events = [
        commissioned(1), moved("storing", 1, PLANT), packed(1, minute=2),
        container,
        moved("shipping", 4, "", outer), moved("receiving", 5, DEPOT, outer),
        packed(1, minute=6, action="DELETE"), moved("shipping", 7),
    ]  # fmt: skip
    repository.capture(document(*events), "Ann")

    told = [(r.event.bizStep, outer) for r, outer in repository.story(ITEM.format(1)).events]

    assert told == [
        ("commissioning", ""), ("packing", ""), (None, canonical(PALLET)),
        ("shipping", canonical(outer)), ("receiving", canonical(outer)), ("unpacking", ""),
    ]  # fmt: skip
