"""DataValue to sample and back. Codes from OPC 10000-4, 7.39 and OPC 10000-6, annex A."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from asyncua import ua

from galenic.connect.connector import TagInfo
from galenic.connect.opcua.values import (
    engineering_unit,
    has_overflowed,
    status_name,
    to_data_value,
    to_nanoseconds,
    to_sample,
)
from galenic.signals import Quality, Sample

FORCE = TagInfo("Press.MainForce", "kN")
STAMP = datetime(2026, 1, 31, 8, 0, 0, 123456, tzinfo=UTC)
TIME = 1_769_846_400_123_456_000


def data(value=11.5, code: int = 0, source=STAMP, server=STAMP) -> ua.DataValue:
    status = ua.StatusCode(code)
    return ua.DataValue(ua.Variant(value), status, source, server)


def test_the_source_time_is_the_event_time():
    assert to_sample(FORCE, data(), 7) == Sample("Press.MainForce", 11.5, "kN", TIME, 7)


def test_without_a_source_time_the_server_time_is_uncertain():
    sample = to_sample(FORCE, data(source=None), 7)

    assert (sample.source_time, sample.quality, sample.status) == (TIME, Quality.UNCERTAIN, 0)


def test_without_any_time_the_arrival_is_uncertain():
    sample = to_sample(FORCE, data(source=None, server=None), 7)

    assert (sample.source_time, sample.quality) == (7, Quality.UNCERTAIN)


@pytest.mark.parametrize(
    ("code", "quality"),
    [(0, 0), (0x00960000, 0), (0x40930000, 1), (0x808C0000, 2), (0xC0000000, 2)],
)
def test_severity_is_in_the_top_bits_and_the_code_is_kept(code, quality):
    sample = to_sample(FORCE, data(code=code), 7)

    assert (sample.quality, sample.status) == (quality, code)


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_what_is_no_number_is_bad(value):
    sample = to_sample(FORCE, data(value), 7)

    assert (sample.value, sample.quality) == (None, Quality.BAD)


@pytest.mark.parametrize(
    ("code", "lost"), [(0x0480, True), (0x40900480, True), (0x0400, False), (0x0080, False)]
)
def test_the_overflow_bit_counts_only_with_its_info_type(code, lost):
    assert has_overflowed(code) is lost


def test_picoseconds_are_in_tens():
    assert to_nanoseconds(STAMP, 9_900) == TIME + 99


def test_there_and_back():
    sample = Sample("Press.MainForce", 3.0, "kN", TIME, TIME + 5000, Quality.UNCERTAIN, 0x40930000)

    back = to_sample(FORCE, to_data_value(sample, ua.VariantType.Double), TIME + 5000)

    assert back == sample


def test_a_bad_sample_without_a_code_is_sent_as_bad():
    sample = Sample("Press.MainForce", None, "kN", TIME, TIME, Quality.BAD)

    assert to_data_value(sample, ua.VariantType.Double).StatusCode.value == 0x80000000


def test_status_names():
    assert status_name(0x803B0000) == "BadNotWritable 0x803B0000"


def test_units_have_their_unece_code():
    """KGM of UNECE Recommendation 20 is 4933453 (OPC 10000-8, 5.6.4.3: K<<16 | G<<8 | M)."""
    assert engineering_unit("kg").UnitId == 4933453
    assert engineering_unit("tablet/h").UnitId == -1
