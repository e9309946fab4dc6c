"""Objective and estimates against numbers printed by NONMEM, nlmixr2 and an independent program."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galenic.inference.mixed.fit import evaluate, fit
from galenic.inference.mixed.problem import Problem
from galenic.library.pk.populations import theophylline, warfarin
from galenic.modeling.variability import Residual

sys.path.insert(0, str(Path(__file__).parent))
from population_cases import ROOT, THEOPHYLLINE, WARFARIN, decay, records

FORMS = {
    "proportional": (Residual("C", ROOT), 39.458, 39.207, 39.213),
    "additive": (Residual("C", 0, ROOT), -2.059, -2.059, 0.026),
    "power": (Residual("C", ROOT, power=0.5), 9.966, 9.331, 9.651),
    "variances added": (Residual("C", ROOT, ROOT), 39.735, 39.499, 39.505),
    "sd added": (Residual("C", ROOT, ROOT, "sd"), 43.554, 43.394, 43.398),
    "log-normal": (Residual("C", ROOT, combine="log"), 40.039, 40.039, 40.055),
}


@pytest.mark.parametrize("form", FORMS)
def test_objectives_of_wang_2007(form: str, shared_data: Path) -> None:
    """NONMEM's values for FOCEI, FOCE and FO, to the digits printed."""
    residual, *expected = FORMS[form]
    problem = decay(residual, shared_data)

    found = [evaluate(problem, method).objective for method in ("focei", "foce", "fo")]

    assert found == pytest.approx(expected, abs=6e-4)


def test_modes_and_laplace_of_wang_2007(shared_data: Path) -> None:
    problem = decay(FORMS["proportional"][0], shared_data)

    effects = evaluate(problem).effects.ravel()

    printed = (
        ".07155 .00570 .02495 .03195 -.00479 .00398 -.01180 .00588 -.00314 -.00067".split()
    )  # fmt: skip
    assert effects == pytest.approx(list(map(float, printed)), abs=6e-6)
    assert evaluate(problem, "laplace").objective == pytest.approx(39.2268, abs=6e-5)


def theophylline_problem(folder: Path, **changes: Any) -> Problem:
    population = replace(theophylline(), **changes)
    return Problem(population, records("theo_sd.csv", THEOPHYLLINE, folder))


def test_objective_of_theophylline_at_given_values(shared_data: Path) -> None:
    problem = theophylline_problem(shared_data)
    given = {"absorption.ka": math.exp(0.45), "body.CL": math.e, "body.V1": math.exp(3.45)}
    given |= {"omega(absorption.ka)": 0.6, "omega(body.CL)": 0.3, "omega(body.V1)": 0.1}

    found = evaluate(problem, start=given | {"body.C.additive": 0.7})

    assert found.objective == pytest.approx(133.5659, abs=6e-5)


def test_theophylline_by_focei(shared_data: Path) -> None:
    """An independent program's minimum; nlmixr2 prints .464 1.01 3.46 and .6956."""
    start = {"absorption.ka": 1.0, "body.CL": 2.0, "body.V1": 25.0}

    found = fit(theophylline_problem(shared_data), start=start, tolerance=1e-7)

    assert found.converged
    assert found.objective == pytest.approx(116.8034, abs=6e-5)
    assert (found.minus2ll, found.aic) == pytest.approx((359.4032, 373.4032), abs=6e-5)
    logs = [math.log(found[n]) for n in ("absorption.ka", "body.CL", "body.V1")]
    assert logs == pytest.approx([0.46388, 1.01216, 3.45975], abs=1.5e-4)
    omega = [found[f"omega({n})"] for n in ("absorption.ka", "body.CL", "body.V1")]
    assert omega == pytest.approx([0.40233, 0.06910, 0.01916], abs=1e-4)
    assert found["body.C.additive"] == pytest.approx(0.69441, abs=2e-5)
    shrunk = [100 * found.shrinkage[n] for n in ("absorption.ka", "body.CL", "body.V1")]
    assert shrunk == pytest.approx([1.8, 3.9, 10.3], abs=0.06)


def test_theophylline_with_variances_added(shared_data: Path) -> None:
    problem = theophylline_problem(shared_data, residuals=(Residual("body.C", 0.1, "0.3 mg/L"),))

    found = fit(problem, tolerance=1e-7)

    assert found.objective == pytest.approx(104.3221, abs=6e-5)
    assert found["body.C.additive"] == pytest.approx(0.27544, abs=2e-5)
    assert found["body.C.proportional"] == pytest.approx(0.13390, abs=2e-5)
    logs = [math.log(found[n]) for n in ("absorption.ka", "body.CL", "body.V1")]
    assert logs == pytest.approx([0.39174, 1.02452, 3.46569], abs=1e-4)


def test_warfarin_by_focei(shared_data: Path) -> None:
    data = records("warfarin.csv", WARFARIN, shared_data)
    problem = Problem(warfarin(), data)

    found = fit(problem, start={"absorption.ktr": 1.0, "body.CL": 0.1, "body.V1": 8.0})

    assert (len(data), problem.count) == (32, 251)
    assert found.objective == pytest.approx(289.9153, abs=1e-4)
    assert found.minus2ll == pytest.approx(751.2224, abs=1e-4)
    names = ("absorption.ktr", "body.CL", "body.V1", "body.C.additive", "body.C.proportional")
    assert [found[n] for n in names] == pytest.approx(
        [1.161, 0.1350, 8.009, 0.466, 0.1013], rel=1e-3
    )
    shrunk = [100 * found.shrinkage[n] for n in names[:3]]
    assert shrunk == pytest.approx([44.9, 1.7, 17.8], abs=0.1)


def test_exact_gradient_is_that_of_differences(shared_data: Path) -> None:
    problem = theophylline_problem(shared_data, residuals=(Residual("body.C", 0.1, "0.3 mg/L"),))
    found = evaluate(problem)

    exact = found.gradients.sum(axis=0)

    numeric = []
    for k in range(len(found.vector)):
        sides = []
        for sign in (1, -1):
            moved = found.vector.copy()
            moved[k] += sign * 1e-3
            sides.append(evaluate(problem, start=moved).objective)
        numeric.append((sides[0] - sides[1]) / 2e-3)
    assert exact == pytest.approx(np.array(numeric), rel=2e-4, abs=2e-4)
