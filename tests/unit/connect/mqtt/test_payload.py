"""Messages and values of Sparkplug B. Field numbers, codes and layouts from Sparkplug 3.0, 6.4."""

from __future__ import annotations

import math
import struct

import pytest

from galenic.connect.connector import TagInfo
from galenic.connect.mqtt.payload import Metric, Payload, decode
from galenic.connect.mqtt.values import (
    data_type,
    properties_of,
    set_properties,
    set_value,
    status_of,
    to_metric,
    to_sample,
    unit_of,
    value_of,
)
from galenic.errors import DataError
from galenic.signals import Quality, Sample

# Made with the schema of eclipse-tahu, and again with an encoder written by hand.
NBIRTH = (
    "0880d095ffbc3112120a0562645365711880d095ffbc312008580012210a144e6f646520436f6e74726f6c2f52656269"
    "7274681880d095ffbc31200b700012250a0f44727965722f496e6c657454656d7010011880d095ffbc31200a69000000"
    "0000204e401800"
)
NDATA = (
    "08e8d795ffbc311224100118ded795ffbc314a100a075175616c6974791205080318c001690000000000c04e401801"
)
NDEATH = "08e8d795ffbc3112120a05626453657118e8d795ffbc3120085800"
START = 1_700_000_000_000


def birth():
    payload = Payload(timestamp=START)
    payload.metrics.add(name="bdSeq", timestamp=START, datatype=8, long_value=0)
    payload.metrics.add(
        name="Node Control/Rebirth", timestamp=START, datatype=11, boolean_value=False
    )
    inlet = payload.metrics.add(name="Dryer/InletTemp", alias=1, timestamp=START, datatype=10)
    set_value(inlet, 60.25, data_type(10))
    payload.seq = 0
    return payload


def data():
    payload = Payload(timestamp=START + 1000, seq=1)
    metric = payload.metrics.add(alias=1, timestamp=START + 990)
    set_properties(metric, {"Quality": 192})
    set_value(metric, 61.5, data_type(10))
    return payload


def death():
    payload = Payload(timestamp=START + 1000)
    payload.metrics.add(name="bdSeq", timestamp=START + 1000, datatype=8, long_value=0)
    return payload


@pytest.mark.parametrize(
    ("make", "vector"), [(birth, NBIRTH), (data, NDATA), (death, NDEATH)], ids=lambda x: str(x)[:20]
)
def test_published_messages_are_written_and_read_byte_for_byte(make, vector):
    assert make().SerializeToString().hex() == vector
    assert decode(bytes.fromhex(vector), "test") == make()


def test_what_is_no_payload_is_named():
    with pytest.raises(DataError, match="not a Sparkplug B payload"):
        decode(b"\xff\xff\xff", "spBv1.0/G/NDATA/N")


# One metric with field number and wire type by hand: 10 int 50, 11 long 58, 12 float 65, 13 double
# 69, 14 bool 70, 15 string 7a.
MINUS_FIVE_32 = "50fbffffff0f"
MINUS_FIVE_64 = "58fbffffffffffffffff01"


@pytest.mark.parametrize(
    ("code", "wire", "value"),
    [
        (1, MINUS_FIVE_32, -5),
        (1, "50fb01", -5),  # two's complement of eight bits, as some nodes send
        (2, MINUS_FIVE_32, -5),
        (3, MINUS_FIVE_32, -5),
        (4, MINUS_FIVE_64, -5),
        (5, "50ff01", 255),
        (6, "50ffff03", 65_535),
        (7, "50ffffffff0f", 4_294_967_295),
        (8, "58ffffffffffffffffff01", 18_446_744_073_709_551_615),
        (9, "650000c03f", 1.5),
        (10, "690000000000204e40", 60.25),
        (11, "7001", True),
        (12, "7a024f4b", "OK"),
        (13, "5880d095ffbc31", "2023-11-14T22:13:20.000000Z"),
        (14, "7a024f4b", "OK"),
        (15, "7a024f4b", "OK"),
    ],
)
def test_every_scalar_type_is_read_from_its_bytes(code, wire, value):
    metric = Metric.FromString(bytes.fromhex(wire))

    read = value_of(metric, data_type(code))

    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("code", [3, 4, 7, 8, 9, 10, 11, 12])
def test_what_is_written_is_read_again(code):
    value = {"int": 7, "float": -2.5, "bool": True, "str": "µ"}[data_type(code).type]
    metric = Metric()

    set_value(metric, value, data_type(code))

    assert value_of(Metric.FromString(metric.SerializeToString()), data_type(code)) == value


@pytest.mark.parametrize(
    ("code", "value"),
    [(1, 128), (5, -1), (4, 2**63), (8, -1), (3, 1.5), (9, 1e300), (10, "x"), (12, 1.0), (13, "x")],
)
def test_what_does_not_fit_is_refused(code, value):
    with pytest.raises(DataError, match="cannot be sent"):
        set_value(Metric(), value, data_type(code))


def test_a_value_of_another_type_is_not_guessed():
    metric = Metric(int_value=3)

    with pytest.raises(DataError, match="holds int_value") as error:
        value_of(metric, data_type(10))

    assert error.value.expected == "a Double"


@pytest.mark.parametrize(
    ("code", "raw", "values"),
    [
        (22, "e97b", (-23, 123)),
        (23, "d08a3075", (-30_000, 30_000)),
        (24, "fffffffffaafcb12", (-1, 315_338_746)),
        (26, "17fa", (23, 250)),
        (27, "1e0088cc", (30, 52_360)),
        (28, "3400000049fb55c4", (52, 3_293_969_225)),
        (30, struct.pack("<2f", 1.5, -2.0).hex(), (1.5, -2.0)),
        (31, struct.pack("<2d", 12.354213, 1e300).hex(), (12.354213, 1e300)),
        (32, "0c00000034d0", tuple(bool(int(bit)) for bit in "001101001101")),
        (33, "414243006869" + "00", ("ABC", "hi")),
        (34, struct.pack("<Q", START).hex(), ("2023-11-14T22:13:20.000000Z",)),
    ],
)
def test_arrays_are_read_from_their_bytes(code, raw, values):
    """Integers as in the examples of the specification; packed little-endian."""
    metric = Metric(bytes_value=bytes.fromhex(raw))

    assert value_of(metric, data_type(code)) == values


@pytest.mark.parametrize(
    ("code", "raw"), [(23, "d08a30"), (32, "0c000000"), (33, "4142"), (32, "")]
)
def test_an_array_cut_off_is_refused(code, raw):
    with pytest.raises(DataError):
        value_of(Metric(bytes_value=bytes.fromhex(raw)), data_type(code))


@pytest.mark.parametrize(
    ("quality", "status"),
    [(192, 0), (195, 0), (500, 0x80310000), (0, 0x80000000), (64, 0x40000000), (900, 0x80000000)],
)
def test_the_quality_property_becomes_a_status(quality, status):
    assert status_of({"Quality": quality}) == status


def test_negative_and_large_properties_keep_their_sign():
    metric = Metric()
    set_properties(metric, {"low": -1, "wide": 2**40, "on": True, "engUnit": "kN"})

    properties = properties_of(metric)

    assert properties == {"low": -1, "wide": 2**40, "on": True, "engUnit": "kN"}
    assert unit_of(properties) == "kN"


TIME = START * 1_000_000


@pytest.mark.parametrize(
    "sample",
    [
        Sample("t", 1.1, "kN", TIME, 5),
        Sample("t", 1.1, "kN", TIME + 123_456, 5),
        Sample("t", 1.1, "kN", TIME, 5, Quality.UNCERTAIN, 0x40930000),
        Sample("t", 1.1, "kN", TIME, 5, Quality.UNCERTAIN),
        Sample("t", None, "kN", TIME, 5, Quality.BAD, 0x808C0000),
        Sample("t", None, "kN", TIME, 5, Quality.BAD),
        Sample("t", None, "kN", TIME, 5, Quality.BAD, 0x80310000),
        Sample("t", 1.1, "kN", TIME, 5, Quality.GOOD, 0x00960000),
        Sample("t", 5e-324, "kN", TIME, 5, source_key="epoch|7"),
        Sample("t", -0.0, "kN", TIME, 5, historical=True),
        Sample("t", math.pi, "kN", -1, 5),
    ],
    ids=range(11),
)
def test_a_sample_survives_the_way_there_and_back(sample):
    if sample.source_time < 0:
        with pytest.raises(DataError, match="source time -1"):
            to_metric(sample, 10)
        return
    wire = to_metric(sample, 10).SerializeToString()
    metric = Metric.FromString(wire)

    value = value_of(metric, data_type(10))
    back = to_sample(metric, TagInfo("t", "kN"), value, 0, 5, properties_of(metric))

    assert back == sample
    assert math.copysign(1, back.value or 0.0) == math.copysign(1, sample.value or 0.0)


def test_other_hosts_take_an_uncertain_value_for_bad():
    """Sparkplug knows good, bad and stale; taking a doubtful value for good is the worse error."""
    metric = to_metric(Sample("t", 1.0, "", TIME, 5, Quality.UNCERTAIN, 0x40930000), 10)

    assert properties_of(metric)["Quality"] == 0


def test_without_a_time_the_arrival_is_uncertain():
    sample = to_sample(Metric(double_value=1.0), TagInfo("t"), 1.0, 0, 77, {})

    assert (sample.source_time, sample.quality) == (77, Quality.UNCERTAIN)


def test_the_time_of_the_payload_stands_for_that_of_the_metric():
    sample = to_sample(Metric(double_value=1.0), TagInfo("t"), 1.0, START, 77, {})

    assert (sample.source_time, sample.quality) == (TIME, Quality.GOOD)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_bad(value):
    sample = to_sample(Metric(double_value=value, timestamp=START), TagInfo("t"), value, 0, 77, {})

    assert (sample.value, sample.quality) == (None, Quality.BAD)
