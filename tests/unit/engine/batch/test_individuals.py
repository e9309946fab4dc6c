"""Tables of individuals: names, units and rows are checked on the way in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from galenic.engine.batch.individuals import Individuals
from galenic.engine.compile import compile_system
from galenic.errors import DataError, UnitError, UnknownName
from galenic.modeling.variability import Between, Covariate, Population
from galenic.units import Quantity

from ..systems import tanks, two_compartment


@pytest.fixture
def compiled():
    return compile_system(two_compartment())


def column(individuals, path):
    k = [place.path for place in individuals.places].index(path)
    return individuals.values[:, k]


@pytest.mark.parametrize(
    "cells",
    [
        ("CL", [6.0, 3.0]),
        ("CL [mL/min]", np.array([100.0, 50.0])),
        ("CL", ["6 L/h", "0.05 L/min"]),
        ("CL", Quantity(np.array([6000.0, 3000.0]), "mL/h")),
        ("CL [mL/min]", ["100", 50]),
    ],
    ids=["declared", "header", "texts", "quantity", "texts under a header"],
)
def test_a_column_is_read_in_its_unit(compiled, cells):
    header, data = cells

    individuals = Individuals.of(compiled, {header: data})

    assert_allclose(column(individuals, "CL"), np.array([6.0, 3.0]) / 3.6e6, rtol=1e-12)


def test_a_data_frame_may_carry_its_units(compiled):
    table = pd.DataFrame({"CL": [100.0, 50.0], "V1": [20, 30]})
    table.attrs["units"] = {"CL": "mL/min"}

    individuals = Individuals.of(compiled, table)

    assert_allclose(column(individuals, "CL"), np.array([6.0, 3.0]) / 3.6e6, rtol=1e-12)
    assert_allclose(column(individuals, "V1"), [0.020, 0.030], rtol=1e-12)


def test_one_value_counts_for_all_rows(compiled):
    individuals = Individuals.of(compiled, {"V1": "25 L", "CL": [1.0, 2.0, 3.0]})

    assert_allclose(column(individuals, "V1"), [0.025] * 3)


def test_inputs_and_start_values_are_columns_too(compiled):
    individuals = Individuals.of(compiled, {"infusion": [1.0, 2.0], "depot": ["1 g", "2 g"]})

    assert [place.kind for place in individuals.places] == ["input", "state"]
    assert_allclose(column(individuals, "depot"), [1e-3, 2e-3])


def test_a_missing_cell_is_kept_as_not_a_number(compiled):
    individuals = Individuals.of(compiled, {"CL": [1.0, None, "3 L/h"]})

    assert np.isnan(column(individuals, "CL")).tolist() == [False, True, False]


def test_an_array_of_states_is_one_column_or_one_for_each():
    compiled = compile_system(tanks(3))
    each = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])

    same = Individuals.of(compiled, {"tank[1].c": [1.0, 2.0]})

    assert_allclose(column(same, "tank[1].c"), [1000.0, 2000.0])
    with pytest.raises(DataError, match="shape"):
        Individuals.of(compiled, {"V": each})


def test_a_number_is_so_many_equal_individuals(compiled):
    assert len(Individuals.of(compiled, 7)) == 7
    assert len(Individuals.of(compiled, None, 5)) == 5


def test_a_sample_of_a_population_is_a_table():
    population = Population(
        two_compartment(),
        covariates=[Covariate("weight", 70.0, "kg", 10.0)],
        relations={"V1": lambda typical, c: typical * (c.weight / "70 kg")},
        between=[Between("CL", 0.3)],
    )
    sample = population.sample(20, np.random.default_rng(1))

    individuals = Individuals.of(compile_system(population.system), sample)

    assert {place.path for place in individuals.places} == {"CL", "V1"}
    assert_allclose(column(individuals, "CL"), sample.values[:, 0])


def test_a_quasi_sample_fills_the_population_evenly():
    """1024 points: moments of covariates and correlated effects within 1 % (random: 3 to 10 %)."""
    population = Population(
        two_compartment(),
        covariates=[Covariate("weight", 70.0, "kg", 10.0)],
        between=[Between("CL", 0.3), Between("V1", 0.2)],
        correlations={("CL", "V1"): 0.6},
    )

    sample = population.quasi_sample(1024)

    assert_allclose(sample.covariates.mean(), 70.0, rtol=0.002)
    assert_allclose(sample.covariates.std(), 10.0, rtol=0.01)
    assert_allclose(np.cov(sample.effects.T), population.omega, rtol=0.02)
    assert_allclose(sample.effects.mean(axis=0), 0.0, atol=0.001)
    assert_allclose(population.quasi_sample(1024).values, sample.values)
    assert len(population.quasi_sample(5)) == 5


def test_a_sample_of_another_model_is_refused(compiled):
    population = Population(tanks(2), between=[Between("V", 0.3)])

    with pytest.raises(DataError, match="the sample is of Tanks2"):
        Individuals.of(compiled, population.sample(3, np.random.default_rng(1)))


@pytest.mark.parametrize(
    ("table", "error", "where"),
    [
        ({"Cl": [1.0]}, UnknownName, "column 'Cl'"),
        ({"CL": [1.0, "2 kg"]}, UnitError, "column 'CL', row 2"),
        ({"CL [kg]": [1.0]}, UnitError, "column 'CL'"),
        ({"CL": [1.0, "much"]}, UnitError, "column 'CL', row 2"),
        ({"CL": [1.0, True, "a"]}, DataError, "column 'CL', row 2"),
        ({"CL": [1.0, 2.0, 3.0], "V1": [1.0, 2.0]}, DataError, "column 'V1'"),
        ({"CL": [1.0], "CL [L/h]": [1.0]}, DataError, "table of individuals"),
    ],
    ids=["name", "unit of a cell", "unit of a header", "no number", "flag", "length", "twice"],
)
def test_an_error_names_column_and_row(compiled, table, error, where):
    with pytest.raises(error) as caught:
        Individuals.of(compiled, table)

    assert where in caught.value.where


@pytest.mark.parametrize("table", [None, {"CL": []}, [1, 2], 0])
def test_a_table_without_individuals_is_refused(compiled, table):
    with pytest.raises(DataError):
        Individuals.of(compiled, table)


def test_as_many_experiments_as_rows_are_needed(compiled):
    with pytest.raises(DataError, match="3 experiments for 2 individuals"):
        Individuals.of(compiled, {"CL": [1.0, 2.0]}, 3)
