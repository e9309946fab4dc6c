"""Derivatives of a population by parameters, start values, inputs and doses, in one call."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from galenic import Experiment, Input, Model, Output, Parameter, Simulator, State, der
from galenic.errors import DataError, UnknownName


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GALENIC_CACHE", str(tmp_path_factory.mktemp("kernels")))
        yield


class Patient(Model):
    """Absorption, saturable elimination, a pump and endogenous production."""

    ka = Parameter(0.8, "1/h", "absorption", lower=0)
    Vm = Parameter(12.0, "mg/h", "greatest elimination", lower=0)
    Km = Parameter(3.0, "mg/L", "half saturation", lower=0)
    V = Parameter(20.0, "L", "volume", lower=0)
    pump = Input(0.0, "mg/h", "infusion", role="dose")
    made = Input(0.5, "mg/h", "production")
    depot = State(0.0, "mg", "in the gut", lower=0)
    body = State(10.0, "mg", "in the body", lower=0)
    C = Output("mg/L", "concentration")

    def equations(m):
        yield der(m.depot) == -m.ka * m.depot
        yield m.C == m.body / m.V
        lost = m.Vm * m.C / (m.Km + m.C)
        yield der(m.body) == m.ka * m.depot + m.pump + m.made - lost


TIMES = ["1 h", "4 h", "9 h", "13 h"]
TABLE = {"Vm": [9.0, 12.0, 15.0], "V": [15.0, 20.0, 30.0], "body": [5.0, 10.0, 0.0]}


def therapy(gut=1.0, vein=1.0, pumped=1.0):
    """A dose to the gut twice, a slow one into the body, one by the pump; factors on each."""
    return (
        Experiment()
        .dose("depot", f"{50 * gut} mg", at="0.5 h", every="6 h", count=2)
        .dose("body", f"{20 * vein} mg", at="2 h", duration="1 h")
        .dose("pump", f"{30 * pumped} mg", at="3 h", duration="2 h")
        .set("made", "1 mg/h", at="8 h")
    )


def values(simulator, experiment, **more):
    table = {path: np.array(column) for path, column in TABLE.items()}
    for path, step in more.items():
        table[path] = table.get(path, np.full(3, DEFAULTS.get(path, 0.0))) + step
    run = simulator.run_many(experiment, table, ["C", "depot"], times=TIMES, rtol=1e-11)
    return np.stack([run["C"], run["depot"]], axis=-1)


DEFAULTS = {"ka": 0.8, "Km": 3.0, "depot": 0.0}


def test_all_kinds_agree_with_central_differences():
    simulator = Simulator(Patient())
    wrt = ["Vm", "ka", "body", "depot", "dose(depot)", "dose(body)", "dose(pump)"]

    found = simulator.run_many(
        therapy(), TABLE, ["C", "depot"], times=TIMES, wrt=wrt, rtol=1e-9, method="rodas5p"
    )

    assert (found.status == 0).all()
    for by in wrt:
        h = 1e-4
        if by.startswith("dose"):
            key = {"dose(depot)": "gut", "dose(body)": "vein", "dose(pump)": "pumped"}[by]
            ends = [values(simulator, therapy(**{key: 1 + s * h})) for s in (1, -1)]
        else:
            ends = [values(simulator, therapy(), **{by: s * h}) for s in (1, -1)]
        expected = (ends[0] - ends[1]) / (2 * h)
        own = np.stack([found.sensitivity(o, by) for o in ("C", "depot")], axis=-1)
        largest = np.abs(expected).max(axis=(0, 1))
        assert_allclose(own, expected, atol=1e-6 * max(largest.max(), 1e-3))


def test_a_constant_added_to_an_input_agrees_with_the_single_run():
    """Also the way without a kernel, one individual after the other."""
    simulator = Simulator(Patient())
    wrt = ["made", "Vm", "body"]

    found = simulator.run_many(therapy(), {"Vm": [9.0, 12.0]}, ["C"], times=TIMES, wrt=wrt)
    single = simulator.run_many(
        therapy(), {"Vm": [9.0, 12.0]}, ["C"], times=TIMES, wrt=wrt, method="single", rtol=1e-8
    )
    alone = simulator.sensitivities(therapy(), wrt, ["C"], values={"Vm": "9 mg/h"}, times=TIMES)

    for by in wrt:
        one, other = found.sensitivity("C", by), single.sensitivity("C", by)
        assert_allclose(one, other, rtol=2e-4, atol=1e-6)
        assert_allclose(other[0], np.asarray(alone["C", by], float).ravel(), rtol=1e-6)
    assert found["d C / d Vm"].attrs["unit"] == "(mg/L)/(mg/h)"


def test_linear_models_are_differentiated_exactly():
    """A bolus into one compartment: C = F D exp(-k t) / V, dC/dF = C, dC/dV = -C / V."""

    class One(Model):
        k = Parameter(0.3, "1/h", "rate", lower=0)
        V = Parameter(10.0, "L", "volume", lower=0)
        A = State(0.0, "mg", "amount")
        C = Output("mg/L", "concentration")

        def equations(m):
            yield der(m.A) == -m.k * m.A
            yield m.C == m.A / m.V

    run = Simulator(One()).run_many(
        Experiment().dose("A", "100 mg", at="1 h"),
        {"V": [10.0, 20.0]},
        ["C"],
        times=["3 h", "7 h"],
        wrt=["dose(A)", "V", "k", "A"],
    )

    assert run.record.methods[0].name == "exact"
    C, hours = run["C"].values, np.array([2.0, 6.0])
    V = np.array([[10.0], [20.0]])
    assert_allclose(run.sensitivity("C", "dose(A)"), C, rtol=1e-10)
    assert_allclose(run.sensitivity("C", "V"), -C / V, rtol=1e-10)
    assert_allclose(run.sensitivity("C", "k"), -hours * C, rtol=1e-10)
    assert_allclose(run.sensitivity("C", "A"), np.exp(-0.3 * (hours + 1)) / V, rtol=1e-10)


def test_derivatives_do_not_depend_on_neighbours():
    simulator = Simulator(Patient())
    rng = np.random.default_rng(2)
    table = {"Vm": rng.uniform(8, 16, 40), "V": rng.uniform(15, 30, 40)}
    bad = {path: column.copy() for path, column in table.items()}
    bad["V"][[3, 17]] = np.nan
    bad["Vm"][21] = 1e300
    asked = {"outputs": ["C"], "times": TIMES, "wrt": ["V", "dose(depot)"], "method": "rodas5p"}

    whole = simulator.run_many(therapy(), table, **asked)
    mixed = simulator.run_many(therapy(), bad, **asked)
    alone = simulator.run_many(therapy(), {k: v[[30]] for k, v in table.items()}, **asked)

    rest = [i for i in range(40) if i not in (3, 17, 21)]
    assert_array_equal(mixed.values[rest], whole.values[rest])
    assert_array_equal(alone.values[0], whole.values[30])
    assert np.isnan(mixed.values[3]).all()


def test_what_cannot_be_differentiated_is_refused():
    simulator = Simulator(Patient())

    with pytest.raises(UnknownName, match="Vn"):
        simulator.run_many(None, 2, ["C"], times=TIMES, wrt=["Vn"])
    with pytest.raises(DataError, match="named twice"):
        simulator.run_many(None, 2, ["C"], times=TIMES, wrt=["V", "V"])
    with pytest.raises(DataError, match="changes element"):
        simulator.run_many(
            Experiment().set("V", "10 L", at="2 h"), 2, ["C"], times=TIMES, wrt=["V"]
        )
