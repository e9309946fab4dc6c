"""What acts on clearance: against the covariate that does the same, and algebra by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from galenic.errors import DataError, UnknownName
from galenic.library.patient.clearance import (
    ClearanceEffect,
    changed,
    combined,
    of_phenotype,
    reported,
)
from galenic.library.patient.genes import phenotype
from galenic.library.pk.populations import population
from galenic.stages.clinical.case import of_tables
from galenic.stages.clinical.services import (
    advise_dose,
    fit_patient,
    forecast_levels,
    next_level,
)

DOSES = "time,amount,duration\n0,1900,1\n22.2,1750,1"
LEVELS = "time,level\n12,14.8\n37.5,22.5"
PERSON = {"covariates": {"CLcr": "34 mL/min", "weight": "62 kg"}}
TOLD = PERSON | {"doses": DOSES, "levels": LEVELS}
HEAD = "cause,measure,ratio,cv,source\n"
SI = {
    "vancomycin": {"CLcr": 50 / 6e7, "weight": 62.0},
    "gentamicin": {"CLcr": 50 / 6e7, "weight": 62.0},
    "tobramycin": {"CLcr": 50 / 6e7, "weight": 62.0},
    "infliximab": {"weight": 62.0, "albumin": 41.0, "antibodies": 0.0, "female": 1.0},
}


def acting(ratio=2.0, cv=0.0, measure="CL ratio", cause="filter"):
    return f"{HEAD}{cause},{measure},{ratio},{cv},a study"


def parameters(result):
    return {c.name: list(c.data) for c in result.tables[0].columns}


def test_a_factor_on_clearance_is_the_same_as_the_kidney_function_that_gives_it():
    # CL goes with CLcr^0.8 and nothing else does, so 2^(1/0.8) times CLcr doubles CL alone
    kidneys = {"CLcr": f"{34 * 2**1.25} mL/min", "weight": "62 kg"}
    fitted = parameters(fit_patient(**TOLD, effects=acting()))
    oracle = parameters(fit_patient(**TOLD | {"covariates": kidneys}))

    assert fitted["typical"][0] == pytest.approx(2 * 4.5 * (34 / 120) ** 0.8, rel=1e-12)
    for name in ("estimate", "lower", "upper", "typical"):
        assert fitted[name] == pytest.approx(oracle[name], rel=1e-6)


@pytest.mark.parametrize("drug", SI)
def test_without_levels_the_belief_is_the_population_moved_and_widened(drug):
    path = {"tobramycin": "ke"}.get(drug, "CL")
    effect = ClearanceEffect("filter", 0.6, 0.4, "a study")
    plain, moved = (of_tables(drug, SI[drug], effects=e) for e in ((), (effect,)))
    sd = next(t.sd for t in population(drug).between if t.parameter == path)

    shown = [c.estimator.observe(c.belief, [f"individual.{path}"]) for c in (plain, moved)]
    before, after = (s[f"individual.{path}"][0] for s in shown)
    assert after == pytest.approx(0.6 * before, rel=1e-9)
    low, high = moved.belief.interval(path)
    width = math.log(high / low) / (2 * 1.6448536269514722)
    assert width == pytest.approx(math.sqrt(sd**2 + math.log(1.16)), rel=1e-6)
    assert not moved.informed


def test_the_first_dose_scales_with_clearance():
    # in steady state AUC24 = daily dose / CL; half-lives of some draws reach a
    # week, so that 30 days leave 1.4 % (and 60 days 0.5 %)
    asked = PERSON | {
        "without_levels": True,
        "course": "30 d",
        "intervals": ["24 h"],
        "dose_step": 50,
    }
    plain, half = (
        advise_dose(**asked, effects=e) for e in (None, acting(2.0, measure="AUC ratio"))
    )
    name = "dose for the middle of the target"
    assert half[name] == pytest.approx(plain[name] / 2, rel=2e-2)
    assert half["dose"] == plain["dose"] / 2


def test_with_levels_the_estimate_lies_between_them_and_the_moved_population():
    typical = 2 * 4.5 * (34 / 120) ** 0.8
    told = fit_patient(**TOLD)["CL"]
    sure, doubted, open_ = (
        fit_patient(**TOLD, effects=acting(2.0, cv))["CL"] for cv in (0, 0.5, 2)
    )

    assert told < open_ < doubted < sure < typical


def test_a_variance_that_is_added_leaves_covariances_as_they_are():
    one = replace(population("vancomycin"), correlations={("CL", "V1"): 0.5})
    more = changed(one, "CL", [ClearanceEffect("filter", 1.5, 0.3, "a study")])

    expected = one.omega.copy()
    expected[0, 0] += math.log(1.09)
    assert np.allclose(more.omega, expected, rtol=1e-12)


def test_factors_multiply_and_variances_of_logarithms_add():
    factor, cv = combined(
        [ClearanceEffect("a", 2.0, 0.3, "s"), reported("b", "AUC ratio", 4.0, 0.4, "s")]
    )
    assert factor == 0.5
    assert cv == pytest.approx(math.sqrt(1.09 * 1.16 - 1))


def test_a_phenotype_acts_by_its_activity_score():
    one = of_phenotype(phenotype("CYP2C9", "*1/*3"), 0.8, 0.2, "a study")
    assert one.factor == pytest.approx(1 - 0.8 * (1 - 1.0 / 2))
    with pytest.raises(DataError, match="no activity score"):
        of_phenotype(phenotype("CYP2C19", "*2/*2"), 0.8, 0.2, "a study")


@pytest.mark.parametrize("ask", [fit_patient, forecast_levels, next_level, advise_dose])
def test_every_answer_shows_what_acts_with_its_source(ask):
    told = TOLD | {"drug": "gentamicin"} | {"levels": "time,level\n12,4\n37.5,3"}
    told |= {"doses": "time,amount,duration\n0,300,0.5\n24,300,0.5"}
    result = ask(**told, effects=acting(0.8, 0.2, cause="vancomycin"))

    assert "times 0.8 (CV 20 %)" in result.text
    assert "vancomycin 0.8 (a study)" in result.text
    assert "Listed interaction of gentamicin and vancomycin: kidney injury" in result.text
    table = next(t for t in result.tables if t.title == "effects on clearance")
    assert list(table.rows()) == [("vancomycin", 0.8, 20.0, "a study")]
    without = ask(**told)
    assert "clearance times" not in without.text
    assert "effects on clearance" not in [t.title for t in without.tables]


@pytest.mark.parametrize(
    ("row", "error", "why"),
    [
        ("filter,fold,2,0.1,a study", UnknownName, "no measure 'fold'"),
        ("filter,CL ratio,0,0.1,a study", DataError, "ratio of 0"),
        ("filter,CL ratio,2,30,a study", DataError, "CV of 30"),
        ("filter,CL ratio,200,0.3,a study", DataError, "factor of 200"),
        (",CL ratio,2,0.3,a study", DataError, "no cause"),
        ("filter,CL ratio,2,0.3,", DataError, "no source"),
        ("filter,CL ratio,2,-0.1,a study", DataError, "CV of -0.1"),
    ],
)
def test_an_effect_that_is_not_whole_is_refused_by_its_row(row, error, why):
    with pytest.raises(error, match=why) as caught:
        fit_patient(**TOLD, effects=HEAD + "dialyser,CL ratio,1.1,0.1,a study\n" + row)
    assert "row 2" in str(caught.value)


def test_a_cause_counts_once():
    twice = f"{acting()}\nFilter,CL ratio,2,0.1,a study"
    with pytest.raises(DataError, match="told 2 times"):
        fit_patient(**TOLD, effects=twice)
