"""Parameter sets with sources; populations with covariates."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest

from galenic import Model, Output, Parameter, ParameterSet, Population, State, der
from galenic.errors import DataError, ModelError, UnitError, UnknownName
from galenic.modeling.parameters import declared
from galenic.modeling.variability import Between, Covariate, Residual
from galenic.units import unit

from . import tanks

TABLE = """name,value,unit,spread,source
V,5,L,0.5,"Author et al. 2018, Table 3"
k,0.3,1/min,,measured
"""


def written(tmp_path, text):
    path = tmp_path / "set.csv"
    path.write_text(text)
    return path


def test_a_parameter_set_is_read_from_a_table(tmp_path):
    values = ParameterSet.read(written(tmp_path, TABLE))

    assert values["V"].spread == 0.5
    assert values["V"].source == "Author et al. 2018, Table 3"
    assert str(values.values_for(tanks.StirredTank())["k"]) == "0.3 1/min"
    values.write(tmp_path / "again.csv")
    assert dict(ParameterSet.read(tmp_path / "again.csv")) == dict(values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TABLE.replace("measured", ""), "no source of 'k'"),
        (TABLE.replace(",L,", ",,"), "no unit of 'V'"),
        (TABLE.replace("source\n", "origin\n"), "the columns source are missing"),
        (TABLE.replace("0.3", "fast"), "could not convert"),
        (TABLE.replace("0.5", "-0.5"), "the spread of 'V' is -0.5"),
        (TABLE.replace("k,", "V,"), "'V' is given twice"),
    ],
)
def test_rows_without_unit_or_source_are_refused(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        ParameterSet.read(written(tmp_path, text))


def test_a_set_must_fit_its_model(tmp_path):
    wrong_unit = ParameterSet.read(written(tmp_path, TABLE.replace(",L,", ",kg,")))
    wrong_name = ParameterSet.read(written(tmp_path, TABLE.replace("k,", "kk,")))

    with pytest.raises(UnitError, match=r"V is given in \[kg\]"):
        wrong_unit.values_for(tanks.StirredTank())
    with pytest.raises(UnknownName, match="'kk'"):
        wrong_name.values_for(tanks.StirredTank())
    with pytest.raises(UnknownName):
        wrong_name["CL"]


def test_defaults_of_a_model_are_a_set():
    values = ParameterSet.from_model(tanks.TwoTanks())

    assert values["first.V"].value == pytest.approx(5.0)
    assert values["first.k"].spread == pytest.approx(0.05)
    row = declared(values, "first.V", lower=0, meaning="volume")
    assert (row.value, row.unit.text, row.meaning) == (pytest.approx(5.0), "L", "volume")


class Patient(Model):
    """One compartment."""

    CL = Parameter(5.0, "L/h", "clearance", lower=0)
    V = Parameter(40.0, "L", "volume", lower=0)
    base = Parameter(1.0, "mg/L", "baseline")
    A = State(0.0, "mg", "amount")
    c = Output("mg/L")

    def equations(m):
        yield der(m.A) == -m.CL / m.V * m.A
        yield m.c == m.A / m.V + m.base


def adults(**changes):
    facts = {
        "covariates": [Covariate("weight", 70, "kg", 12), Covariate("age", 50, "year", 15)],
        "relations": {
            "CL": lambda typical, of: typical * (of.weight / "70 kg") ** 0.75,
            "V": lambda typical, of: typical * of.weight / "70 kg",
        },
        "between": [Between("CL", 0.3), Between("V", 0.2), Between("base", 0.1, "normal")],
        "correlations": {("CL", "V"): 0.5},
        "residuals": [Residual("c", proportional=0.1, additive="0.2 mg/L")],
    }
    return Population(Patient(), **(facts | changes))


def test_a_subject_follows_its_covariates():
    subject = adults().for_subject({"weight": "35 kg"})

    values = subject.values()

    assert values["CL"].value == pytest.approx(5 * 0.5**0.75)
    assert values["V"].value == pytest.approx(20)
    assert subject.values(np.array([0.1, 0, 0.5]))["CL"].value == pytest.approx(
        5 * 0.5**0.75 * np.exp(0.1)
    )
    assert subject.values(np.array([0.1, 0, 0.5]))["base"].value == pytest.approx(1.5)


def test_a_cohort_has_the_stated_moments():
    cohort = adults(relations={}).sample(20_000, np.random.default_rng(7))

    logs = np.log(cohort.values[:, :2])
    # standard errors at n = 20 000: 0.5 % of sd, 0.0053 of the correlation; four of each
    assert np.std(logs, axis=0) == pytest.approx([0.3, 0.2], rel=0.02)
    assert np.corrcoef(logs.T)[0, 1] == pytest.approx(0.5, abs=0.022)
    assert np.mean(cohort.covariates[:, 0]) == pytest.approx(70, rel=0.01)
    assert len(cohort) == 20_000
    assert cohort[0]["CL"].unit.text == "L/h"


def test_individual_parameters_can_be_differentiated():
    eta = ca.SX.sym("eta", 3)

    parameters = adults().for_subject().parameters(eta)
    slope = ca.Function("s", [eta], [ca.jacobian(parameters, eta)])(np.zeros(3))

    typical = [5e-3 / 3600, 40e-3, 1e-3]
    assert np.diag(np.asarray(slope)) == pytest.approx([typical[0], typical[1], 1e-3])


def test_residuals_add_in_squares():
    residual = Residual("c", proportional=0.1, additive="0.3 mg/L")

    assert residual.sd(4e-3, unit("mg/L")) == pytest.approx(0.5e-3)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"between": [Between("Cl", 0.3)]}, UnknownName, "no parameter 'Cl'"),
        ({"relations": {"CL": lambda p, of: p * of.weight}}, UnitError, "give CL a value"),
        ({"relations": {"CL": lambda p, of: p * of.height}}, UnknownName, "'height'"),
        ({"correlations": {("CL", "V"): 1.5}}, ModelError, "no correlation matrix"),
        ({"correlations": {("CL", "F"): 0.5}}, UnknownName, "random effect 'F'"),
    ],
)
def test_populations_that_make_no_sense_are_named(changes, error, message):
    with pytest.raises(error, match=message):
        adults(**changes)


def test_an_unknown_covariate_is_named():
    with pytest.raises(UnknownName, match="covariate 'wieght'") as caught:
        adults().for_subject({"wieght": "70 kg"})

    assert "weight" in caught.value.hint
    with pytest.raises(ModelError, match="no kind"):
        Between("CL", 0.3, "uniform")
