"""What a host makes of the messages of an edge node (Sparkplug 3.0, chapters 5 and 6)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galenic.connect.connector import TagInfo
from galenic.connect.mqtt.payload import Payload
from galenic.connect.mqtt.session import NodeSession
from galenic.connect.mqtt.topic import Topic
from galenic.connect.mqtt.values import data_type, set_properties, set_value
from galenic.signals import Quality

MS = 1_000_000
NOW = 1_700_000_100_000 * MS
T0 = 1_700_000_000_000
STALE = 0x80310000


class Node:
    """An edge node that makes messages, and the session of a host that gets them."""

    def __init__(self, bdseq: int = 0) -> None:
        self.bdseq = bdseq
        self.seq = 0
        self.session = NodeSession(
            "G/N", lambda device, name: TagInfo(f"{device}/{name}".strip("/"))
        )

    def send(self, kind, payload, device="", now=0.0, seq=None):
        if kind != "NDEATH":
            payload.seq = self.seq if seq is None else seq
            if seq is None:
                self.seq = (self.seq + 1) % 256
        return self.session.receive(Topic("G", kind, "N", device), payload, NOW, now)

    def birth(self, *metrics, now=0.0):
        """NBIRTH with (name, alias, code, value)."""
        self.seq = 0
        payload = Payload(timestamp=T0)
        payload.metrics.add(name="bdSeq", timestamp=T0, datatype=8, long_value=self.bdseq)
        payload.metrics.add(name="Node Control/Rebirth", datatype=11, boolean_value=False)
        return self.send("NBIRTH", told(payload, metrics or [("a", 1, 10, 1.0)]), now=now)

    def device_birth(self, *metrics, device="D", now=0.0):
        payload = told(Payload(timestamp=T0), metrics or [("x", 7, 10, 5.0)])
        return self.send("DBIRTH", payload, device, now)

    def data(self, value, alias=1, ms=1, now=0.0, seq=None, device="", **flags):
        payload = Payload(timestamp=T0 + ms)
        metric = payload.metrics.add(alias=alias, timestamp=T0 + ms, **flags)
        set_value(metric, value, data_type(10))
        return self.send("DDATA" if device else "NDATA", payload, device, now, seq)

    def death(self, bdseq=None):
        payload = Payload(timestamp=T0)
        number = self.bdseq if bdseq is None else bdseq
        payload.metrics.add(name="bdSeq", timestamp=T0, datatype=8, long_value=number)
        return self.send("NDEATH", payload)


def told(payload, metrics):
    for name, alias, code, value in metrics:
        metric = payload.metrics.add(name=name, alias=alias, timestamp=T0, datatype=code)
        set_value(metric, value, data_type(code))
    return payload


@pytest.fixture
def node() -> Node:
    node = Node()
    node.birth()
    return node


def values(outcome):
    return [(s.tag, s.value) for s in outcome.samples]


def test_a_birth_gives_tags_and_their_values():
    node = Node()

    outcome = node.birth(("a", 1, 10, 1.5), ("b", 2, 12, "on"))

    assert values(outcome) == [("a", 1.5), ("b", "on")]
    assert [(i.tag, i.type) for i in node.session.tags] == [("a", "float"), ("b", "str")]
    assert {s.source_time for s in outcome.samples} == {T0 * MS}


def test_data_carry_the_alias_only(node):
    (sample,) = node.data(2.0, ms=5).samples

    assert (sample.tag, sample.value, sample.source_time) == ("a", 2.0, (T0 + 5) * MS)


def test_the_sequence_goes_on_after_255(node):
    outcomes = [node.data(float(i)) for i in range(600)]

    assert [s.value for o in outcomes for s in o.samples] == [float(i) for i in range(600)]
    assert not [o.rebirth for o in outcomes if o.rebirth]


def test_a_birth_with_another_first_number_is_accepted():
    """Chapter 4 says 0, chapter 6 of earlier editions any: what follows counts from it."""
    node = Node()
    payload = told(Payload(timestamp=T0), [("bdSeq", 9, 8, 0), ("a", 1, 10, 1.0)])
    node.seq = 254

    node.send("NBIRTH", payload)

    assert values(node.data(2.0)) == [("a", 2.0)]
    assert values(node.data(3.0)) == [("a", 3.0)]


def test_messages_that_swapped_places_are_put_in_order(node):
    first = node.data(3.0, seq=3)
    second = node.data(2.0, seq=2)
    third = node.data(1.0, seq=1)

    assert values(first) == values(second) == []
    assert [v for _, v in values(third)] == [1.0, 2.0, 3.0]
    assert not node.session.tick(NOW, 99.0).rebirth


def test_any_order_within_the_wait_ends_the_same(node):
    rng = random.Random(3)
    order = list(range(1, 101))
    rng.shuffle(order)

    got = [s.value for seq in order for s in node.data(float(seq), seq=seq).samples]

    assert got == [float(i) for i in range(1, 101)]


def test_a_missing_message_is_waited_for_then_a_rebirth_is_asked_for_once(node):
    held = [node.data(float(i), seq=i, now=10.0) for i in (2, 3, 5)]
    early = node.session.tick(NOW, 11.9)
    late = node.session.tick(NOW, 12.1)
    again = [node.session.tick(NOW, t) for t in (12.5, 13.0, 20.0)]
    after = node.data(6.0, seq=6, now=13.0)

    assert not any(o.samples for o in held)
    assert (early.rebirth, early.missed) == ("", False)
    assert (late.rebirth, late.missed) == ("messages are missing", True)
    assert [v for _, v in values(late)] == [2.0, 3.0, 5.0]
    assert not any(o.rebirth or o.missed for o in again)
    assert values(after) == [("a", 6.0)]
    assert after.rebirth == ""


def test_a_rebirth_that_does_not_come_is_asked_for_again(node):
    node.data(2.0, seq=2, now=10.0)
    assert node.session.tick(NOW, 13.0).rebirth

    node.data(9.0, seq=9, now=14.0)
    assert not node.session.tick(NOW, 17.0).rebirth
    node.data(20.0, seq=20, now=21.0)

    assert node.session.tick(NOW, 24.0).rebirth


def test_what_comes_after_the_wait_is_kept_as_history(node):
    node.data(2.0, seq=2, now=10.0)
    node.session.tick(NOW, 13.0)

    (sample,) = node.data(1.0, seq=1, now=14.0).samples

    assert (sample.value, sample.historical) == (1.0, True)


def test_a_birth_while_waiting_first_gives_what_waited(node):
    node.data(2.0, seq=2)

    outcome = node.birth(("a", 4, 10, 9.0))

    assert [v for _, v in values(outcome)] == [2.0, 9.0]
    assert outcome.missed
    assert outcome.rebirth == ""
    assert values(node.data(10.0, alias=4)) == [("a", 10.0)]


def test_the_death_of_an_earlier_session_is_ignored():
    node = Node(bdseq=5)
    node.birth()

    assert node.death(bdseq=4).samples == []
    assert node.session.born
    (sample,) = node.death().samples
    assert (sample.value, sample.quality, sample.status) == (None, Quality.BAD, STALE)
    assert sample.source_time == NOW
    assert not node.session.born


def test_a_death_takes_the_devices_along(node):
    node.device_birth()

    outcome = node.death()

    assert sorted(values(outcome)) == [("D/x", None), ("a", None)]
    assert node.death().samples == []


def test_the_death_of_a_device_leaves_the_node(node):
    node.device_birth()

    outcome = node.send("DDEATH", Payload(timestamp=T0 + 9), "D")

    (sample,) = outcome.samples
    assert (sample.tag, sample.status, sample.source_time) == ("D/x", STALE, (T0 + 9) * MS)
    assert values(node.data(2.0)) == [("a", 2.0)]


def test_after_a_rebirth_a_device_that_stays_away_is_stale(node):
    node.device_birth()

    reborn = node.birth(now=5.0)
    soon = node.session.tick(NOW, 6.0)
    later = node.session.tick(NOW, 8.0)

    assert values(reborn) == [("a", 1.0)]
    assert soon.samples == []
    assert [(s.tag, s.status) for s in later.samples] == [("D/x", STALE)]


def test_after_a_rebirth_with_its_devices_nothing_is_stale(node):
    node.device_birth()

    node.birth(now=5.0)
    node.device_birth(now=5.1)

    assert node.session.tick(NOW, 99.0).samples == []


def test_a_metric_that_no_birth_told_of_asks_for_a_rebirth_once(node):
    outcomes = [node.data(1.0, alias=99, now=float(i)) for i in range(5)]

    assert [bool(o.rebirth) for o in outcomes] == [True, False, False, False, False]
    assert not any(o.samples for o in outcomes)


def test_data_before_a_birth_ask_for_one():
    assert Node().data(1.0).rebirth == "messages before the birth of the node"


def test_data_of_a_device_not_born_ask_for_a_rebirth(node):
    assert "device D" in node.data(1.0, alias=7, device="D").rebirth


def test_aliases_of_an_earlier_session_are_void(node):
    """A node that restarts may give the alias of a device's metric to one of its own."""
    node.device_birth(("x", 7, 10, 5.0))

    node.birth(("a", 7, 10, 1.0))

    assert values(node.data(2.0, alias=7)) == [("a", 2.0)]
    assert "device D" in node.data(6.0, alias=1, device="D").rebirth


def test_a_metric_that_is_gone_from_the_birth_is_bad(node):
    outcome = node.birth(("b", 1, 10, 3.0))

    assert [(s.tag, s.value, s.status) for s in outcome.samples] == [
        ("a", None, 0x80340000), ("b", 3.0, 0),
    ]  # fmt: skip
    assert [info.tag for info in node.session.tags] == ["b"]


def test_flags_are_kept(node):
    (old,) = node.data(2.0, is_historical=True).samples
    (none,) = node.data(None).samples

    assert old.historical
    assert (none.value, none.quality) == (None, Quality.BAD)


def test_unit_meaning_and_access_come_from_properties():
    node = Node()
    payload = told(Payload(timestamp=T0), [("bdSeq", 9, 8, 0), ("a", 1, 10, 1.0)])
    properties = {"engUnit": "kN", "documentation": "force", "galenic/writable": False}
    set_properties(payload.metrics[1], properties)

    node.send("NBIRTH", payload)

    assert node.session.tags == [TagInfo("a", "kN", False, "force", "float")]


def test_what_is_no_tag_is_named():
    node = Node()
    payload = told(Payload(timestamp=T0), [("bdSeq", 9, 8, 0)])
    payload.metrics.add(name="spectra", datatype=16, alias=2, dataset_value=b"")
    payload.metrics.add(name="recipe", datatype=19, alias=3, template_value=b"")
    payload.metrics.add(name="odd", datatype=77, alias=4)

    outcome = node.send("NBIRTH", payload)

    assert outcome.warnings == [
        "G/N/spectra is a DataSet, which is no tag",
        "G/N/recipe is a Template, which is no tag",
        "G/N/odd is a type 77, which is no tag",
    ]
    assert node.data(1.0, alias=3).rebirth == ""


def test_an_array_has_a_tag_per_element():
    node = Node()
    payload = told(Payload(timestamp=T0), [("bdSeq", 9, 8, 0)])
    payload.metrics.add(name="nir", datatype=26, alias=2, bytes_value=b"\x01\x02\x03")
    born = node.send("NBIRTH", payload)
    shorter = Payload(timestamp=T0 + 1)
    shorter.metrics.add(alias=2, timestamp=T0 + 1, bytes_value=b"\x09\x08")

    outcome = node.send("NDATA", shorter)

    assert values(born) == [("nir[0]", 1), ("nir[1]", 2), ("nir[2]", 3)]
    assert values(outcome) == [("nir[0]", 9), ("nir[1]", 8), ("nir[2]", None)]
    assert outcome.samples[2].quality == Quality.BAD


def test_a_value_of_the_wrong_type_is_bad_and_told(node):
    payload = Payload(timestamp=T0 + 1)
    payload.metrics.add(alias=1, timestamp=T0 + 1, string_value="hot")

    outcome = node.send("NDATA", payload)

    (sample,) = outcome.samples
    assert (sample.value, sample.quality, sample.status) == (None, Quality.BAD, 0x80740000)
    assert outcome.warnings == ["G/N/a holds string_value, expected a Double"]


def test_losing_the_way_makes_everything_stale_until_the_next_birth(node):
    node.device_birth()

    lost = node.session.lose(NOW)

    assert sorted(values(lost)) == [("D/x", None), ("a", None)]
    assert node.data(1.0).samples == []
    assert values(node.birth()) == [("a", 1.0)]


def test_a_time_in_nanoseconds_is_told(node):
    payload = Payload(timestamp=T0)
    payload.metrics.add(alias=1, timestamp=T0 * MS, double_value=2.0)

    outcome = node.send("NDATA", payload)

    assert [(s.value, s.source_time) for s in outcome.samples] == [(None, NOW)]
    assert outcome.warnings == [
        f"G/N/a has time {T0 * MS} ms, expected a time before the year 2262"
    ]


wild = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["a", "b", "bdSeq", "Node Control/Rebirth", ""]),
        "alias": st.integers(0, 3),
        "timestamp": st.sampled_from([0, T0, 2**63, 2**64 - 1]),
        "datatype": st.integers(0, 40),
        "is_historical": st.booleans(),
        "is_null": st.booleans(),
        "int_value": st.integers(0, 2**32 - 1),
        "long_value": st.integers(0, 2**64 - 1),
        "float_value": st.floats(width=32),
        "double_value": st.floats(),
        "boolean_value": st.booleans(),
        "string_value": st.text(max_size=3),
        "bytes_value": st.binary(max_size=9),
    },
)
message = st.tuples(
    st.sampled_from(["NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH", "NCMD"]),
    st.integers(0, 600) | st.none(),
    st.sampled_from([0, T0, 2**64 - 1]),
    st.lists(st.tuples(wild, st.integers(0, 2**32 - 1) | st.none()), max_size=3),
)


@given(st.lists(message, max_size=12))
def test_no_message_breaks_a_session(messages):
    """Whatever a node sends: samples have times that fit int64, and values a record can hold."""
    session = NodeSession("G/N", lambda device, name: TagInfo(f"{device}/{name}"), again=0.5)
    for second, (kind, seq, time, metrics) in enumerate(messages):
        payload = Payload(timestamp=time)
        if seq is not None:
            payload.seq = seq
        for fields, quality in metrics:
            metric = payload.metrics.add(**fields)
            if quality is not None:
                metric.properties.keys.append("Quality")
                metric.properties.values.add(type=1, int_value=quality)
        topic = Topic("G", kind, "N", "D" if kind.startswith("D") else "")
        outcomes = [
            session.receive(topic, payload, NOW, float(second)), session.tick(NOW, second + 0.5),
        ]  # fmt: skip
        for sample in (s for outcome in outcomes for s in outcome.samples):
            assert 0 <= sample.source_time < 2**63
            assert sample.value == sample.value
            assert sample.value is not None or sample.quality == Quality.BAD


def test_a_refusal_is_no_sample(node):
    payload = Payload(timestamp=T0 + 1)
    metric = payload.metrics.add(alias=1, timestamp=T0 + 1, double_value=1.0)
    set_properties(metric, {"galenic/refused": "too deep"})

    outcome = node.send("NDATA", payload)

    assert outcome.samples == []
    assert outcome.refused == {"a": "too deep"}
