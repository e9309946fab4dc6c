"""Kidney function, pharmacogenes and the records of three synthetic persons."""

from __future__ import annotations

import csv

import pytest

from galenic.connect.fhir.reading import read_chart
from galenic.errors import DataError, UnknownName
from galenic.library.patient import body
from galenic.library.patient.genes import phenotype, read_alleles, shipped
from galenic.stages.clinical.charted import derived, report


@pytest.mark.parametrize(
    ("name", "age", "weight", "clearance", "rate", "conflicts"),
    [
        ("derek_becker", 56, 92.6928, 100.00, 80.414, 0),
        ("reyna_ziemann", 45, 77.8526, 100.037, 83.355, 1),
        ("rudolf_weber", 32, 90.9967, 100.00, 70.600, 0),
    ],
)
def test_records_give_the_values_of_case_v16(
    shared_data, name, age, weight, clearance, rate, conflicts
):
    chart = read_chart(shared_data / "fhir-r4-synthea" / f"{name}.json")

    values, flags = derived(chart)
    assert values["age"].value == age
    assert values["weight"].value == pytest.approx(weight, abs=5e-5)
    assert values["CLcr"].value == pytest.approx(clearance, abs=5e-3)
    assert values["eGFR"].value == pytest.approx(rate, abs=5e-4)
    assert len(flags) == conflicts


def test_a_record_raises_the_interactions_of_its_drugs(shared_data):
    result = report(read_chart(shared_data / "fhir-r4-synthea/derek_becker.json"))

    alerts = next(t for t in result.tables if t.title == "interaction alerts")
    assert list(zip(alerts["first"], alerts["second"], strict=True)) == [
        ("digoxin", "verapamil"), ("naproxen", "warfarin")
    ]  # fmt: skip


def test_every_pair_of_functions_has_the_phenotype_of_pharmcat(shared_data):
    folder = shared_data / "pgx"
    with (folder / "allele_function.csv").open(encoding="utf-8") as file:
        table = read_alleles(file)
    by_function: dict[tuple[str, str], str] = {}
    for (gene, name), allele in table.items():
        by_function.setdefault((gene, allele.function), name)
    with (folder / "function_pair_to_phenotype.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["gene"] != "VKORC1"]

    for row in rows:
        words = [w.lower().removesuffix(" function") for w in row["function_pair"].split(" + ")]
        pair = "/".join(by_function[row["gene"], word] for word in words)
        found = phenotype(row["gene"], pair, table)
        assert (found.phenotype, found.gene) == (row["phenotype"], row["gene"]), row
        if row["activity_score"] not in {"", "n/a"}:
            assert found.activity == float(row["activity_score"])
    assert len(rows) == 98


def test_the_alleles_that_ship_agree_with_pharmcat(shared_data):
    with (shared_data / "pgx/allele_function.csv").open(encoding="utf-8") as file:
        full = read_alleles(file)

    for key, allele in shipped().items():
        if key[0] != "CYP2D6":
            assert (allele.function, allele.activity) == (full[key].function, full[key].activity)


@pytest.mark.parametrize(
    ("pair", "activity", "name"),
    [
        ("*4/*5", 0.0, "Poor"), ("*4/*41", 0.25, "Intermediate"), ("*1/*4", 1.0, "Intermediate"),
        ("*1/*41", 1.25, "Normal"), ("*1x2/*10", 2.25, "Normal"), ("*1x2/*1", 3.0, "Ultrarapid"),
        ("*36+*10/*1", 1.25, "Normal"),
    ],
)  # fmt: skip
def test_copies_and_tandems_of_cyp2d6_add_up(pair, activity, name):
    found = phenotype("CYP2D6", pair)

    assert (found.activity, found.phenotype) == (activity, f"{name} Metabolizer")


def test_the_two_weakest_variants_of_dpyd_count():
    assert phenotype("DPYD", "Reference/c.2846A>T/*2A").activity == 0.5


@pytest.mark.parametrize(
    ("pair", "error"), [("*1/*99", UnknownName), ("*1", DataError), ("*1xN/*2", DataError)]
)
def test_nothing_is_guessed_about_alleles(pair, error):
    with pytest.raises(error):
        phenotype("CYP2D6", pair)


def test_kidney_formulas_have_their_reference_values():
    # CKD-EPI 2021 at creatinine kappa and age a is 142 0.9938^a (1.012 for women)
    assert body.ckd_epi_2021(50, 0.9, "male") == pytest.approx(142 * 0.9938**50)
    assert body.ckd_epi_2021(50, 0.7, "female") == pytest.approx(142 * 0.9938**50 * 1.012)
    assert body.cockcroft_gault(40, 72, 1.0, "male") == pytest.approx(100.0)
    assert body.cockcroft_gault(40, 72, 1.0, "female") == pytest.approx(85.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: body.ckd_epi_2021(12, 0.5, "male"),
        lambda: body.cockcroft_gault(40, -1, 1.0, "male"),
        lambda: body.cockcroft_gault(40, 70, 1.0, "other"),  # type: ignore[arg-type]
    ],
)
def test_formulas_refuse_what_they_were_not_made_for(call):
    with pytest.raises(DataError):
        call()
