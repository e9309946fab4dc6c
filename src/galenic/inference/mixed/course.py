"""Predictions of all observations of all individuals, with derivatives, from one kernel.

Linear models are solved by the exponential of their matrix, others by a Rosenbrock method; which,
follows from the equations. First derivatives by random effects and fixed effects are forward
sensitivities; second derivatives are central differences of those. Where parameters move doses
(lag, duration) derivatives by them are central differences of predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from galenic.engine.native import Status, compile_kernel, is_linear, with_sensitivities
from galenic.engine.native.problem import Problem
from galenic.engine.native.schedule import Events
from galenic.errors import DataError, UnknownName
from galenic.inference.algebra import Array
from galenic.inference.mixed.effects import Fixed, Joined
from galenic.inference.mixed.records import Records
from galenic.inference.mixed.steady import check_on_top, cycles
from galenic.inference.mixed.timeline import Dosing, Places, Timeline, events, timeline
from galenic.units import unit

Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Predicted:
    """Predictions in the units of DV, in a table of individuals by observations.

    Parameters
    ----------
    f : array (n, T)
        Zero where an individual has no further observation; nan where it could not be solved.
    by : array (n, T, d) or None
        Derivatives by the directions: effects, then fixed effects that follow none of them.
    """

    f: Array
    by: Array | None


class Course:
    """The predictions that a population makes for a data set.

    Parameters
    ----------
    joined : Joined
        The model with effects and fixed effects.
    records : Records
        Doses, times, covariates. Individuals without observations are passed over.
    rtol : float
        Relative tolerance where a model is not linear.
    threads : int
    """

    def __init__(
        self, joined: Joined, records: Records, rtol: float = 1e-8, threads: int = 1
    ) -> None:
        self.joined, self.rtol, self.threads = joined, rtol, threads
        self.people = tuple(one for one in records.individuals if len(one.times))
        if not self.people:
            raise DataError("no individual has an observation", where="the data set")
        self.records = records
        self.routes = records.layout.routes
        self._check()
        used = {dose.route for one in self.people for dose in one.doses}
        self.infused = sorted(
            {
                self.routes[dose.route].path
                for one in self.people
                for dose in one.doses
                if dose.rate != 0
            }
        )
        self.problem = Problem.of_system(joined.system, joined.outputs, infused=self.infused)
        self.directions = tuple(range(joined.n_effects)) + tuple(
            -1 - j for j, k in enumerate(joined.follows) if k < 0
        )
        self.free = [j for j, k in enumerate(joined.follows) if k < 0]
        self.scales = np.array(
            [unit(text or joined.system.entry(path).unit).scale for path, text in records.endpoints]
        )
        self.places = self._places(used)
        self.lines = self._timelines()
        self.moved = sorted({p for key in used for p in self.routes[key].parameters})
        self._fixed_events = None if self.moved else events(self.lines, self.places)
        self._lay_out()

    def _check(self) -> None:
        known = set(self.joined.outputs)
        for path, _ in self.records.endpoints:
            if path not in known:
                raise UnknownName.among("observed output", path, known, where="the data set")
        missing = [c for c in self.joined.covariates if c not in self.records.covariates]
        if missing:
            raise DataError(
                f"the population asks for {', '.join(missing)}",
                where="the data set",
                expected="a column for each covariate",
                hint="Layout(covariates={'...': Column('...', 'kg')})",
            )

    def _places(self, used: set[str]) -> Places:
        system, layout = self.joined.system, self.problem.layout
        states, rates = {}, {}
        for key in used:
            route = self.routes[key]
            kind, i = system.index(route.path)
            if kind != "state":
                raise DataError(
                    f"doses go into {route.path}, an {kind}", where="a Route", expected="a state"
                )
            given, own = unit(route.unit), system.entry(route.path).unit
            if given.dimension != own.dimension:
                raise DataError(
                    f"doses in {given} go into {route.path} in {own}",
                    where="a Route", expected=f"a unit that converts to {own}",
                )  # fmt: skip
            states[key] = i
            if route.path in self.infused:
                rates[key] = layout["rate", route.path]
        first = self.joined.first_covariate
        order = [self.joined.covariates.index(c) for c in self._columns()]
        covariates = tuple(first + k for k in order)
        marks = tuple(self.joined.first_mark + k for k in range(self.joined.marks))
        return Places(states, rates, covariates, marks)

    def _columns(self) -> list[str]:
        """Covariates that the population knows, in its order."""
        return [c for c in self.joined.covariates if c in self.records.covariates]

    def _timelines(self) -> list[Timeline]:
        from dataclasses import replace

        chosen = [self.records.covariates.index(c) for c in self._columns()]
        carry = self.records.layout.carry
        check_on_top(self.problem, self.joined, self.people, self.routes)
        count = cycles(self.problem, self.joined, self.people)
        return [
            timeline(
                replace(one, covariates=one.covariates[:, chosen]),
                self.places, carry, count, self.joined.marks,
            )
            for one in self.people
        ]  # fmt: skip

    def _lay_out(self) -> None:
        n = len(self.people)
        self.counts = np.array([len(one.times) for one in self.people])
        width = int(self.counts.max())
        self.mask = np.arange(width) < self.counts[:, None]
        self.y = np.zeros((n, width))
        self.endpoint = np.zeros((n, width), np.int64)
        self.censored = np.zeros((n, width), bool)
        self.limits = np.full((n, width), np.nan)
        self.times = np.zeros((n, width))
        for i, one in enumerate(self.people):
            k = len(one.times)
            self.y[i, :k], self.endpoint[i, :k] = one.values, one.endpoint
            self.censored[i, :k], self.limits[i, :k] = one.censored, one.limits
            self.times[i, :k] = one.times
        self._clock = np.array([t for line in self.lines for t in line.times])
        # the kernel wants ascending times; a reset gives them, the data too
        self._offsets = np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)
        self.begin = np.array([line.begin for line in self.lines])
        self.end = np.array([line.end for line in self.lines])
        joined, base = self.joined, self.problem.defaults.copy()
        base[: len(joined.typical)] = joined.typical
        base[joined.first_effect : joined.first_mark + joined.marks] = 0.0
        base = np.where(np.isnan(base), 0.0, base)
        self._theta = np.repeat(base[None, :], n, axis=0)
        for i, line in enumerate(self.lines):
            for place, value in zip(self.places.covariates, line.covariates, strict=True):
                self._theta[i, place] = value
            for place, value in zip(self.places.marks, line.marks, strict=True):
                self._theta[i, place] = value

    def __len__(self) -> int:
        return len(self.people)

    @property
    def wrt(self) -> list[int]:
        """Elements of theta by which the kernel differentiates."""
        joined = self.joined
        effects = [joined.first_effect + k for k in range(joined.n_effects)]
        return effects + [joined.fixed[j].place for j in self.free]

    @cached_property
    def plain(self) -> Any:
        """The kernel of predictions alone."""
        return _compiled(self.problem)

    @cached_property
    def sensitive(self) -> Any:
        """The kernel with derivatives."""
        return _compiled(with_sensitivities(self.problem, self.wrt))

    @property
    def method(self) -> str:
        """How the equations are solved."""
        return "matrix exponential" if self.plain.method == "exact" else self.plain.method

    def predict(
        self,
        fixed: Array,
        effects: Array,
        who: npt.ArrayLike | None = None,
        slopes: bool = True,
    ) -> Predicted:
        """Predictions.

        Parameters
        ----------
        fixed : array (n_fixed,) or (n, n_fixed)
            Fixed effects on their scales.
        effects : array (n, n_effects)
            Random effects.
        who : array (n,) of int, optional
            Which individual each row is; all in their order if left out.
        slopes : bool
            Whether derivatives are wanted.
        """
        chosen = np.arange(len(self)) if who is None else np.asarray(who, np.int64)
        values = self._run(fixed, effects, chosen, slopes)
        mask = self.mask[chosen]
        rows = mask.sum()
        ends = len(self.scales)
        picked = values.reshape(rows, -1, len(self.joined.outputs))
        endpoint = self.endpoint[chosen][mask]
        order = np.array([self.joined.outputs.index(path) for path, _ in self.records.endpoints])
        flat = picked[np.arange(rows), :, order[endpoint]] / self.scales[endpoint][:, None]
        f = np.zeros(mask.shape)
        f[mask] = flat[:, 0]
        if not slopes:
            return Predicted(f, None)
        by = np.zeros((*mask.shape, flat.shape[1] - 1))
        by[mask] = flat[:, 1:]
        self._to_scales(by, fixed)
        if self.moved:
            self._move(by, fixed, effects, chosen)
        assert ends == len(self.scales)
        return Predicted(f, by)

    def _to_scales(self, by: Array, fixed: Array) -> None:
        """Derivatives by fixed effects on their scales instead of by values in SI."""
        first = self.joined.n_effects
        for k, j in enumerate(self.free):
            x = np.asarray(fixed)[..., j]
            slope = np.asarray(self.joined.fixed[j].slope(x))
            by[..., first + k] *= slope[:, None] if slope.ndim else slope

    def _run(self, fixed: Array, effects: Array, who: Whole, slopes: bool) -> Array:
        theta = self.theta(fixed, effects, who)
        kernel = self.sensitive if slopes else self.plain
        counts = self.counts[who]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        if self._is_all(who):
            flat = self._clock
        else:
            flat = np.concatenate(
                [self._clock[self._offsets[i] : self._offsets[i + 1]] for i in who]
            )
        outcome = kernel.run(
            theta,
            (offsets, flat),
            self._events(kernel, theta, who),
            start=self.begin[who],
            stop=self.end[who],
            rtol=self.rtol,
            threads=self.threads,
        )
        good = Status.good(outcome.status)
        values: Array = outcome.values
        if not good.all():
            values[np.repeat(~good, counts)] = np.nan
        return values

    def theta(self, fixed: Array, effects: Array, who: Whole) -> Array:
        """The elements of theta of each row."""
        theta = self._theta[who]
        x = np.asarray(fixed, float)
        for j, one in enumerate(self.joined.fixed):
            theta[:, one.place] = one.outer(x[..., j])
        first = self.joined.first_effect
        theta[:, first : first + self.joined.n_effects] = effects
        return theta

    def _events(self, kernel: Any, theta: Array, who: Whole) -> Events:
        if self._fixed_events is None:
            lines = [self.lines[i] for i in who]
            return events(lines, self.places, self._dosing(theta, lines, who))
        base = self._fixed_events.checked(len(self), kernel.facts)
        return base if self._is_all(who) else base.chosen(who)

    def _is_all(self, who: Whole) -> bool:
        return len(who) == len(self) and bool((who == np.arange(len(who))).all())

    def _dosing(self, theta: Array, lines: Sequence[Timeline], who: Whole) -> list[list[Dosing]]:
        """What the individual parameters say of each dose, with the covariates of its row."""
        joined = self.joined
        names = [e.path for e in joined.population.system.parameters]
        columns, owners = [], []
        chosen = [self.records.covariates.index(c) for c in self._columns()]
        for m, (line, i) in enumerate(zip(lines, who, strict=True)):
            one = self.people[i]
            for _, _, knot in line.doses:
                row = theta[m].copy()
                row[list(self.places.covariates)] = one.covariates[knot, chosen]
                row[list(self.places.marks)] = 0.0
                if self.places.marks:
                    row[self.places.marks[one.occasions[knot]]] = 1.0
                columns.append(row)
                owners.append(m)
        rows = np.array(columns).T
        cuts = [joined.first_covariate, joined.first_effect, joined.first_effect + joined.n_eta]
        cuts += [joined.first_mark]
        parts = np.split(rows[: joined.first_mark + joined.marks], cuts)
        values = np.asarray(joined.parameters(*parts), float)
        found: list[list[Dosing]] = [[] for _ in lines]
        k = 0
        for m, line in enumerate(lines):
            for dose, _, _ in line.doses:
                route = self.routes[dose.route]

                def of(path: str, other: float, k: int = k) -> float:
                    return float(values[names.index(path), k]) if path else other

                found[m].append(
                    Dosing(
                        of(route.bioavailability, 1.0), of(route.lag, 0.0),
                        of(route.duration, 0.0), of(route.rate, 0.0),
                    )
                )  # fmt: skip
                k += 1
        return found

    def _move(self, by: Array, fixed: Array, effects: Array, who: Whole) -> None:
        """Derivatives by what moves doses, as central differences of predictions."""
        step = 1e-4
        for d, direction in enumerate(self.directions):
            if not self._moves(d):
                continue
            sides = []
            for sign in (1.0, -1.0):
                x = np.array(np.broadcast_to(fixed, (len(who), len(self.joined.fixed))))
                e = np.array(effects, float)
                if direction >= 0:
                    e[:, direction] += sign * step
                else:
                    x[:, -1 - direction] += sign * step
                sides.append(self.predict(x, e, who, slopes=False).f)
            by[..., d] = (sides[0] - sides[1]) / (2 * step)

    def _moves(self, d: int) -> bool:
        """Whether a direction changes a parameter of doses."""
        joined = self.joined
        direction = self.directions[d]
        if direction < 0:
            return True
        terms = [t.parameter for t in joined.population.between]
        terms += [t.parameter for t in joined.population.occasions for _ in range(joined.occasions)]
        return terms[direction] in self.moved

    def second(self, fixed: Array, effects: Array, step: float) -> Array:
        """Second derivatives (n, T, d, d) as central differences of the first ones."""
        n, size = len(self), len(self.directions)
        x = np.broadcast_to(np.asarray(fixed, float), (n, len(self.joined.fixed)))
        moved_x, moved_e, who = [], [], []
        for direction in self.directions:
            for sign in (1.0, -1.0):
                one_x, one_e = np.array(x), np.array(effects, float)
                if direction >= 0:
                    one_e[:, direction] += sign * step
                else:
                    one_x[:, -1 - direction] += sign * step
                moved_x.append(one_x)
                moved_e.append(one_e)
                who.append(np.arange(n))
        made = self.predict(np.concatenate(moved_x), np.concatenate(moved_e), np.concatenate(who))
        assert made.by is not None
        sides = made.by.reshape(size, 2, n, *made.by.shape[1:])
        both = (sides[:, 0] - sides[:, 1]) / (2 * step)  # (d, n, T, d)
        both = both.transpose(1, 2, 0, 3)
        return np.asarray((both + both.transpose(0, 1, 3, 2)) / 2)

    def column(self, j: int) -> int:
        """The direction whose derivative is that by fixed effect ``j``."""
        follows = self.joined.follows[j]
        return follows if follows >= 0 else self.joined.n_effects + self.free.index(j)


def _compiled(problem: Problem) -> Any:
    return compile_kernel(problem, "exact" if is_linear(problem) else "rodas5p")


__all__ = ["Course", "Fixed", "Predicted"]
