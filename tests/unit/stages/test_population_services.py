"""The services of population estimation, as any surface calls them."""

from __future__ import annotations

from pathlib import Path

import pytest

from galenic.errors import GalenicError
from galenic.stages.clinical.services import population_check, population_fit

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
