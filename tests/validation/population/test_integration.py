"""Quadrature, importance sampling and SAEM against exact integrals and each other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from galenic.inference.mixed.fit import evaluate, fit
from galenic.inference.mixed.integrate import importance
from galenic.inference.mixed.problem import Problem
from galenic.inference.mixed.saem import Settings, saem
from galenic.library.pk.populations import theophylline

sys.path.insert(0, str(Path(__file__).parent))
from population_cases import THEOPHYLLINE, decay, proportional, records


def test_quadrature_of_wang_2007(shared_data: Path) -> None:
    """One node is FOCEI; nine are the exact integral (SciPy's quad: 39.3548)."""
    problem = decay(proportional(), shared_data)

    found = [evaluate(problem, "agq", nodes=n).objective for n in (1, 2, 3, 9)]

    assert found == pytest.approx([39.4576, 39.2973, 39.3711, 39.3548], abs=6e-5)


def test_importance_sampling_tells_its_error(shared_data: Path) -> None:
    at = evaluate(decay(proportional(), shared_data))

    one, again, other = (importance(at, 2000, seed) for seed in (1, 1, 2))

    assert one.objective == again.objective != other.objective
    assert 0.01 < one.error < 0.1
    assert abs(one.objective - 39.3548) < 4 * one.error
    assert abs(other.objective - 39.3548) < 4 * other.error


def test_saem_finds_what_quadrature_finds(shared_data: Path) -> None:
    problem = Problem(theophylline(), records("theo_sd.csv", THEOPHYLLINE, shared_data))
    start = {"absorption.ka": 1.0, "body.CL": 2.0, "body.V1": 25.0}

    found = saem(problem, start, seed=1, settings=Settings(120, 120))

    exact = fit(problem, "agq", nodes=3, tolerance=1e-3)
    for name, error in exact.errors("s").items():
        assert abs(found[name] - exact[name]) < 0.25 * error, name
    likelihood = found.notes["importance"]
    assert likelihood.objective == pytest.approx(exact.objective, abs=4 * likelihood.error + 0.15)
