"""A population's model with the covariates as inputs, for an individual followed over time.

Covariates change: kidney function recovers, dialysis begins. As inputs they can be set, bound to
data and corrected like any other. Parameters keep their names; their value is that of the
individual with reference covariates. What it amounts to with the covariates as they are is the
output ``individual.<name>``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import casadi as ca
import numpy as np

from galenic.errors import StructureError
from galenic.modeling.system import Entry, EventRule, System
from galenic.units import unit, value_in

if TYPE_CHECKING:
    from galenic.modeling.effects import Between
    from galenic.modeling.variability import Covariate, Population

PREFIX = "individual."


def with_covariates(population: Population) -> System:
    """The System of ``population`` with its covariates as inputs of role covariate.

    Raises
    ------
    StructureError
        A random effect does not act on the parameter as on its typical value, or the start of a
        state depends on a covariate.
    """
    system = population.system
    system.require_no_delays("a model with covariates as inputs")
    given = ca.vertcat(*(ca.SX.sym(c.name) for c in population.covariates), ca.SX(0, 1))
    _check_effects(population)
    none = ca.SX.zeros(len(population.between))
    individual = population.individual(system.p, given, none)
    joined = substituted(system, individual)
    if given.numel() and ca.depends_on(joined.x0, given):
        raise StructureError(
            "the start of a state depends on a covariate",
            where=system.name,
            hint="start from amounts, not concentrations",
        )
    shown = [i for i, e in enumerate(system.parameters) if e.path in population.relations]
    outputs = tuple(_shown(system.parameters[i]) for i in shown)
    return replace(
        joined,
        u=ca.vertcat(system.u, given),
        inputs=system.inputs + tuple(_entry(c) for c in population.covariates),
        y=ca.vertcat(joined.y, *(individual[i] for i in shown)),
        outputs=system.outputs + outputs,
    )


def _entry(covariate: Covariate) -> Entry:
    here = unit(covariate.unit)
    value, lower, upper = (
        float(value_in(v, here)) for v in (covariate.value, covariate.lower, covariate.upper)
    )
    return Entry(
        covariate.name, "input", here, covariate.meaning, lower, upper,
        abs(value) or here.scale, value, "covariate",
    )  # fmt: skip


def _shown(parameter: Entry) -> Entry:
    return replace(
        parameter,
        path=PREFIX + parameter.path,
        kind="output",
        meaning=f"{parameter.meaning} of the individual as it is now",
        value=float("nan"),
        spread=None,
        source="",
    )


def _check_effects(population: Population) -> None:
    """exp(eta) on the typical value must act as exp(eta) on the individual one; eta likewise."""
    system, rng = population.system, np.random.default_rng(0)
    covariates = [float(value_in(c.value, c.unit)) for c in population.covariates]
    scales = [system.entry(term.parameter).unit.scale for term in population.between]
    eta = 0.1 * rng.standard_normal(len(scales))
    moved = population.typical
    for k, term in enumerate(population.between):
        _check_plain(term, system.name)
        i = system.index(term.parameter)[1]
        log = term.kind == "log-normal"
        moved[i] = moved[i] * np.exp(eta[k]) if log else moved[i] + eta[k] * scales[k]
    after = np.array(population.individual(population.typical, covariates, eta)).ravel()
    before = np.array(population.individual(moved, covariates, 0 * eta)).ravel()
    wrong = [
        entry.path
        for entry, a, b in zip(system.parameters, after, before, strict=True)
        if not np.isclose(a, b, rtol=1e-9, atol=0.0)
    ]
    if wrong:
        raise StructureError(
            f"the relation of {wrong[0]} is not in proportion to its typical value",
            where=system.name,
            expected="typical * f(covariates) for a log-normal parameter",
        )


def _check_plain(term: Between, where: str) -> None:
    if not term.plain:
        raise StructureError(
            f"{term.parameter} varies by {term.kind}",
            where=where,
            expected="log-normal or normal, for an individual followed over time",
        )


def substituted(system: System, individual: Any) -> System:
    """The system with other parameters in all its expressions."""

    def put(sx: Any) -> Any:
        return ca.substitute(sx, system.p, individual)

    events = tuple(
        EventRule(
            rule.name,
            None if rule.trigger is None else put(rule.trigger),
            rule.period,
            rule.first,
            tuple((i, put(value)) for i, value in rule.resets),
            rule.terminal,
        )
        for rule in system.events
    )
    conserved = tuple(
        replace(b, amount=put(b.amount), inflow=put(b.inflow)) for b in system.conserved
    )
    return replace(
        system, ode=put(system.ode), alg=put(system.alg), y=put(system.y), x0=put(system.x0),
        events=events, conserved=conserved,
    )  # fmt: skip
