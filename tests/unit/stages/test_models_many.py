"""Populations and sensitivity as services, on the model of the README."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from galenic.errors import DataError, UnitError, UnknownName
from galenic.stages.models.services import population, sensitivity
from galenic.twin.arguments import ArgumentError
from galenic.twin.result import Column, Table
from galenic.twin.service import Cancelled, File, Run

OWN = str(Path(__file__).parents[3] / "examples" / "own_model.py")


def concentration(t, CL, V, ka=4.0, dose=95.0):
    """Bateman function of caffeine [mg/L], t in h."""
    k = CL / V
    return dose * ka / (V * (ka - k)) * (np.exp(-k * t) - np.exp(-ka * t))


def people(text):
    return File("people.csv", text.encode())


def test_a_file_of_individuals_is_simulated():
    file = people("CL [mL/min],V\n100,40\n50,30 L\n")

    found = population(OWN, individuals=file, duration="6 h", every="3 h", outputs=["C"])

    each = [concentration(6.0, 6.0, 40.0), concentration(6.0, 3.0, 30.0)]
    assert_allclose(found["C"], np.median(each), rtol=1e-5)
    assert found["individuals"] == 2
    table = next(table for table in found.tables if table.title == "C")
    assert [column.name for column in table.columns][:4] == ["time", "mean", "sd", "5 %"]
    assert_allclose(table["mean"][-1], np.mean(each), rtol=1e-5)
    assert_allclose(table["time"], [0, 3, 6])


def test_the_bands_are_plots_and_the_numbers_files():
    found = population(OWN, spread={"CL": 0.3}, count=64, duration="6 h", every="1 h")

    plot = found.plots[0]
    assert plot.title == "C [mg/L]"
    assert [series.name for series in plot.y] == ["5 to 95 %", "25 to 75 %"]
    assert (np.array(plot.y[0].lower) <= np.array(plot.y[1].lower)).all()
    table, values = found.artefacts
    rows = pd.read_csv(io.BytesIO(table.data))
    assert list(rows.columns)[:3] == ["individual", "CL [L/h]", "status"]
    assert_allclose(np.log(rows["CL [L/h]"] / 5.6).std(), 0.3, rtol=0.05)
    kept = pd.read_parquet(io.BytesIO(values.data))
    assert_allclose(kept["C"][6], concentration(6.0, rows["CL [L/h]"][0], 42.0), rtol=1e-5)


@pytest.mark.parametrize(
    ("spread", "low", "high"),
    [("4 L/h to 8 L/h", 4.2, 7.8), ("0.5 L/h", 5.6 - 0.5 * 1.645, 5.6 + 0.5 * 1.645)],
    ids=["uniform", "normal"],
)
def test_spreads_are_said_in_three_ways(spread, low, high):
    found = population(OWN, spread={"CL": spread}, count=512, duration="1 h", every="1 h")

    rows = pd.read_csv(io.BytesIO(found.artefacts[0].data))
    assert_allclose(np.quantile(rows["CL [L/h]"], [0.05, 0.95]), [low, high], rtol=0.02)


def test_derivatives_come_with_the_outputs_and_their_units():
    file = people("CL,V\n5,40\n6,45\n")

    found = population(
        OWN, individuals=file, duration="6 h", every="3 h", outputs=["C"], derivatives=["CL"]
    )

    step = 1e-3
    slopes = [
        (concentration(6.0, CL + step, V) - concentration(6.0, CL - step, V)) / (2 * step)
        for CL, V in ((5.0, 40.0), (6.0, 45.0))
    ]
    table = next(table for table in found.tables if table.title == "d C / d CL")
    assert_allclose(table["mean"][-1], np.mean(slopes), rtol=1e-4)
    assert found.values["d C / d CL"].unit == "(mg/L)/(L/h)"


def test_a_derivative_by_what_is_not_there_is_refused():
    with pytest.raises(UnknownName, match="CLL"):
        population(OWN, spread={"CL": 0.3}, count=8, duration="1 h", derivatives=["CLL"])


def test_an_accuracy_that_is_asked_for_is_reported():
    found = population(
        OWN, spread={"CL": 0.3}, count=32, duration="6 h", every="2 h", accuracy=1e-6
    )

    assert found["achieved error"] <= 1e-6
    assert "holds" in found.text


def test_who_was_not_solved_is_named():
    file = people("CL,V\n5,40\n,41\n")

    found = population(OWN, individuals=file, duration="1 h", every="1 h")

    assert found["failed"] == 1
    assert "individual 1 was not solved" in found.text


def test_the_caller_may_cancel():
    with pytest.raises(Cancelled):
        population(OWN, spread={"CL": 0.3}, duration="1 h", run=Run(stopped=lambda: True))


def test_the_volume_matters_for_the_peak():
    found = sensitivity(
        OWN, spread={"CL": 0.3, "V": "30 L to 60 L"}, points=256, duration="12 h", every="10 min"
    )

    shares = {name: value.value for name, value in found.values.items()}
    assert shares["V on peak of C"] > 0.8
    assert shares["CL on peak of C"] < 0.2
    assert found.values["V on peak of C"].lower < shares["V on peak of C"]


def test_sensitivity_over_time_is_a_plot():
    found = sensitivity(
        OWN, spread={"CL": 0.3, "ka": 0.5}, points=64, measure="course", duration="8 h", every="2 h"
    )

    assert found.plots[0].title == "C: total share of variance"
    assert [series.name for series in found.plots[0].y] == ["CL", "ka"]
    assert found.tables[0]["time"][0] == 0


def test_morris_gives_effects_in_the_unit_of_the_output():
    found = sensitivity(OWN, spread={"CL": 0.3}, method="morris", points=5, duration="8 h")

    assert found.tables[0]["unit"][0] == "mg/L"
    assert found.tables[0]["mean"][0] < 0


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, DataError),  # the model declares no spread
        ({"spread": {"Cl": 0.3}}, UnknownName),
        ({"spread": {"CL": "3 kg to 8 kg"}}, UnitError),
        ({"individuals": people("CL\n")}, DataError),
        ({"individuals": people("CL,V\n1\n")}, DataError),
        ({"individuals": people("CL\nmuch\n")}, UnitError),
        ({"spread": {"CL": 0.3}, "count": 0}, ArgumentError),
    ],
)
def test_a_wrong_population_is_refused(given, error):
    with pytest.raises(error):
        population(OWN, duration="1 h", **given)


def test_shapley_takes_correlated_spreads():
    pairs = Table(
        "", (Column("one", ["CL"]), Column("other", ["V"]), Column("correlation", [0.6], "1"))
    )
    found = sensitivity(
        OWN, spread={"CL": 0.3, "V": 0.2}, method="shapley", points=16, duration="8 h",
        measure="area", outputs=("C",), correlations=pairs,
    )  # fmt: skip

    assert list(found.tables[0]["factor"]) == ["CL", "V"]
    assert sum(found.tables[0]["shapley"]) == pytest.approx(1.0, abs=1e-9)
