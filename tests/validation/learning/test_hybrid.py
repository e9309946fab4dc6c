"""A learned term finds a hidden mechanism, and is silent where it has seen nothing."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from galenic import Experiment, Model, Output, Parameter, Part, Population, State, der
from galenic.errors import DataError
from galenic.inference.mixed.layout import Layout, Route
from galenic.inference.mixed.problem import Problem
from galenic.inference.mixed.records import read
from galenic.learning.hybrid import Hybrid, train
from galenic.learning.network import Network
from galenic.modeling.functions import exp, log
from galenic.modeling.variability import Between, Residual

BOLUS = Layout(Route("A"), "C")


class Suspicious(Model):
    """One compartment whose clearance may depend on concentration in a way that is not known."""

    term = Part(Network, hidden=3)

    CL = Parameter(4.0, "L/h", "clearance", lower=0)
    V = Parameter(60.0, "L", "volume", lower=0)
    A = State(0.0, "mg", "amount", lower=0, nominal=100)
    C = Output("mg/L", "concentration")

    def equations(m):
        C = m.A / m.V
        yield m.C == C
        yield der(m.A) == -m.CL * C * exp(m.term.of(log((C + "1 mg/L") / "300 mg/L") / 3))


def place(C):
    return np.log((np.asarray(C) + 1) / 300) / 3


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return shared_data / "poppk-classics"


@pytest.fixture(scope="module")
def problem(folder):
    """24 subjects whose data were made with saturable elimination (Vm, Km of each are known)."""
    records = read(folder / "bolus_1cptmm.csv", BOLUS)
    records = replace(records, individuals=records.individuals[::5])
    population = Population(
        Suspicious(), between=(Between("CL", 0.3), Between("V", 0.3)),
        residuals=(Residual("C", 0.2),),
    )  # fmt: skip
    return Problem(population, records, rtol=1e-5)


@pytest.fixture(scope="module")
def trained(problem) -> Hybrid:
    highest = float(problem.course.y.max())
    return train(
        problem, "term", [(place(10.0), place(highest))], rounds=2, starts=1,
        rng=np.random.default_rng(1),
    )  # fmt: skip


@pytest.mark.slow
def test_it_finds_that_clearance_saturates(trained, problem, folder):
    ids = {one.id for one in problem.records.individuals}
    with (folder / "bolus_1cptmm.csv").open(encoding="utf-8") as file:
        true = {r["ID"]: (float(r["VM"]), float(r["KM"])) for r in csv.DictReader(file)}
    Vm, Km = np.exp(np.mean(np.log([true[i] for i in ids]), axis=0))
    C = np.array([30.0, 100.0, 300.0, 1000.0, 3000.0])

    learned = trained.after["CL"] * np.exp(trained.term(place(C)))

    # clearance falls by a factor of ten over this range; typical subjects are known to some 10 %
    assert learned == pytest.approx(Vm / (Km + C), rel=0.2)
    assert trained.gain > 100
    assert trained.after["C.proportional"] == pytest.approx(0.2, abs=0.015)
    assert trained.before["C.proportional"] > 0.24


@pytest.mark.slow
def test_outside_of_its_data_the_mechanistic_model_is_left(trained):
    far = place(np.array([1e7, 1e9]))

    assert trained.term(far) == pytest.approx([0.0, 0.0], abs=1e-6)
    values = {e.path: e.value for e in trained.population.system.parameters}
    plain = values | {f"term.v[{j}]": 0.0 for j in range(3)}
    dose = Experiment().dose("A", "1e10 mg")
    runs = [
        Suspicious().simulate(
            dose, until="1 h", values=_declared(given), outputs=["C"], rtol=1e-9
        )["C"][-1]
        for given in (values, plain)
    ]  # fmt: skip
    assert runs[0] == pytest.approx(runs[1], rel=1e-6)


def _declared(values):
    system = Suspicious().flatten()
    return {p: v / system.entry(p).unit.scale for p, v in values.items()}


@pytest.mark.slow
def test_the_band_is_wider_where_there_are_fewer_data(trained):
    low, high = trained.band(place(np.array([300.0, 25.0])), np.random.default_rng(0))

    assert (high > low).all()
    assert high[1] - low[1] > high[0] - low[0]


def test_an_untrained_term_is_the_mechanistic_model():
    run = Suspicious().simulate(Experiment().dose("A", "600 mg"), until="10 h", rtol=1e-9)

    assert run["C"][-1] == pytest.approx(10 * np.exp(-4.0 / 60 * 10), rel=1e-7)


def test_a_path_without_network_is_refused(problem):
    with pytest.raises(DataError, match="no network 'nothing'"):
        train(problem, "nothing", [(0.0, 1.0)], rng=np.random.default_rng(0))
