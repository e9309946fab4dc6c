"""A population joined with a data set: all that estimation needs to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from galenic.errors import DataError, UnknownName
from galenic.inference.algebra import Array
from galenic.inference.mixed.course import Course
from galenic.inference.mixed.effects import Joined
from galenic.inference.mixed.errors import ErrorModel, Errors
from galenic.inference.mixed.packing import Packing
from galenic.inference.mixed.records import Individual, Records
from galenic.units import unit

BLQ = ("M1", "M2", "M3", "M5", "M6")


@dataclass(frozen=True, eq=False)
class Problem:
    """A population and the data by which it is estimated.

    Parameters
    ----------
    population : Population
        Its values are the start of the search.
    records : Records
    estimate : sequence of paths
        Typical values to estimate beside those that vary between individuals.
    hold : sequence of str
        Paths and names (``omega(CL)``, ``C.additive``) to keep as they are.
    blq : str
        What is done with values below the limit of quantification: M1 leaves them out, M2
        too but takes the others as known to lie above it, M3 takes their probability, M5 puts half
        the limit, M6 the same for the first of a falling series and leaves the others out.
    rtol : float
        Relative tolerance of the solution where the model is not linear.
    threads : int
    """

    population: Any
    records: Records
    estimate: Sequence[str] = ()
    hold: Sequence[str] = ()
    blq: str = "M3"
    rtol: float = 1e-8
    threads: int = 1
    joined: Joined = field(init=False)
    course: Course = field(init=False)
    errors: Errors = field(init=False)
    packing: Packing = field(init=False)

    def __post_init__(self) -> None:
        if self.blq not in BLQ:
            raise UnknownName.among("method for values below the limit", self.blq, BLQ)
        records = _quantified(self.records, self.blq)
        outputs = list(dict.fromkeys(path for path, _ in records.endpoints))
        paths = [e.path for e in self.population.system.parameters]
        held = [name for name in self.hold if name in paths]
        joined = Joined(self.population, outputs, len(records.occasions), self.estimate, held)
        course = Course(joined, records, self.rtol, self.threads)
        models = [self._error(path, text, joined) for path, text in records.endpoints]
        errors = Errors(models, truncated=self.blq == "M2")
        others = [name for name in self.hold if name not in paths]
        for name, value in (
            ("joined", joined), ("course", course), ("errors", errors),
            ("packing", Packing(joined, errors, others)),
        ):  # fmt: skip
            object.__setattr__(self, name, value)
        self._check_values()

    def _error(self, path: str, text: str, joined: Joined) -> ErrorModel:
        known = {r.output: r for r in self.population.residuals}
        if path not in known:
            raise UnknownName.among("residual of", path, known, where="the population")
        own = joined.system.entry(path).unit
        given = unit(text) if text else own
        if given.dimension != own.dimension:
            raise DataError(
                f"observations of {path} in {given}",
                where="Layout(endpoints=...)",
                expected=f"a unit that converts to {own}",
            )
        return ErrorModel(known[path], given)

    def _check_values(self) -> None:
        course = self.course
        unknown = (
            course.mask & ~(course.limits <= course.y) if self.blq == "M2" else course.mask[:0]
        )
        if unknown.any():
            who, k = (int(v[0]) for v in np.nonzero(unknown))
            one = course.people[who]
            raise DataError(
                f"an observation of {one.values[k]:g} with the limit {one.limits[k]:g}",
                where=f"row {one.rows[k]}, column DV", expected="a limit below each value for M2",
                hint="Layout(limit=...), or a column LLOQ",
            )  # fmt: skip
        for e, model in enumerate(self.errors.models):
            mine = course.mask & (course.endpoint == e) & ~course.censored
            if model.residual.combine == "log" and (course.y[mine] <= 0).any():
                who, k = (int(v[0]) for v in np.nonzero(mine & (course.y <= 0)))
                one = course.people[who]
                raise DataError(
                    f"an observation of {one.values[k]:g}",
                    where=f"row {one.rows[k]}, column DV",
                    expected="above 0 where the logarithm has the error",
                    hint="mark it as below a limit",
                )

    @property
    def names(self) -> list[str]:
        """Names of what is estimated."""
        return self.packing.names

    @property
    def count(self) -> int:
        """Number of observations that are used."""
        return int(self.course.mask.sum())

    @property
    def constant(self) -> float:
        """N ln(2 pi): what minus twice the log likelihood has on top of the objective."""
        used = self.course.mask & ~self.course.censored
        return float(used.sum() * np.log(2 * np.pi))

    def start(self, values: Mapping[str, float] | None = None) -> Array:
        """The vector of the population, with some numbers (as reported) instead.

        Parameters
        ----------
        values : mapping of name to number
            Fixed effects in declared units, Omega as variances, errors as sd.
        """
        return self.vector(dict(values or {}))

    def vector(self, values: Mapping[str, float]) -> Array:
        """The search vector of reported numbers; the population's where none is given."""
        packing = self.packing
        xi = packing.start()
        point = packing.point(xi)
        omega = np.array(point.omega)
        first = packing.n_fixed + packing.n_omega
        n = self.joined.n_eta
        for name, value in values.items():
            if name not in packing.names:
                raise UnknownName.among("estimated number", name, packing.names)
            k = packing.names.index(name)
            if k < packing.n_fixed:
                fixed = self.joined.fixed[k]
                xi[k] = fixed.inner(float(value) * fixed.unit.scale)
            elif k < first:
                i, j = packing.places[k - packing.n_fixed]
                omega[i, j] = omega[j, i] = value
            elif k < first + len(packing.kappas):
                place = n + (k - first) * self.joined.occasions
                for o in range(self.joined.occasions):
                    omega[place + o, place + o] = value
            else:
                xi[k] = np.log(value)
        point = packing.point(xi)
        return packing.vector(replace(point, omega=omega))

    def with_records(self, records: Records) -> Problem:
        """The same for other data."""
        return replace_problem(self, records=records)

    def with_population(self, population: Any) -> Problem:
        """The same for another population."""
        return replace_problem(self, population=population)


def replace_problem(problem: Problem, **changes: Any) -> Problem:
    """A problem with other parts."""
    facts = {
        name: getattr(problem, name)
        for name in ("population", "records", "estimate", "hold", "blq", "rtol", "threads")
    }
    return Problem(**(facts | changes))


def _quantified(records: Records, blq: str) -> Records:
    """The records with what is done about values below the limit."""
    if blq == "M3" or not any(one.censored.any() for one in records.individuals):
        return records
    return replace(records, individuals=tuple(_treated(one, blq) for one in records.individuals))


def _treated(one: Individual, blq: str) -> Individual:
    keep = ~one.censored
    values = one.values.copy()
    if blq in ("M5", "M6"):
        values[one.censored] = one.limits[one.censored] / 2
        if blq == "M5":
            keep = np.ones_like(keep)
        else:
            first = np.flatnonzero(one.censored)
            runs = [i for i in first if i == 0 or not one.censored[i - 1]]
            keep[runs] = True
    names = ("times", "endpoint", "limits", "rows", "orders")
    return replace(
        one,
        values=values[keep],
        censored=np.zeros(int(keep.sum()), bool),
        **{name: getattr(one, name)[keep] for name in names},
    )
