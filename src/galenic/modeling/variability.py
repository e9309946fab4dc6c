"""Populations: how individuals differ from the typical one, and from what it can be told.

An individual's parameter is its typical value, times what covariates explain, times (or plus)
what they do not. The relations are traced like equations, with units, so that estimators can
differentiate them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import casadi as ca
import numpy as np
import numpy.typing as npt

from galenic.errors import ModelError, UnknownName
from galenic.modeling.effects import Between, Coefficient, Occasion, Residual
from galenic.modeling.expression import Expression, common_unit, lift
from galenic.modeling.system import Entry, System
from galenic.units import Quantity, from_si, unit, value_in

__all__ = [
    "Between",
    "Coefficient",
    "Cohort",
    "Covariate",
    "Covariates",
    "Occasion",
    "Population",
    "Residual",
    "Subject",
]

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Covariate:
    """A measured property of individuals; ``value`` is the reference, ``spread`` one sd.

    A positive covariate is drawn log-normal with that mean and sd, else normal. Outside of
    ``lower`` to ``upper`` the population says nothing about an individual.
    """

    name: str
    value: float
    unit: str
    spread: float = 0.0
    meaning: str = ""
    positive: bool = True
    lower: float = -math.inf
    upper: float = math.inf

    def holds(self, value: float) -> bool:
        """Whether a value [SI] lies in the range that the population covers."""
        low, high = (float(value_in(bound, self.unit)) for bound in (self.lower, self.upper))
        slack = 1e-9 * abs(value)
        return low - slack <= value <= high + slack

    def draw(self, n: int, rng: np.random.Generator) -> Vector:
        """``n`` values [SI]."""
        return self.of_normal(rng.standard_normal(n))

    def of_normal(self, z: Vector) -> Vector:
        """The values [SI] that belong to standard normal numbers."""
        scale = unit(self.unit).scale
        mean = float(value_in(self.value, self.unit))
        sd = self.spread * scale
        if not self.positive:
            return mean + sd * z
        s2 = math.log1p((sd / mean) ** 2)
        return np.asarray(mean * np.exp(math.sqrt(s2) * z - s2 / 2), float)


Relation = Callable[[Expression, "Covariates"], Expression]


class Covariates:
    """The covariates inside of a relation, as expressions with units."""

    def __init__(self, values: Mapping[str, Expression]) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise UnknownName.among("covariate", name, vars(self))


@dataclass(frozen=True, eq=False)
class Population:
    """A model with the ways in which individuals differ.

    Parameters
    ----------
    model : Model or System
        The physics, with typical parameter values.
    covariates : sequence of Covariate
        What is known of an individual.
    relations : mapping of parameter path to function
        ``{"CL": lambda typical, c: typical * (c.weight / "70 kg") ** 0.75}``.
    between : sequence of Between
        What differs without known cause, one random effect each.
    correlations : mapping of parameter pairs to float
        Between random effects; zero where not given.
    residuals : sequence of Residual
        Per observed output.
    occasions : sequence of Occasion
        What differs between occasions of one subject; ``sample`` and ``for_subject`` leave it out.
    coefficients : sequence of Coefficient
        Numbers of the relations that can be estimated; they stand beside the covariates,
        ``lambda typical, c: typical * (c.weight / "70 kg") ** c.exponent``.
    """

    model: Any
    covariates: Sequence[Covariate] = ()
    relations: Mapping[str, Relation] = field(default_factory=dict)
    between: Sequence[Between] = ()
    correlations: Mapping[tuple[str, str], float] = field(default_factory=dict)
    residuals: Sequence[Residual] = ()
    occasions: Sequence[Occasion] = ()
    coefficients: Sequence[Coefficient] = ()
    system: System = field(init=False)
    individual: ca.Function = field(init=False)

    def __post_init__(self) -> None:
        system = self.model if isinstance(self.model, System) else self.model.flatten()
        system = self._with_coefficients(system)
        object.__setattr__(self, "system", system)
        names = [e.path for e in system.parameters]
        terms: tuple[Between | Occasion, ...] = (*self.between, *self.occasions)
        for path in (*self.relations, *(term.parameter for term in terms)):
            if path not in names:
                raise UnknownName.among("parameter", path, names, where="Population")
        object.__setattr__(self, "individual", self._individual(system))
        self.omega  # noqa: B018  a covariance that is none is found here

    def _with_coefficients(self, system: System) -> System:
        """The coefficients as further parameters, on which the physics does not depend."""
        known = {e.path for e in system.parameters}
        new = [c for c in self.coefficients if c.name not in known]
        if not new:
            return system
        symbols = [ca.SX.sym(c.name) for c in new]
        entries = tuple(c.entry() for c in new)
        return replace(
            system, p=ca.vertcat(system.p, *symbols), parameters=system.parameters + entries
        )

    def _individual(self, system: System) -> ca.Function:
        """Function (typical, covariates, eta) -> parameters of an individual, all SI."""
        covariates = ca.SX.sym("covariates", len(self.covariates))
        eta = ca.SX.sym("eta", len(self.between))
        effects = {term.parameter: eta[k] for k, term in enumerate(self.between)}
        values = self.varied(covariates, effects)
        return ca.Function(
            "individual", [system.p, covariates, eta], [values],
            ["typical", "covariates", "eta"], ["parameters"],
        )  # fmt: skip

    def varied(self, covariates: ca.SX, effects: Mapping[str, ca.SX]) -> ca.SX:
        """An individual's parameters [SI] as expressions of those of the System.

        Parameters
        ----------
        covariates : SX
            Values [SI], in their order.
        effects : mapping of parameter path to SX
            The sum of what acts on each: between subjects and between occasions.
        """
        system = self.system
        known = {
            c.name: Expression(covariates[i], unit(c.unit), None, c.name)
            for i, c in enumerate(self.covariates)
        }
        for c in self.coefficients:
            place = system.index(c.name)[1]
            known[c.name] = Expression(system.p[place], unit(c.unit), None, c.name)
        kinds = {t.parameter: Between(t.parameter, t.sd, t.kind) for t in self.occasions}
        kinds |= {term.parameter: term for term in self.between}
        values = []
        for i, entry in enumerate(system.parameters):
            value = Expression(system.p[i], entry.unit, None, entry.path)
            if entry.path in self.relations:
                value = self._related(entry, value, Covariates(known))
            sx = value.sx
            if entry.path in effects:
                sx = kinds[entry.path].vary(sx, effects[entry.path], entry)
            values.append(sx)
        return ca.vertcat(*values)

    def _related(self, entry: Entry, typical: Expression, covariates: Covariates) -> Expression:
        value = lift(self.relations[entry.path](typical, covariates))
        common_unit(f"give {entry.path} a value in", entry.unit, value.unit)
        return value

    @property
    def omega(self) -> Vector:
        """Covariance of the random effects, in the order of ``between``."""
        sd = np.array([term.sd for term in self.between], float)
        names = [term.parameter for term in self.between]
        correlation = np.eye(sd.size)
        for (a, b), value in self.correlations.items():
            for name in (a, b):
                if name not in names:
                    raise UnknownName.among("random effect", name, names, where="correlations")
            i, j = names.index(a), names.index(b)
            correlation[i, j] = correlation[j, i] = value
        if sd.size and np.linalg.eigvalsh(correlation)[0] < 0:
            raise ModelError("the correlations are no correlation matrix", where="Population")
        return np.asarray(sd[:, None] * correlation * sd, float)

    @property
    def typical(self) -> Vector:
        """Typical parameters [SI], in the order of the System."""
        return np.array([e.value for e in self.system.parameters], float)

    def sample(self, n: int, rng: np.random.Generator) -> Cohort:
        """``n`` individuals with covariates drawn too."""
        columns = [c.draw(n, rng) for c in self.covariates]
        covariates = np.array(columns, float).reshape(len(columns), n)
        eta = rng.multivariate_normal(np.zeros(len(self.between)), self.omega, n, method="eigh").T
        return self._cohort(covariates, eta)

    def quasi_sample(self, n: int, seed: int = 0) -> Cohort:
        """``n`` individuals that fill the population evenly: a scrambled Sobol sequence.

        Means and quantiles settle faster than with as many random individuals, best for powers of
        two; the individuals are not independent of each other.
        """
        from scipy.stats import norm, qmc

        known = len(self.covariates)
        width = known + len(self.between)
        rng = np.random.default_rng(seed)
        points = qmc.Sobol(max(width, 1), rng=rng).random_base2(max(n - 1, 1).bit_length())[:n]
        z = norm.ppf(np.clip(points[:, :width], 2.0**-32, 1 - 2.0**-32)).T
        columns = [c.of_normal(z[k]) for k, c in enumerate(self.covariates)]
        covariates = np.array(columns, float).reshape(known, n)
        size, direction = np.linalg.eigh(self.omega)
        eta = direction @ (np.sqrt(np.maximum(size, 0.0))[:, None] * z[known:])
        return self._cohort(covariates, eta)

    def _cohort(self, covariates: Vector, eta: Vector) -> Cohort:
        """The individuals with these covariates (rows) and random effects (rows)."""
        n = eta.shape[1]
        typical = np.repeat(self.typical[:, None], n, axis=1)
        values = np.asarray(self.individual(typical, covariates, eta), float)
        return Cohort(self, covariates.T, eta.T, values.T)

    def flatten(self) -> System:
        """The model with the covariates as inputs; see ``galenic.modeling.covariates``."""
        from galenic.modeling.covariates import with_covariates

        return with_covariates(self)

    def for_subject(self, covariates: Mapping[str, Any] | None = None) -> Subject:
        """What is expected of one individual before anything was measured of its parameters."""
        given = dict(covariates or {})
        names = [c.name for c in self.covariates]
        for name in given:
            if name not in names:
                raise UnknownName.among("covariate", name, names, where="for_subject")
        values = [value_in(given.get(c.name, c.value), c.unit) for c in self.covariates]
        return Subject(self, np.array(values, float))


@dataclass(frozen=True, eq=False)
class Cohort:
    """Individuals: covariates (n, n_covariates), effects (n, n_effects), values (n, n_p), SI."""

    population: Population
    covariates: Vector
    effects: Vector
    values: Vector

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def __getitem__(self, i: int) -> dict[str, Quantity]:
        """The parameters of one individual, in declared units."""
        return _quantities(self.population.system, self.values[i])


@dataclass(frozen=True, eq=False)
class Subject:
    """One individual: its covariates are known, its random effects ``eta`` are not."""

    population: Population
    covariates: Vector

    @property
    def omega(self) -> Vector:
        """Prior covariance of ``eta``; its mean is zero."""
        return self.population.omega

    def parameters(self, eta: Any) -> Any:
        """Parameters [SI] for random effects; takes numbers or SX, and can be differentiated."""
        result = self.population.individual(self.population.typical, self.covariates, eta)
        return result if isinstance(result, ca.SX) else np.asarray(result, float).ravel()

    def values(self, eta: Any = None) -> dict[str, Quantity]:
        """Parameters in declared units; without ``eta`` those of the typical such individual."""
        effects = np.zeros(len(self.population.between)) if eta is None else eta
        return _quantities(self.population.system, self.parameters(effects))


def _quantities(system: System, values: Vector) -> dict[str, Quantity]:
    return {
        entry.path: Quantity(float(from_si(value, entry.unit)), entry.unit)
        for entry, value in zip(system.parameters, values, strict=True)
    }
