"""Fits of models through experiments, against closed-form curves."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import curve_fit

from galenic import Experiment
from galenic.errors import UnknownName
from galenic.inference.fit import fit
from galenic.inference.identify import identify
from galenic.inference.problem import Free, ModelProblem, Record

sys.path.insert(0, str(Path(__file__).parent))
from patients import OneCompartment

HOURS = np.array([0.5, 1.0, 2.0, 4.0, 8.0, 12.0])


def concentration(hours, cl, v, dose):
    return dose / v * np.exp(-cl / v * hours)


def data():
    rng = np.random.default_rng(3)
    return {
        dose: concentration(HOURS, 2.4, 17.0, dose) * (1 + 0.05 * rng.normal(size=6))
        for dose in (100.0, 300.0)
    }


def problem(free=("CL", "V")):
    records = [
        Record.of(
            "C",
            [f"{h} h" for h in HOURS],
            values,
            "mg/L",
            0.05 * concentration(HOURS, 2.4, 17.0, dose),
            experiment=Experiment().dose("amount", f"{dose} mg"),
            name=f"{dose} mg",
        )
        for dose, values in data().items()
    ]
    return ModelProblem(OneCompartment(), records, free)


def test_two_experiments_give_the_closed_forms_estimates():
    result = fit(problem())

    hours = np.tile(HOURS, 2)
    doses = np.repeat([100.0, 300.0], 6)
    values = np.concatenate(list(data().values()))
    best, cov = curve_fit(
        lambda t, cl, v: concentration(t, cl, v, doses),
        hours,
        values,
        [2.0, 20.0],
        0.05 * concentration(hours, 2.4, 17.0, doses),
        absolute_sigma=True,
    )
    assert result.values["CL"] * 3.6e6 == pytest.approx(best[0], rel=1e-5)
    assert result.values["V"] * 1e3 == pytest.approx(best[1], rel=1e-5)
    assert result.sd("CL") * 3.6e6 == pytest.approx(cov[0, 0] ** 0.5, rel=1e-3)
    assert result.table()[0]["unit"] == "L/h"
    assert 0.001 < result.goodness < 0.999


def test_derivatives_are_exact():
    p = problem()
    theta = p.start

    _, jacobian = p.linear(theta)

    for k in range(2):
        step = np.eye(2)[k] * 1e-4
        slope = (p.linear(theta + step)[0] - p.linear(theta - step)[0]) / 2e-4
        assert jacobian[:, k] == pytest.approx(slope, rel=1e-5, abs=1e-9)


def test_start_value_of_a_state_can_be_fitted():
    record = Record.of("C", [3600.0 * h for h in HOURS], data()[100.0], "mg/L", 0.1)
    free = ["CL", Free("amount", start="80 mg", lower=0.0), Free("V", prior=("17 L", 0.01))]

    result = fit(ModelProblem(OneCompartment(), [record], free))

    assert result.values["amount"] * 1e6 == pytest.approx(100.0, rel=0.06)


def test_amount_and_volume_are_seen_only_as_their_ratio():
    record = Record.of("C", [3600.0 * h for h in HOURS], data()[100.0], "mg/L", 0.1)
    free = ["CL", "V", Free("amount", start="100 mg", lower=0.0)]

    found = identify(ModelProblem(OneCompartment(), [record], free), rng=np.random.default_rng(0))

    assert found.structural_rank == 2
    assert found.alone == ()
    assert {c.text for c in found.combinations} <= {
        "CL/V", "amount/V", "V/amount", "V/CL", "CL/amount", "amount/CL",
    }  # fmt: skip


def test_unknown_parameter_is_named():
    with pytest.raises(UnknownName, match="CL"):
        problem(free=("cl",))
