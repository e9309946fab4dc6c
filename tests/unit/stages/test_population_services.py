"""The services of population estimation, as any surface calls them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from galenic.errors import GalenicError
from galenic.stages.clinical.services import (
    population_check,
    population_covariates,
    population_design,
    population_fit,
    population_simulate,
    population_uncertainty,
)
from galenic.twin.run import Cancelled, Run

THEOPHYLLINE = {
    "model": "oral-one-compartment",
    "dose_to": "absorption.depot",
    "output": "body.C",
    "vary": ["absorption.ka=0.6", "body.CL", "body.V1"],
    "additive": 0.7,
    "proportional": 0.0,
}


@pytest.fixture
def data(shared_data: Path) -> Path:
    return shared_data / "poppk-classics" / "theo_sd.csv"


def call(name: str, arguments: dict[str, object]) -> object:
    return {"population_fit": population_fit, "population_check": population_check}[name](
        **arguments
    )


def test_a_fit_gives_numbers_tables_plots_and_a_report(data: Path) -> None:
    result = call("population_fit", THEOPHYLLINE | {"data": data, "simulations": 30})

    assert result["objective"] == pytest.approx(116.8034, abs=1e-3)
    assert [table.title for table in result.tables] == ["estimates", "shrinkage", "individuals"]
    assert result.artefacts[0].name == "population-fit.html"
    assert b"<svg" in result.artefacts[0].data
    titles = [plot.title for plot in result.plots]
    assert titles[0] == "body.C against individual predictions"
    assert "random effect of body.CL, shrinkage 4 %" in titles
    assert titles[-1] == "body.C: visual predictive check"
    assert len(result.plots[-1].y) == 6  # three percentiles, simulated and observed


def test_covariate_effects_are_told_in_words(shared_data: Path) -> None:
    arguments = {
        "model": "warfarin",
        "data": shared_data / "poppk-classics" / "warfarin.csv",
        "dose_to": "absorption.depot",
        "output": "body.C",
        "endpoint": "cp",
        "vary": ["absorption.ktr", "body.CL", "body.V1"],
        "covariates": ["weight=wt:kg"],
        "effects": ["body.CL~weight/70^0.75", "body.V1~weight/70^?"],
        "additive": 0.5,
        "proportional": 0.1,
        "values": {"body.CL": "0.1 L/h"},
        "simulations": 0,
    }

    result = call("population_fit", arguments)

    assert result["objective"] < 289.9153
    names = list(result.tables[0]["name"])
    exponent = result.tables[0]["value"][names.index("body_V1_weight")]
    assert 0.7 < exponent < 1.4


def test_a_check_says_how_many_percentiles_lie_outside(data: Path) -> None:
    values = {"absorption.ka": "1.59 1/h", "body.CL": "2.752 L/h", "body.V1": "31.81 L"}

    result = call(
        "population_check", THEOPHYLLINE | {"data": data, "values": values, "simulations": 60}
    )

    assert 0 <= result["outside"] < 60
    assert len(result.plots[0].y) == 6  # three percentiles, simulated and observed


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"vary": ["CL%"]}, "CL%"),
        ({"effects": ["body.CL^weight"]}, "body.CL"),
        ({"effects": ["body.CL~weight/70^1"]}, "no covariate weight"),
        ({"correlated": ["body.CL"]}, "correlated"),
        ({"values": {"CL": 3}}, "CL"),
    ],
)
def test_words_that_mean_nothing_are_refused(data: Path, change: dict, found: str) -> None:
    with pytest.raises(GalenicError, match=found):
        call("population_fit", THEOPHYLLINE | {"data": data} | change)


@pytest.mark.parametrize("way", ["bootstrap", "sir", "profile", "bayes"])
def test_every_way_tells_the_spread_of_clearance(data: Path, way: str) -> None:
    """The standard error of ln CL by FOCEI is 0.081; draws of few subjects are near it."""
    arguments = THEOPHYLLINE | {"data": data, "way": way, "draws": 60, "numbers": ["body.CL"]}

    result = population_uncertainty(**arguments)

    table = result.tables[0]
    low, high = table["lower"][0], table["upper"][0]
    assert result["objective"] == pytest.approx(116.8034, abs=1e-3)
    assert list(table["name"]) == ["body.CL"] and table["unit"][0] == "L/h"
    assert low < 2.7516 < high
    assert np.log(high / low) / 3.92 == pytest.approx(0.081, rel=0.5)
    assert [one.name for one in result.artefacts] == ([] if way == "profile" else ["draws.csv"])


def test_equal_seeds_draw_equal_numbers(data: Path) -> None:
    arguments = THEOPHYLLINE | {"data": data, "draws": 30}

    one, again, other = (
        population_uncertainty(**arguments, seed=seed).artefacts[0].data for seed in (1, 1, 2)
    )

    assert one == again != other


def test_a_cancelled_run_ends(data: Path) -> None:
    said: list[float] = []
    run = Run(report=lambda share, _: said.append(share), stopped=lambda: len(said) > 5)

    with pytest.raises(Cancelled):
        population_uncertainty(**THEOPHYLLINE, data=data, way="bootstrap", run=run)

    assert said == sorted(said) and len(said) == 6


def test_the_search_finds_weight_on_the_volume_of_warfarin(shared_data: Path) -> None:
    result = population_covariates(
        model="oral-one-compartment",
        data=shared_data / "poppk-classics" / "warfarin.csv",
        dose_to="absorption.depot",
        output="body.C",
        endpoint="cp",
        vary=["absorption.ka", "body.CL", "body.V1"],
        covariates=["weight=wt:kg", "age=age:year"],
        values={"body.CL": "0.1 L/h", "body.V1": "8 L"},
        additive=0.5,
        proportional=0.1,
        candidates=["body.V1~weight/70", "body.V1~age/30"],
    )

    trials = result.tables[0]
    assert "body.V1~weight" in result.text
    first = list(trials["effect"]).index("body.V1~weight")
    assert trials["drop"][first] > 10 and trials["p"][first] < 0.01
    assert "body.V1~weight" in list(result.tables[1]["name"])


def test_new_subjects_vary_as_the_population_says(data: Path) -> None:
    """Sd of ln CL is 0.3; its standard error over 800 subjects 0.0075."""
    arguments = THEOPHYLLINE | {"data": data, "subjects": 800}

    result = population_simulate(**arguments)

    rows = list(csv.DictReader(io.StringIO(result.artefacts[0].data.decode())))
    own = {row["ID"]: float(row["body.CL"]) for row in rows}
    assert len(own) == 800 and len(rows) == 800 * 11
    assert np.log(list(own.values())).std() == pytest.approx(0.3, abs=4 * 0.0075)
    errors = np.array([float(row["DV"]) - float(row["IPRED"]) for row in rows])
    assert errors.std() == pytest.approx(0.7, abs=4 * 0.7 / np.sqrt(2 * len(rows)))


def test_a_design_takes_allowed_times_and_beats_worse_ones(data: Path) -> None:
    arguments = THEOPHYLLINE | {"data": data, "subjects": 12}
    free = population_design(**arguments, times=[0.5, 1, 2, 4, 8, 12, 24], count=4)
    late = population_design(**arguments, times=[8, 12, 20, 24], count=4)

    assert set(free.tables[0]["time"]) < {0.5, 1, 2, 4, 8, 12, 24}
    assert free["criterion"] > late["criterion"]
    assert free.tables[1]["designed"][0] > free.tables[1]["data set"][0]  # four times of eleven


@pytest.mark.parametrize(
    ("service", "more", "found"),
    [
        (population_uncertainty, {"numbers": ["CL"]}, "CL"),
        (population_uncertainty, {"draws": 3}, "at least 20"),
        (population_covariates, {"candidates": ["body.CL~weight/70"]}, "weight"),
        (population_covariates, {"candidates": ["body.CL+weight"]}, "CL~sex"),
        (population_simulate, {"subjects": 0}, "at least 1"),
        (population_design, {"times": [1.0, 2.0], "count": 3}, "3 of 2 times"),
    ],
)
def test_what_cannot_be_asked_is_refused(data: Path, service, more: dict, found: str) -> None:
    with pytest.raises(GalenicError, match=found):
        service(**THEOPHYLLINE, data=data, **more)
