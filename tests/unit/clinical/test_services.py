"""The clinical services on tables, and what they refuse."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from galenic.errors import DataError, ModelError
from galenic.library.pk.populations import population
from galenic.stages.clinical.case import of_tables, of_twin
from galenic.stages.clinical.practice import PRACTICE
from galenic.stages.clinical.services import (
    advise_dose,
    fit_patient,
    fit_record,
    forecast_levels,
    gene_phenotypes,
    next_level,
)
from galenic.stages.clinical.shown import LABEL
from galenic.stages.clinical.twin import DEFINITIONS, gentamicin_patient, patient
from galenic.twin.example import tank
from galenic.twin.level import Level
from galenic.twin.result import Column, Table
from galenic.twin.twin import Twin

DOSES = "time,amount,duration\n0,1900,1\n22.2,1750,1"
LEVELS = "time,level\n12,14.8\n37.5,22.5"
PERSON = {"covariates": {"CLcr": "34 mL/min", "weight": "62 kg"}}
TOLD = PERSON | {"doses": DOSES, "levels": LEVELS}


def columns(table):
    return {c.name: list(c.data) for c in table.columns}


def test_fit_shows_the_individual_beside_the_typical_one():
    result = fit_patient(**TOLD)

    rows = columns(result.tables[0])
    assert rows["parameter"] == ["CL", "V1", "V2"]
    assert rows["estimate"] == pytest.approx([1.7209, 59.78, 41.56], abs=0.005)
    assert rows["typical"] == pytest.approx([4.5 * (34 / 120) ** 0.8, 58.4 * 62 / 70, 38.4])
    assert np.log(rows["estimate"][0] / rows["typical"][0]) == pytest.approx(rows["eta"][0])
    low, high = result.values["CL"].lower, result.values["CL"].upper
    assert low * high == pytest.approx(result["CL"] ** 2)  # an interval on the log scale
    levels = columns(result.tables[1])
    assert levels["measured"] == [14.8, 22.5]
    sd = 3.4 + 0.227 * np.array(levels["fitted"])
    residual = (np.array(levels["measured"]) - levels["fitted"]) / sd
    assert levels["residual"] == pytest.approx(residual, rel=1e-6)
    assert result.text.startswith(LABEL)
    assert "doi:" in result.text


def test_the_posterior_in_full_moves_intervals_and_says_what_it_is_worth():
    normal, full = fit_patient(**TOLD), fit_patient(**TOLD, posterior="full")

    assert full["CL"] == normal["CL"]  # the mode stays the estimate
    assert full.values["V1"].upper < 0.95 * normal.values["V1"].upper
    assert "Posterior in full: 2000 draws, worth 1" in full.text


def test_advice_draws_from_the_posterior_in_full():
    """Mean and sd of log CL among the draws are those of the weighted posterior."""
    case = fit_case().in_full(np.random.default_rng(1))
    at = case.full.names.index("CL")
    logs = np.log(case.full.members[:, at])
    mean = case.full.weights @ logs
    sd = np.sqrt(case.full.weights @ (logs - mean) ** 2)

    drawn = np.log(case.draws(4000, np.random.default_rng(2))[:, at])

    assert abs(drawn.mean() - mean) < 4 * sd / np.sqrt(4000)
    assert drawn.std() == pytest.approx(sd, rel=0.05)


def fit_case():
    doses = Table(
        "doses",
        (Column("time", [0.0, 22.2], "h"), Column("amount", [1900.0, 1750.0], "mg"),
         Column("duration", [1.0, 1.0], "h")),
    )  # fmt: skip
    levels = Table(
        "levels", (Column("time", [12.0, 37.5], "h"), Column("level", [14.8, 22.5], "mg/L"))
    )
    return of_tables("vancomycin", {"CLcr": 34.0 / 6e7, "weight": 62.0}, doses, levels)


def test_the_estimated_course_passes_near_the_levels():
    (plot,) = fit_patient(**TOLD).plots

    series = {s.name: s for s in plot.y}
    measured = [i for i, v in enumerate(series["level"].data) if v is not None]
    assert [plot.x.data[i] for i in measured] == [12, 37.5]
    for i in measured:
        assert series["estimated"].lower[i] < series["level"].data[i] < series["estimated"].upper[i]
    assert plot.x.data == sorted(plot.x.data)


def test_usual_targets_are_multiplied_by_the_mic():
    one, two = (advise_dose(**TOLD, next_dose="46 h", mic=mic) for mic in (1.0, 1.5))

    assert 400 < one["AUC24"] < 600
    aims = [r["dose for the middle of the target"] / r["dose"] * r["AUC24"] for r in (one, two)]
    assert aims[1] > 1.3 * aims[0]


def test_given_targets_doses_and_intervals_replace_the_usual_ones():
    result = advise_dose(
        **TOLD, next_dose="46 h", trough_low=10, trough_high=20, dose_step=100, largest_dose=600,
        intervals=["12 h"], infusions=["1 h"],
    )  # fmt: skip

    assert result["interval"] == 12
    assert result["infusion"] == 1
    assert result["dose"] in (100, 200, 300, 400, 500, 600)
    assert 10 < result["trough"] < 20


def test_equal_questions_get_equal_answers():
    first, second = (advise_dose(**TOLD, next_dose="46 h") for _ in range(2))

    assert first.to_dict() == second.to_dict()


def test_an_infusion_that_runs_is_waited_for():
    result = advise_dose(**PERSON, doses="time,amount,duration\n0,1500,2", without_levels=True)

    predicted = next(s for s in result.plots[0].y if s.name == "predicted")
    first = next(i for i, v in enumerate(predicted.data) if v is not None)
    assert result.plots[0].x.data[first] == 2


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"levels": None}, "no level was measured yet"),
        (
            {"covariates": {"CLcr": "34 mL/min", "weight": "250 kg"}},
            "outside of the population (35 to 180 kg)",
        ),
        ({"levels": "time,level\n12,149\n13,0.5"}, "sd from its fit"),
        ({"auc_low": 400, "auc_high": 401}, "no regimen meets the targets"),
    ],
)
def test_advice_is_refused_with_the_reason(changes, why):
    result = advise_dose(**(TOLD | changes), next_dose="46 h")

    assert not result.ok
    assert "No advice" in result.text
    assert why in result.text
    assert "regimen" not in result.values


def test_a_first_dose_by_covariates_is_possible_when_asked_for():
    result = advise_dose(**PERSON, without_levels=True)

    assert result.ok
    assert result.values["uncertainty"].value > 25


def test_gentamicin_is_dosed_by_peak_and_trough():
    result = advise_dose(
        covariates={"CLcr": "68 mL/min", "weight": "63 kg"}, drug="gentamicin",
        doses="time,amount,duration\n0,180,0.5", levels="time,level\n1,9\n11,2",
    )  # fmt: skip

    assert result.ok
    assert 8 < result["peak"] < 20
    assert result["trough"] < 1
    assert "Xuan" in result.text


def test_forecast_of_planned_doses():
    result = forecast_levels(**TOLD, planned="time,amount,duration\n2,750,1\n14,750,1")

    rows = columns(result.tables[0])
    assert rows["ahead"][-1] == 48
    middle = dict(zip(rows["ahead"], rows["level"], strict=True))
    assert middle[3.0] > middle[2.0]
    assert middle[15.0] > middle[14.0]


@pytest.mark.parametrize(
    ("call", "changes", "message"),
    [
        (fit_patient, {"levels": "time,level\n12,1480"}, "outside 0 to 150"),
        (fit_patient, {"doses": "time,amount,duration\n0,-5,1"}, "a dose of -5"),
        (fit_patient, {"doses": "time,amount,duration\n0,5,-1"}, "a duration of -3600"),
        (advise_dose, {"next_dose": "30 h"}, "30 h"),
        (advise_dose, {"covariates": None}, "neither a twin nor a patient"),
        (advise_dose, {"covariates": {"CLcr": "34 mL/min"}}, "weight not told"),
        (forecast_levels, {"planned": "time,amount,duration\n49,750,1"}, "a dose at 49 h"),
    ],
)
def test_wrong_tables_name_the_row(call, changes, message):
    with pytest.raises(DataError, match=message) as caught:
        call(**(TOLD | changes))

    assert caught.value.where


@pytest.mark.parametrize("told", [{"CLcr": "34 kg", "weight": "62 kg"}, {"clearance": 34}])
def test_covariates_that_make_no_sense_are_refused(told):
    with pytest.raises(ModelError, match=r"kg|clearance"):
        fit_patient(**(TOLD | {"covariates": told}))


@pytest.mark.parametrize("drug", DEFINITIONS)
def test_definitions_fit_their_models(drug):
    definition = DEFINITIONS[drug]()

    definition.check({c.name: c.value for c in population(drug).covariates})

    assert definition.identity() == DEFINITIONS[drug]().identity()
    assert not any(b.writable for b in definition.bindings)


def test_only_a_patient_can_be_advised():
    twin = Twin(tank(), "tank-1", start=0)

    with pytest.raises(DataError, match="'tank-1' is a"):
        of_twin(twin, 10)


def test_a_live_twin_and_tables_agree():
    levels = Table("", (Column("time", [1.0], "h"), Column("level", [5.0], "mg/L")))
    doses = Table(
        "",
        (
            Column("time", [0.0], "h"),
            Column("amount", [180.0], "mg"),
            Column("duration", [0.5], "h"),
        ),
    )
    case = of_tables("gentamicin", {"CLcr": 60.0, "weight": 70.0}, doses, levels, 7200.0)
    twin = Twin(
        gentamicin_patient(), "bed-1", {"CLcr": 60.0, "weight": 70.0}, start=0, level=Level.SHADOW
    )
    assert of_twin(twin, 0).levels == ()
    assert case.hours(case.belief.time) == 2
    assert case.levels[0][1] == pytest.approx(5e-3)
    assert len(case.doses) == 1


def test_no_dose_and_no_level_give_no_past():
    twin = Twin(patient(), "bed-1", start=0, level=Level.SHADOW)

    assert of_twin(twin, 10).past() is None


def test_practice_keeps_to_its_own_limits():
    usual = PRACTICE["vancomycin"]

    assert usual.amounts(250.0, 1000.0) == ["250 mg", "500 mg", "750 mg", "1000 mg"]
    (target,) = usual.wanted({"AUC24": (None, None)}, 2.0)
    assert target.bounds == pytest.approx((800 * 3.6, 1200 * 3.6))


def given(hours, amount, length):
    start, end = (
        datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=h) for h in (hours, hours + length)
    )
    return {
        "resourceType": "MedicationAdministration", "id": f"a{hours}", "status": "completed",
        "medicationCodeableConcept": {"coding": [{
            "system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "11124"}]},
        "effectivePeriod": {"start": start.isoformat(), "end": end.isoformat()},
        "dosage": {"dose": {"value": amount, "code": "mg"}},
    }  # fmt: skip


def observed(code, hours, value, unit, **changes):
    time = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=hours)
    return {
        "resourceType": "Observation", "id": f"{code} {hours}", "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "effectiveDateTime": time.isoformat(), "valueQuantity": {
            "value": value, "system": "http://unitsofmeasure.org", "code": unit} | changes,
    }  # fmt: skip


def record(*more, creatinine=1.3):
    person = {"resourceType": "Patient", "id": "p", "gender": "male", "birthDate": "1946-01-01"}
    resources = [
        person, given(0, 1900, 1), given(22.2, 1750, 1), observed("29463-7", -24, 62, "kg"),
        observed("2160-0", -24, creatinine, "mg/dL"), observed("20578-1", 12, 14.8, "mg/L"),
        observed("20578-1", 37.5, 22.5, "ug/mL"), *more,
    ]  # fmt: skip
    entries = [{"resource": r} for r in resources]
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
    content = base64.b64encode(json.dumps(bundle).encode()).decode()
    return {"name": "record.json", "content": content}


def test_a_record_gives_the_same_fit_as_its_tables():
    clcr = (140 - 80) * 62 / (72 * 1.3)

    told = fit_patient(**TOLD | {"covariates": {"CLcr": clcr, "weight": 62}})
    read = fit_record(record=record())

    assert read["CLcr"] == pytest.approx(clcr)
    for name in ("CL", "V1", "V2"):
        assert read[name] == pytest.approx(told[name], rel=1e-9)


def test_levels_of_a_record_that_cannot_be_used_are_named():
    early = observed("20578-1", -1, 3.0, "mg/L")
    low = observed("20578-1", 40, 2.0, "mg/L", comparator="<")

    found = fit_record(record=record(early, low))

    doubts = columns(next(t for t in found.tables if t.title == "doubts"))
    assert doubts["found"] == ["a level before any dose", "< 2 mg/L"]
    assert found["CL"] == pytest.approx(fit_record(record=record())["CL"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({**given(30, 1000, 1), "effectivePeriod": None,
          "effectiveDateTime": "2026-03-02T06:00:00Z"}, "without end"),
        ({**given(30, 1000, 1), "dosage": {"dose": {"value": 1, "code": "mL"}}}, "a dose in mL"),
        ({**given(30, 1000, 1), "dosage": {}}, "without amount"),
    ],
)  # fmt: skip
def test_doses_of_a_record_that_are_not_clear_are_refused(more, message):
    with pytest.raises(DataError, match=message):
        fit_record(record=record(more))


def test_phenotypes_are_told_for_each_gene():
    found = gene_phenotypes(diplotypes=["CYP2C19 *1/*2", "CYP2D6 *1x2/*1"])

    assert found["CYP2C19"] == "Intermediate Metabolizer"
    assert columns(found.tables[0])["activity score"] == [None, 3.0]


def test_tobramycin_has_the_individual_of_monolix():
    found = fit_patient(
        covariates={"CLcr": 80, "weight": 65}, drug="tobramycin",
        doses="time,amount,duration\n0,500,0.5", levels="time,level\n1,25\n14,5.5",
    )  # fmt: skip

    assert found["ke"] == pytest.approx(0.12582, abs=5e-6)
    assert found["V1"] == pytest.approx(18.213, abs=5e-4)


def test_antibodies_against_infliximab_are_a_covariate_of_the_record():
    person = record(observed("1751-7", -24, 4.1, "g/dL"))

    with pytest.raises(DataError, match="no administration of infliximab"):
        fit_record(record=person, drug="infliximab", covariates={"antibodies": 1})


def test_the_advised_level_removes_as_much_doubt_as_was_said():
    """A level as expected is really taken, at the best time and at a bad one."""
    told = TOLD | {"levels": "time,level\n12,14.8"}
    planned = "time,amount,duration\n1,1000,1"
    answer = next_level(**told, planned=planned, horizon="24 h", every="1 h")

    table = columns(answer.tables[0])
    assert table["doubt left"] == sorted(table["doubt left"])
    assert answer["doubt left"] < answer["doubt now"]

    curve = dict(zip(answer.plots[0].x.data, answer.plots[0].y[0].data, strict=True))
    start = 22.2 + 1  # of the axis of the tables: the last infusion's end
    spreads = {}
    for hours in (answer["best time"], 1.0):
        forecast = forecast_levels(**told, planned=planned, horizon="24 h")
        rows = columns(forecast.tables[0])
        level = dict(zip(rows["ahead"], rows["level"], strict=True))[hours]
        doses = "\n".join(
            ["time,amount,duration", "0,1900,1", "22.2,1750,1", f"{start + 1},1000,1"]
        )
        again = fit_patient(
            **PERSON, doses=doses, levels=f"time,level\n12,14.8\n{start + hours},{level}"
        )
        value = again.values["CL"]
        spreads[hours] = 100 * np.log(value.upper / value.lower) / (2 * 1.645)
    best = answer["best time"]
    assert spreads[best] == pytest.approx(curve[best], rel=0.15)
    assert spreads[best] < spreads[1.0]


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"doses": DOSES + "\n22.2,1750,1"}, "doses, row 3 repeats row 2: counted twice"),
        ({"levels": "time,level\n12,14.8\n37.5,22.5\n37.5,22.5"}, "levels, row 3 repeats row 2"),
        ({"doses": "time,amount,duration\n13,1900,1"}, "levels, row 1 is before the first dose"),
    ],
)
def test_odd_rows_are_named_and_stand_in_the_way_of_advice(changes, flag):
    told = TOLD | changes

    assert f"unusual: {flag}" in fit_patient(**told).text
    refused = advise_dose(**told, next_dose="46 h")
    assert not refused.ok
    assert flag in refused.text


def test_the_order_of_rows_does_not_matter():
    turned = {"doses": "time,amount,duration\n22.2,1750,1\n0,1900,1"}

    assert fit_patient(**(TOLD | turned))["CL"] == pytest.approx(
        fit_patient(**TOLD)["CL"], rel=1e-9
    )
