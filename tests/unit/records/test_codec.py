"""Canonical bytes: the fast way gives the same as the plain way, and all of it comes back."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galenic.errors import DataError
from galenic.identity import canonical_json
from galenic.records.codec import canonical, decode, encode, restore
from galenic.signals import Command, Quality, Sample, Write

whole = st.integers(-(2**70), 2**70)
values = st.one_of(st.none(), st.booleans(), st.text(), st.integers(), st.floats(allow_nan=False))
samples = st.builds(
    Sample,
    st.text(),
    values,
    st.text(),
    whole,
    whole,
    st.sampled_from(Quality),
    whole,
    st.text(),
    st.booleans(),
)


@given(samples)
def test_a_sample_is_the_canonical_json_of_its_fields_and_comes_back(sample):
    if not isinstance(sample.value, float) or abs(sample.value) != float("inf"):
        assert canonical_json(sample.to_dict()) == encode(sample)
    assert sample == decode(encode(sample))


def test_what_numpy_and_mappings_say_is_kept():
    value = {
        "array": np.array([[1.5, np.nan], [np.inf, -2.0]]),
        "number": np.float64(0.1),
        "count": np.int32(3),
        "flag": np.bool_(True),
        "view": MappingProxyType({"b": (1, 2), "a": {"x", "w"}}),
        "quality": Quality.BAD,
        1: Write("k", "T", 1.0, "K", 1, 2),
    }

    back = restore(canonical(value))

    assert [1.5, float("inf")] == [back["array"][0][0], back["array"][1][0]]
    assert np.isnan(back["array"][0][1])
    assert (0.1, 3, True, 2) == (back["number"], back["count"], back["flag"], back["quality"])
    assert {"a": ["w", "x"], "b": [1, 2]} == back["view"]
    assert "T" == back["1"]["tag"]


def test_text_that_is_no_unicode_is_still_kept():
    assert r"bad \udc80 byte" == decode(encode(Sample("T", "bad \udc80 byte", "K", 1, 2))).value
    assert r"\udc80" == decode(encode(Sample("\udc80", 1.0, "K", 1, 2))).tag


def test_what_cannot_be_kept_is_refused_by_name():
    with pytest.raises(DataError, match="a Command cannot") as caught:
        canonical({"x": type("Command", (), {})()})

    assert "artefact" in caught.value.hint
    assert "command" == decode(encode(Command("level", 1, "ann", arguments={"a": None}))).kind
