"""Units: an allow-list with exact conversions, checked against pint as independent judge."""

from __future__ import annotations

import pickle

import pint
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galenic.errors import UnitError
from galenic.units import (
    Quantity,
    Substance,
    convert,
    dimension_name,
    duration,
    from_si,
    known_symbols,
    lacking,
    quantity,
    to_si,
    unit,
    value_in,
)

REGISTRY = pint.UnitRegistry()

SHARED_WITH_PINT = [
    "mg/L", "L/h", "1/min", "kg/h", "kg/(m**3*s)", "mL/min/kg", "kN", "N/mm**2", "MPa", "mmHg",
    "kJ/(mol*K)", "W/m**2/K", "umol/L", "nmol", "psi", "atm", "mPa*s", "cP", "kcal/mol", "ug/mL",
    "km/h", "um", "degree", "week", "year", "kDa", "mCi", "MBq", "mmol/(L*min)", "m**0.5",
]  # fmt: skip


@pytest.mark.parametrize("text", SHARED_WITH_PINT)
def test_scales_agree_with_pint(text):
    ours = unit(text.replace("degree", "deg"))

    theirs = REGISTRY.Quantity(1.0, text).to_base_units()

    expected = theirs.magnitude * (1e-3 if "g" == str(theirs.units) else 1.0)
    assert ours.scale == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("% w/w", 0.01),
        ("% (w/w)", 0.01),
        ("% w/v", 10.0),
        ("mEq/L", 1.0),
        ("rpm", 1 / 60),
        ("tablet/h", 1 / 3600),
        ("10^6 cell/mL", 1e12),
        ("mL/min/1.73m2", 1e-6 / 60 / 1.73),
        ("m²", 1.0),
        ("s⁻¹", 1.0),
        ("min-1", 1 / 60),
        ("", 1.0),
    ],
)
def test_units_of_the_trade(text, scale):
    assert unit(text).scale == pytest.approx(scale, rel=1e-12)


def test_counts_are_dimensions_of_their_own():
    assert not unit("tablet/h").same_dimension(unit("1/h"))
    assert not unit("rpm").same_dimension(unit("1/min"))
    assert unit("rpm").same_dimension(unit("rev/s"))
    assert not unit("IU").same_dimension(unit("mg"))


def test_temperatures_are_points_and_differences():
    assert to_si(25.0, "degC") == pytest.approx(298.15)
    assert from_si(298.15, "degF") == pytest.approx(77.0)
    assert unit("degC").is_temperature_point
    assert to_si(25.0, unit("degC").difference) == 25.0
    assert to_si(9.0, unit("degF").difference) == pytest.approx(5.0)
    assert unit("kJ/degC").offset == 0.0


@pytest.mark.parametrize(
    ("text", "hint"),
    [("mgg", "mg"), ("U/L", "IU"), ("C", "degC"), ("lieter", "liter"), ("kg/", "galenic.units")],
)
def test_an_unknown_unit_is_named_with_close_matches(text, hint):
    with pytest.raises(UnitError) as caught:
        unit(text)

    assert "unknown unit" in caught.value.found
    assert hint in caught.value.hint


@pytest.mark.parametrize("text", ["(kg", "kg&", "kg)", "m^", "kg -"])
def test_text_that_is_no_unit_is_refused(text):
    with pytest.raises(UnitError):
        unit(text)


def test_mass_and_amount_need_a_named_substance():
    glucose = Substance("glucose", "180.156 g/mol")

    with pytest.raises(UnitError, match="cannot convert") as caught:
        convert(1.0, "mg/L", "mmol/L")

    assert "Substance" in caught.value.hint
    assert convert(180.156, "mg/L", "mmol/L", glucose) == pytest.approx(1.0)
    assert convert(1.0, "mol", "g", glucose) == pytest.approx(180.156)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20min", 1200), ("8 h", 28800), ("1:30", 5400), ("0:01:30", 90), (5, 5), ("2", 2)],
)
def test_durations(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["1:x", "5 kg", "soon", "1:2:3:4"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(UnitError):
        duration(text)


def test_values_may_carry_a_unit_or_count_in_the_declared_one():
    assert value_in("10 L/h", "L/min") == pytest.approx(10e-3 / 3600)
    assert value_in(Quantity(10.0, unit("L/h")), "L/min") == pytest.approx(10e-3 / 3600)
    assert value_in(10.0, "L/h") == pytest.approx(10e-3 / 3600)
    with pytest.raises(UnitError, match=r"\[kg\] to \[L\]"):
        value_in("1 kg", "L")


def test_quantities_convert_and_print():
    assert quantity("1.5 h").to("min").value == pytest.approx(90)
    assert str(quantity("2.5 mg")) == "2.5 mg"
    assert quantity("-1e-3 mg").value == -1e-3


def test_a_missing_factor_is_named():
    assert "left term lacks a division by a volume" in lacking(unit("mol"), unit("mol/L"))
    assert "right term lacks a division by a time" in lacking(unit("mol/s"), unit("mol"))
    assert lacking(unit("mol"), unit("kg*K")) == ""
    assert dimension_name(unit("mg/h").dimension) == "mass flow"


names = st.sampled_from(sorted({"kg", "mg", "L", "mL", "min", "h", "mol", "m", "s", "tablet", "K"}))
exponents = st.sampled_from([-2, -1, 1, 2, 0.5])


@given(st.lists(st.tuples(names, exponents), min_size=1, max_size=4))
def test_what_is_combined_can_be_read_back(factors):
    made = unit("1")
    for name, exponent in factors:
        made = made * unit(name) ** exponent

    again = pickle.loads(pickle.dumps(made))

    assert again.dimension == made.dimension
    if len(made.symbols) <= 6:
        assert again.scale == pytest.approx(made.scale, rel=1e-9)


@given(names, names, names)
def test_unit_algebra_has_its_laws(a, b, c):
    a, b, c = unit(a), unit(b), unit(c)

    assert (a * b).dimension == (b * a).dimension
    assert ((a * b) * c).dimension == (a * (b * c)).dimension
    assert (a / b * b).dimension == a.dimension
    assert (a * b / b).scale == pytest.approx(a.scale)
    assert ((a**2) ** 0.5).dimension == a.dimension


@given(st.floats(-1e6, 1e6), st.sampled_from(["degC", "degF", "mg/L", "kN", "rpm"]))
def test_to_si_and_back(value, text):
    assert from_si(to_si(value, text), text) == pytest.approx(value, abs=1e-9)


def test_every_known_symbol_can_be_read():
    for symbol in known_symbols():
        assert unit(symbol).text
