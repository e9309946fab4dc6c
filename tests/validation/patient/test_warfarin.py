"""Doses of warfarin by genotype: effects as their papers print them."""

from __future__ import annotations

import pytest

from galenic.errors import DataError, UnknownName
from galenic.library.patient.warfarin import gage_daily_dose
from galenic.stages.clinical.services import warfarin_dose

USUAL = {"age": 60, "surface": 1.8, "vkorc1": "GG", "cyp2c9": "*1/*1"}
TOLD = {
    "age": "60 year", "height": "170 cm", "weight": "70 kg", "vkorc1": "AG", "cyp2c9": "*1/*3"
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "percent"),
    [
        ({"vkorc1": "AG"}, -28), ({"surface": 2.05}, 11), ({"cyp2c9": "*1/*3"}, -33),
        ({"cyp2c9": "*1/*2"}, -19), ({"age": 70}, -7), ({"target": 3.0}, 11),
        ({"amiodarone": True}, -22), ({"smoker": True}, 10), ({"african_american": True}, -9),
        ({"thrombosis": True}, 7),
    ],
)  # fmt: skip
def test_each_effect_of_gage_is_the_percentage_of_the_abstract(changed, percent):
    """Gage et al. 2008, abstract: whole percents, so half a percent either way."""
    ratio = gage_daily_dose(**USUAL | changed) / gage_daily_dose(**USUAL)

    assert 100 * (ratio - 1) == pytest.approx(percent, abs=0.51)


def test_two_alleles_count_twice():
    one, two = (gage_daily_dose(**USUAL | {"cyp2c9": p}) for p in ("*1/*3", "*3/*3"))

    assert two / one == pytest.approx(one / gage_daily_dose(**USUAL))


def test_both_equations_stand_side_by_side():
    """Two regressions on different patients; they should agree better than patients do, 20 %."""
    result = warfarin_dose(**TOLD)

    assert result["Gage"] == pytest.approx(result["IWPC"], rel=0.2)
    assert result["Gage"] == pytest.approx(
        7 * gage_daily_dose(60, (170 * 70 / 3600) ** 0.5, "AG", "*1/*3"), rel=1e-9
    )


@pytest.mark.parametrize(
    ("changed", "left", "why"),
    [
        ({"vkorc1": "unknown"}, "IWPC", "a genotype is unknown"),
        ({"inducer": True}, "IWPC", "an inducer is taken"),
        ({"target_inr": 3.5}, "Gage", "INR from 2 to 3"),
    ],
)
def test_an_equation_outside_of_its_patients_is_not_given(changed, left, why):
    result = warfarin_dose(**TOLD | changed)

    assert list(result.values) == [left]
    assert why in result.text


def test_unknown_alleles_and_impossible_persons_are_refused():
    with pytest.raises(UnknownName, match="CYP2C9"):
        warfarin_dose(**TOLD | {"cyp2c9": "*1/*99"})
    with pytest.raises(DataError, match="age"):
        gage_daily_dose(0, 1.8, "GG", "*1/*1")
