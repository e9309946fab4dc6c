"""Goods: the state that events tell, whatever the order in which they come."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.connect.epcis.examples import (
    ALL_KINDS,
    DEPOT,
    ITEM,
    LOGGER,
    PALLET,
    PLANT,
    at,
    commissioned,
    moved,
    packed,
    reported,
)

from galenic.connect.epcis.event import event_of
from galenic.connect.epcis.goods import Goods
from galenic.connect.epcis.keys import canonical
from galenic.connect.epcis.query import Query, Recorded
from galenic.connect.epcis.sensors import readings
from galenic.connect.epcis.state import lot_and_expiry
from galenic.errors import DataError, UnknownName
from galenic.signals import Quality

LOT = "urn:epc:class:lgtin:4012345.011111.{}"
OTHER = "urn:epc:id:sscc:4012345.0000000444"
BLEND, TABLETS = LOT.format("B1"), LOT.format("T1")
STORY = [
    commissioned(1, 2, 3),
    packed(1, 2, 3),
    moved("shipping", 2, disposition="in_transit"),
    moved("receiving", 3, DEPOT),
    packed(2, minute=4, action="DELETE"),
    moved("dispensing", 6, thing=ITEM.format(2), disposition="dispensed"),
]


def made(inputs: list[str], outputs: list[str], minute: int, **more) -> dict:
    return {
        "type": "TransformationEvent", **at(minute),
        "inputQuantityList": [{"epcClass": c, "quantity": 10, "uom": "KGM"} for c in inputs],
        "outputQuantityList": [{"epcClass": c, "quantity": 9, "uom": "KGM"} for c in outputs],
        **more,
    }  # fmt: skip


def goods(*records: dict) -> Goods:
    return Goods(event_of(r) for r in records)


def one(log: Goods, serial: int):
    return log.state.things[canonical(ITEM.format(serial))]


def told(log: Goods) -> tuple:
    state = log.state
    return state.things, state.stock, state.makings, sorted(map(repr, state.findings))


def test_children_are_where_their_parent_is_until_they_are_taken_out():
    log = goods(*STORY[:1])
    assert log.state.location(ITEM.format(1)) == canonical(PLANT)
    log.add([event_of(STORY[1]), event_of(STORY[2])])
    assert log.state.location(ITEM.format(1)) == ""
    log.add([event_of(r) for r in STORY[3:5]])

    places = [log.state.location(ITEM.format(n)) for n in (1, 2)]
    assert places == [canonical(DEPOT)] * 2
    assert one(log, 1).parent == canonical(PALLET)
    assert one(log, 2).parent == ""
    assert lot_and_expiry(log.state, ITEM.format(2)) == ("L7", "2028-02-29")
    assert len(log.state.at(DEPOT)) == 4
    assert len(log.state.at(DEPOT, "https://id.gs1.org/01/04012345111224")) == 3
    assert not log.state.findings


@given(st.permutations(range(len(STORY))), st.lists(st.integers(0, len(STORY) - 1), max_size=4))
@settings(max_examples=60)
def test_the_state_does_not_depend_on_the_order_of_arrival(order, again):
    log = Goods()
    for place in [*order, *again]:
        log.add([event_of(STORY[place])])

    assert told(log) == told(goods(*STORY))


def test_an_event_that_was_declared_wrong_counts_no_longer_and_its_correction_does():
    wrong = moved("receiving", 3, DEPOT)
    declared = {**wrong, "errorDeclaration": {"declarationTime": "2026-03-02T00:00:00Z"}}
    right = moved("receiving", 3, PLANT)

    for records in ([*STORY[:3], wrong, declared, right], [declared, right, *STORY[:3], wrong]):
        log = goods(*records)
        assert log.state.location(PALLET) == canonical(PLANT)
        assert len(log) == 5  # nothing was taken away


def test_an_event_with_an_id_is_declared_wrong_by_its_id():
    wrong = {**moved("receiving", 3, DEPOT), "eventID": "urn:uuid:7"}
    declared = {**wrong, "errorDeclaration": {"declarationTime": "2026-03-02T00:00:00Z"}}

    assert goods(*STORY[:3], wrong, declared).state.location(PALLET) == ""


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([*STORY[:3], moved("shipping", 3)], "shipped twice"),
        ([commissioned(1), commissioned(1, minute=1)], "commissioned twice"),
        ([packed(1), {**packed(1, minute=2), "parentID": OTHER}], "while in"),
        ([packed(1), packed(2, minute=3, action="DELETE")], "in which it was not"),
        ([packed(1), packed(2, minute=3, action="OBSERVE")], "in which it was not"),
        ([{**moved("destroying", 1, thing=ITEM.format(1)), "action": "DELETE"},
          moved("dispensing", 2, thing=ITEM.format(1))], "dispensing after destroying"),
        ([{"type": "ObjectEvent", **at(m), "action": a, "quantityList":
           [{"epcClass": BLEND, "quantity": q}]} for m, a, q in ((0, "ADD", 5), (1, "DELETE", 7))],
         "2 more gone than came"),
        ([{**packed(), "parentID": ITEM.format(1), "childEPCs": [ITEM.format(2)]},
          {**packed(minute=2), "parentID": ITEM.format(2), "childEPCs": [ITEM.format(1)]}],
         "which is in it"),
    ],
)  # fmt: skip
def test_what_cannot_all_be_true_is_found(records, words):
    assert any(words in finding.text for finding in goods(*records).state.findings)


def test_a_void_shipping_and_an_empty_delete_take_back():
    log = goods(*STORY[:3], moved("void_shipping", 3, PLANT), moved("shipping", 4))
    assert not log.state.findings
    log.add([event_of(packed(minute=7, action="DELETE"))])

    assert log.state.things[canonical(PALLET)].children == {}


def test_the_genealogy_goes_from_lot_to_pack_and_back():
    log = goods(
        made([LOT.format("A1"), LOT.format("A2")], [BLEND], 1),
        made([BLEND], [TABLETS], 2),
        {"type": "TransformationEvent", **at(3), "transformationID": "urn:x:pack-1",
         "inputQuantityList": [{"epcClass": TABLETS, "quantity": 9, "uom": "KGM"}]},
        {"type": "TransformationEvent", **at(4), "transformationID": "urn:x:pack-1",
         "outputEPCList": [ITEM.format(1), ITEM.format(2)]},
    )  # fmt: skip

    origins = [set(m.inputs) for m in log.state.origins(ITEM.format(1))]
    assert origins == [
        {canonical(TABLETS)}, {canonical(BLEND)},
        {canonical(LOT.format("A1")), canonical(LOT.format("A2"))},
    ]  # fmt: skip
    affected = {end for m in log.state.uses(LOT.format("A1")) for end in m.outputs}
    assert canonical(ITEM.format(2)) in affected
    assert lot_and_expiry(log.state, TABLETS) == ("T1", "")
    assert log.state.stock[canonical(TABLETS), ""] == 0.0


def test_a_logger_is_attached_and_a_transaction_linked():
    log = goods(*ALL_KINDS[4:])

    pallet = log.state.things[canonical(PALLET)]
    assert list(pallet.attached) == [canonical(LOGGER)]
    assert pallet.transactions == {"urn:epcglobal:cbv:bt:1:7": "po"}
    ended = {**ALL_KINDS[5], "action": "DELETE", **at(9)}
    log.add([event_of(ended)])
    assert log.state.things[canonical(PALLET)].attached == {}


def test_sensor_reports_become_samples_with_units():
    event = event_of(reported())
    (reading,) = readings(event, 7)

    sample = reading.sample
    assert (sample.tag, sample.value, sample.unit) == (
        "https://id.gs1.org/8004/4000001111/Temperature", 4.5, "degC",
    )  # fmt: skip
    assert sample.source_time == event.time
    assert sample.received_time == 7


@pytest.mark.parametrize(
    ("report", "found"),
    [
        ({"uom": "XYZ"}, "XYZ"),
        ({"uom": None}, "without uom"),
        ({"exception": "ERROR_CONDITION"}, (Quality.BAD, "degC")),
        ({"value": None, "meanValue": 1.0}, (Quality.GOOD, "degC")),
        ({"value": None, "sDev": 1.0}, (Quality.GOOD, "delta_degC")),
        ({"type": "Count", "uom": None}, (Quality.GOOD, "1")),
        ({"value": None, "booleanValue": True, "uom": None}, (Quality.GOOD, "")),
    ],
)
def test_a_report_that_cannot_be_used_says_why(report, found):
    got = next(iter(readings(event_of(reported(**report)), 0)))

    if isinstance(found, str):
        assert got.sample is None
        assert found in got.reason
    else:
        assert (got.sample.quality, got.sample.unit) == found


RECORDED = [
    Recorded(event_of(r), str(n), 1000 + n, n)
    for n, r in enumerate([*STORY, *ALL_KINDS, reported()])
]


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ({"eventType": ["AggregationEvent"]}, [1, 4, 8]),
        ({"EQ_bizStep": ["shipping|receiving"]}, [2, 3]),
        ({"EQ_bizStep": ["https://ref.gs1.org/cbv/BizStep-shipping"]}, [2]),
        ({"MATCH_epc": [ITEM.format(2)], "LT_eventTime": ["2026-03-01T08:04:00Z"]}, [0, 1]),
        ({"MATCH_epc": ["https://id.gs1.org/01/04012345111224"]}, [0, 1, 4, 5, 10]),
        ({"MATCH_parentID": [PALLET]}, [1, 4, 10, 11]),
        ({"MATCH_anyEPC": [LOGGER]}, [11]),
        ({"MATCH_inputEPC": ["urn:epc:id:sgtin:4012345.011122.25"]}, [9]),
        ({"MATCH_anyEPCClass": ["urn:epc:idpat:sgtin:4012345.066666.*"]}, [7]),
        ({"EQ_bizLocation": [DEPOT]}, [3]),
        ({"EQ_bizTransaction_po": ["urn:epcglobal:cbv:bt:1:7"]}, [10]),
        ({"EQ_source_owning_party": ["urn:epc:id:pgln:4012345.00000"]}, [6]),
        ({"EXISTS_errorDeclaration": [""]}, [7]),
        ({"EXISTS_sensorElementList": [""]}, [7, 12]),
        ({"EQ_type": ["Temperature"], "EQ_deviceID": [LOGGER]}, [7, 12]),
        ({"LT_value_CEL": ["5"]}, [12]),
        ({"GE_value_KEL": ["277.6"]}, [7, 12]),  # 4.5 and 26 degC: 277.65 and 299.15 K
        ({"GE_value_FAH": ["78"]}, [7]),  # 78.8 degF
        ({"EQ_quantity_KGM": ["200.5"]}, [7]),
        ({"GT_quantity": ["9"]}, [7, 8]),
        ({"EQ_example:userExt": ["CD-34"]}, [6]),
        ({"EXISTS_ILMD_cbvmda:lotNumber": [""]}, [0]),
        ({"EQ_ILMD_urn:epcglobal:cbv:mdalotNumber": ["L7"]}, []),
        ({"GE_recordTime": ["1970-01-01T00:00:00.000001005Z"], "eventCountLimit": ["2"]}, [5, 6]),
        ({"eventType": ["AggregationEvent"], "orderBy": ["eventTime"]}, [4, 1, 8]),
        ({"EQ_action": ["DELETE"], "EQ_eventID": ["4"]}, [4]),
    ],
)  # fmt: skip
def test_queries_find_what_the_standard_says(asked, numbers):
    assert [r.number for r in Query.of(asked).select(RECORDED)] == numbers


@pytest.mark.parametrize(
    "asked",
    [
        {"EQ_bizstep": ["shipping"]}, {"EQ_bizStep": ["shiping"]}, {"GE_eventTime": ["yesterday"]},
        {"EQ_value_XYZ": ["1"]}, {"GE_value_CEL": ["warm"]}, {"eventType": ["Event"]},
        {"orderBy": ["bizStep"]}, {"eventCountLimit": ["0"]}, {"orderDirection": ["UP"]},
        {"eventCountLimit": ["1"], "maxEventCount": ["1"]}, {"WD_readPoint": ["urn:a:b"]},
    ],
)  # fmt: skip
def test_a_question_that_is_not_understood_is_refused(asked):
    with pytest.raises((DataError, UnknownName)) as caught:
        Query.of(asked)

    assert next(iter(asked)) in str(caught.value) or "together" in str(caught.value)


def test_more_events_than_allowed_are_refused():
    with pytest.raises(DataError, match="events"):
        Query.of({"maxEventCount": ["3"]}).select(RECORDED)


def test_amounts_in_other_units_are_converted_and_what_cannot_be_is_found():
    def made(minute: int, quantity: float, uom: str | None) -> dict:
        more = {"uom": uom} if uom else {}
        return {
            "type": "TransformationEvent", **at(minute), "transformationID": "urn:uuid:blend",
            "inputQuantityList": [{"epcClass": LOT.format("A1"), "quantity": quantity, **more}],
            "outputEPCList": [ITEM.format(1)],
        }  # fmt: skip

    log = goods(made(1, 2.0, "KGM"), made(2, 500.0, "GRM"), made(3, 3.0, None))
    (making,) = log.state.makings.values()
    lot = canonical(LOT.format("A1"))

    assert making.inputs[lot] == pytest.approx(2.5, rel=1e-12)
    assert making.units == {lot: "KGM"}
    assert log.state.stock[lot, ""] == pytest.approx(-2.5, rel=1e-12)
    assert any("3 H87 of what is told in KGM" in f.text for f in log.state.findings)


def test_items_may_be_counted_with_or_without_a_code():
    def some(minute: int, action: str, **more) -> dict:
        return {"type": "ObjectEvent", **at(minute), "action": action,
                "quantityList": [{"epcClass": TABLETS, "quantity": 4.0, **more}]}  # fmt: skip

    log = goods(some(1, "ADD"), some(2, "ADD", uom="C62"), some(3, "DELETE", uom="EA"))

    assert log.state.stock[canonical(TABLETS), ""] == 4.0
    assert not log.state.findings
