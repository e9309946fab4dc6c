"""A population's model with effects and fixed effects as parameters of one System.

The parameters of the joined System are the typical values, the covariates, an effect eta of each
between-subject term, an effect kappa of each occasion term on each occasion, and for each
occasion a mark that is 1 while it lasts. Its equations are those of the model with an individual's
parameters put in, so that derivatives by effects follow changes of covariates and occasions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import casadi as ca
import numpy as np

from galenic.errors import ModelError, UnknownName
from galenic.inference.algebra import Array
from galenic.modeling.covariates import substituted
from galenic.modeling.effects import Between
from galenic.modeling.system import Entry, System
from galenic.units import unit, value_in

LOG, LOGIT, PLAIN = "log", "logit", "plain"


@dataclass(frozen=True)
class Fixed:
    """An estimated typical value or coefficient: ``scale`` is the one it is searched on."""

    path: str
    place: int
    scale: str
    low: float
    width: float
    unit: Any

    def inner(self, value: float) -> float:
        """The number on the search scale of a value [SI]."""
        if self.scale == LOG:
            return float(np.log(value / self.unit.scale))
        if self.scale == LOGIT:
            share = (value - self.low) / self.width
            return float(np.log(share / (1 - share)))
        return float(value / self.unit.scale)

    def outer(self, x: Any) -> Any:
        """The value [SI] of a number on the search scale."""
        if self.scale == LOG:
            return np.exp(x) * self.unit.scale
        if self.scale == LOGIT:
            return self.low + self.width / (1 + np.exp(-x))
        return x * self.unit.scale

    def slope(self, x: Any) -> Any:
        """Derivative of ``outer``."""
        if self.scale == LOG:
            return np.exp(x) * self.unit.scale
        if self.scale == LOGIT:
            share = 1 / (1 + np.exp(-x))
            return self.width * share * (1 - share)
        return self.unit.scale + 0.0 * x

    def declared(self, x: float) -> float:
        """The value in the declared unit."""
        return float(self.outer(x) / self.unit.scale)


class Joined:
    """The joined System of a Population and the places of its parts.

    Parameters
    ----------
    population : Population
    outputs : sequence of paths
        The observed outputs.
    occasions : int
        How many occasions the data have.
    estimate, hold : sequences of paths
        Typical values to estimate beside those that vary and all coefficients; those to hold.
    """

    def __init__(
        self,
        population: Any,
        outputs: Sequence[str],
        occasions: int = 1,
        estimate: Sequence[str] = (),
        hold: Sequence[str] = (),
    ) -> None:
        self.population, self.outputs = population, tuple(outputs)
        system: System = population.system
        self.occasions = max(occasions, 1) if population.occasions else 1
        self.n_eta = len(population.between)
        self.n_kappa = len(population.occasions) * self.occasions
        self.marks = self.occasions if population.occasions else 0
        self.covariates = tuple(c.name for c in population.covariates)
        covariates = ca.SX.sym("covariates", len(self.covariates))
        eta, kappa = ca.SX.sym("eta", self.n_eta), ca.SX.sym("kappa", self.n_kappa)
        marks = ca.SX.sym("marks", self.marks)
        effects: dict[str, Any] = {}
        for k, term in enumerate(population.between):
            effects[term.parameter] = eta[k]
        for k, term in enumerate(population.occasions):
            own = kappa[k * self.occasions : (k + 1) * self.occasions]
            effects[term.parameter] = effects.get(term.parameter, 0) + ca.dot(marks, own)
        values = population.varied(covariates, effects)
        inside = [system.p, covariates, eta, kappa, marks]
        self.parameters = ca.Function("parameters", inside, [values])
        known = [Entry(name, "parameter", unit("1")) for name in self._extra_names()]
        joined = substituted(_pruned(system, self.outputs), values)
        self.system = replace(
            joined,
            p=ca.vertcat(*inside),
            parameters=system.parameters + tuple(known),
            conserved=(),
        )
        self.typical = np.array(population.typical)
        self.fixed = self._fixed(estimate, hold)
        self.follows = self._follows()

    def _extra_names(self) -> list[str]:
        names = [f"covariate {name}" for name in self.covariates]
        names += [f"eta {k}" for k in range(self.n_eta)]
        names += [f"kappa {k}" for k in range(self.n_kappa)]
        return names + [f"occasion {k}" for k in range(self.marks)]

    @property
    def n_effects(self) -> int:
        """Random effects of an individual: eta, then kappa by term and occasion."""
        return self.n_eta + self.n_kappa

    @property
    def first_covariate(self) -> int:
        """Place of the first covariate among the parameters of the joined System."""
        return len(self.typical)

    @property
    def first_effect(self) -> int:
        """Place of the first random effect."""
        return len(self.typical) + len(self.covariates)

    @property
    def first_mark(self) -> int:
        """Place of the first mark of an occasion."""
        return self.first_effect + self.n_effects

    def term(self, path: str) -> Between | None:
        """What varies a parameter, if anything does."""
        for term in (*self.population.between, *self.population.occasions):
            if term.parameter == path:
                return Between(path, term.sd, term.kind)
        return None

    def _fixed(self, estimate: Sequence[str], hold: Sequence[str]) -> tuple[Fixed, ...]:
        system = self.population.system
        names = [e.path for e in system.parameters]
        for path in (*estimate, *hold):
            if path not in names:
                raise UnknownName.among("parameter", path, names, where="what to estimate")
        varied = [t.parameter for t in (*self.population.between, *self.population.occasions)]
        varied += [c.name for c in self.population.coefficients]
        wanted = [n for n in names if n in {*varied, *estimate} and n not in hold]
        return tuple(self._one(path, names.index(path)) for path in wanted)

    def _one(self, path: str, place: int) -> Fixed:
        entry = self.population.system.entry(path)
        term = self.term(path)
        width = entry.upper - entry.lower
        kind = term.kind if term else ""
        if kind == "logit" or (not kind and np.isfinite(width)):
            scale = LOGIT
        elif kind in ("log-normal", "box-cox") or (not kind and entry.lower >= 0):
            scale = LOG
        else:
            scale = PLAIN
        inside = {
            LOG: entry.value > 0,
            LOGIT: entry.lower < entry.value < entry.upper,
            PLAIN: True,
        }[scale]
        if not inside:
            raise ModelError(
                f"the start value of {path} is {entry.value / entry.unit.scale:g} {entry.unit}",
                where="what to estimate",
                expected="a value inside of its bounds, above 0 for a positive one",
                hint="give a start value, or hold the parameter",
            )
        return Fixed(path, place, scale, entry.lower, width, entry.unit)

    def _follows(self) -> tuple[int, ...]:
        """For each fixed effect the eta that moves individuals in the same way, or -1.

        Then derivatives by that eta are those by the fixed effect on its scale, and the estimate
        can be had in closed form from individual values.
        """
        rng = np.random.default_rng(0)
        terms = self.population.between
        c = np.array([float(value_in(v.value, v.unit)) for v in self.population.covariates])
        eta = 0.1 * rng.standard_normal(self.n_eta)
        places = []
        for fixed in self.fixed:
            mine = [k for k, t in enumerate(terms) if t.parameter == fixed.path]
            same = mine and self._same(fixed, mine[0], c, eta)
            places.append(mine[0] if same else -1)
        return tuple(places)

    def _same(self, fixed: Fixed, k: int, covariates: Array, eta: Array) -> bool:
        step = 0.05
        moved, typical = eta.copy(), self.typical.copy()
        moved[k] += step
        typical[fixed.place] = fixed.outer(fixed.inner(typical[fixed.place]) + step)
        none = np.zeros(self.n_kappa), np.zeros(self.marks)
        a = self.parameters(typical, covariates, eta, *none)
        b = self.parameters(self.typical, covariates, moved, *none)
        return bool(np.allclose(np.asarray(a), np.asarray(b), rtol=1e-10, atol=0.0))

    def inner(self) -> Array:
        """Start values of the fixed effects on their scales."""
        return np.array([f.inner(self.typical[f.place]) for f in self.fixed], float)

    def outer(self, x: Array) -> Array:
        """All typical values [SI] for fixed effects on their scales."""
        typical = self.typical.copy()
        for fixed, value in zip(self.fixed, x, strict=True):
            typical[fixed.place] = fixed.outer(value)
        return typical


def _pruned(system: System, outputs: Sequence[str]) -> System:
    """The system without states that the outputs do not depend on, such as an area to date."""
    places = []
    for path in outputs:
        kind, i = system.index(path)
        if kind == "state":
            return system
        places.append(i if kind == "output" else -1)
    if system.z.numel() or system.events or -1 in places:
        return system
    y = ca.vertcat(*(system.y[i] for i in places))
    seen = {i for i in range(system.x.numel()) if ca.depends_on(y, system.x[i])}
    while True:
        rates = ca.vertcat(*(system.ode[i] for i in sorted(seen)))
        more = {i for i in range(system.x.numel()) if ca.depends_on(rates, system.x[i])}
        if more <= seen:
            break
        seen |= more
    keep = sorted(seen)
    return replace(
        system,
        x=ca.vertcat(*(system.x[i] for i in keep)) if keep else ca.SX(0, 1),
        ode=ca.vertcat(*(system.ode[i] for i in keep)) if keep else ca.SX(0, 1),
        x0=ca.vertcat(*(system.x0[i] for i in keep)) if keep else ca.SX(0, 1),
        y=y,
        states=tuple(system.states[i] for i in keep),
        outputs=tuple(system.outputs[i] for i in places),
        conserved=(),
    )
