"""A population's model with its covariates as inputs."""

from __future__ import annotations

import numpy as np
import pytest

from galenic import Experiment, Model, Output, Parameter, Population, Simulator, State, der
from galenic.errors import ModelError, StructureError
from galenic.modeling.system import System
from galenic.modeling.variability import Between, Covariate, Residual
from galenic.units import unit


class Body(Model):
    """One compartment."""

    CL = Parameter(5.0, "L/h", "clearance", lower=0)
    V = Parameter(40.0, "L", "volume", lower=0)
    base = Parameter(0.0, "mg/L", "baseline")
    A = State(100.0, "mg", "amount")
    c = Output("mg/L", "concentration")

    def equations(m):
        yield der(m.A) == -m.CL / m.V * m.A
        yield m.c == m.A / m.V + m.base


class Heavy(Body):
    """A start that is a concentration, so that it depends on the volume."""

    A = State(lambda m: m.V * "2 mg/L", "mg", "amount")


KIDNEY = Covariate("CLcr", 100.0, "mL/min", 20.0, "creatinine clearance", lower=10, upper=150)
RELATIONS = {"CL": lambda typical, c: typical * (c.CLcr / "100 mL/min") ** 0.8}


def adults(**changes):
    facts = {"covariates": [KIDNEY], "relations": RELATIONS, "between": [Between("CL", 0.3)]}
    return Population(Body(), **(facts | changes))


def test_covariates_become_inputs_that_may_change():
    system = adults().flatten()
    experiment = Experiment().set("CLcr", "50 mL/min", at="4 h")

    run = Simulator(system).run(experiment, until="8 h", every="1 h", rtol=1e-9)

    k, slower = 5 / 40, 5 / 40 * 0.5**0.8
    assert run["A"][-1] == pytest.approx(100 * np.exp(-4 * k - 4 * slower), rel=1e-7)
    assert run["individual.CL"][0] == pytest.approx(5.0)
    assert run["individual.CL"][-1] == pytest.approx(5 * 0.5**0.8)
    entry = system.entry("CLcr")
    assert (entry.role, entry.unit.text) == ("covariate", "mL/min")


def test_the_joined_system_travels():
    system = adults().flatten()

    again = System.deserialise(system.serialise())

    assert again.identity == system.identity == adults().flatten().identity


def test_a_relation_on_which_random_effects_do_not_act_alike_is_refused():
    shifted = {"CL": lambda typical, c: typical + c.CLcr * 0.1}

    with pytest.raises(StructureError, match="relation of CL is not in proportion"):
        adults(relations=shifted).flatten()


def test_a_start_that_depends_on_covariates_is_refused():
    relations = {"V": lambda typical, c: typical * (c.CLcr / "100 mL/min")}

    with pytest.raises(StructureError, match="start of a state"):
        Population(Heavy(), [KIDNEY], relations).flatten()


def test_normal_effects_pass():
    system = adults(between=[Between("CL", 0.3), Between("base", 0.1, "normal")]).flatten()

    assert system.entry("individual.CL").kind == "output"


def test_covariates_know_their_range():
    assert KIDNEY.holds(150e-6 / 60)
    assert not KIDNEY.holds(151e-6 / 60)
    assert Covariate("x", 1.0, "1").holds(1e9)


def test_residuals_may_add_as_they_are():
    residual = Residual("c", proportional=0.1, additive="0.3 mg/L", combine="sd")

    assert residual.sd(4e-3, unit("mg/L")) == pytest.approx(0.7e-3)
    with pytest.raises(ModelError, match="not combined by"):
        Residual("c", 0.1, combine="product")
