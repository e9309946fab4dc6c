"""Individual parameters, and a population with estimated values."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import casadi as ca
import numpy as np

from galenic.inference.algebra import Array
from galenic.modeling.variability import Population

if TYPE_CHECKING:
    from galenic.inference.mixed.problem import Problem


def individual_values(problem: Problem, vector: Array, effects: Array) -> Array:
    """Parameters [SI] (n, n_parameters) at the first row's covariates and occasion."""
    course, joined = problem.course, problem.joined
    theta = course.theta(problem.packing.point(vector).fixed, effects, np.arange(len(course)))
    rows = theta.T
    cuts = [
        joined.first_covariate,
        joined.first_effect,
        joined.first_effect + joined.n_eta,
        joined.first_mark,
    ]
    parts = np.split(rows[: joined.first_mark + joined.marks], cuts)
    return np.asarray(joined.parameters(*parts), float).T


def parameters(problem: Problem, vector: Array, effects: Array) -> list[dict[str, Any]]:
    """Parameters that vary, by name, in declared units, with the subject's ``id``."""
    values = individual_values(problem, vector, effects)
    entries = problem.population.system.parameters
    shown = [f.place for f in problem.joined.fixed if problem.joined.term(f.path)]
    return [
        {"id": one.id} | {entries[i].path: float(row[i] / entries[i].unit.scale) for i in shown}
        for one, row in zip(problem.course.people, values, strict=True)
    ]


def updated(problem: Problem, vector: Array) -> Population:
    """The population with the values of a vector as its own."""
    population, packing = problem.population, problem.packing
    point = packing.point(vector)
    typical = problem.joined.outer(point.fixed)
    system = population.system
    entries = tuple(
        replace(e, value=float(v)) for e, v in zip(system.parameters, typical, strict=True)
    )
    system = replace(system, parameters=entries, p=ca.SX(system.p))
    n = problem.joined.n_eta
    sd = np.sqrt(np.diag(point.omega))
    between = tuple(replace(term, sd=float(sd[k])) for k, term in enumerate(population.between))
    names = [term.parameter for term in between]
    correlations = {
        (names[i], names[j]): float(point.omega[i, j] / (sd[i] * sd[j]))
        for i, j in packing.places
        if i != j
    }
    occasions = tuple(
        replace(term, sd=float(sd[n + k * problem.joined.occasions]))
        for k, term in enumerate(population.occasions)
    )
    residuals = [_residual(problem, r, point.sigma) for r in population.residuals]
    return Population(
        system, population.covariates, population.relations, between, correlations, residuals,
        occasions, population.coefficients,
    )  # fmt: skip


def _residual(problem: Problem, residual: Any, sigma: Array) -> Any:
    for model, place in zip(problem.errors.models, problem.errors.slices, strict=True):
        if model.residual.output == residual.output:
            sd = map(float, np.exp(sigma[place]))
            found: dict[str, Any] = dict(zip(model.names, sd, strict=True))
            if "additive" in found:
                unit = residual_unit(problem, residual.output)
                found["additive"] = f"{found['additive']!r} {unit}"
            return replace(residual, **found)
    return residual


def residual_unit(problem: Problem, output: str) -> str:
    """The unit of DV of an output."""
    for path, text in problem.course.records.endpoints:
        if path == output:
            return text or str(problem.population.system.entry(path).unit.text)
    return str(problem.population.system.entry(output).unit.text)
