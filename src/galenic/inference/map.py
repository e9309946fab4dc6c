"""Maximum a posteriori (MAP) estimate of an individual's parameters from doses and levels.

The individual's parameters are those of the population times exp(eta), eta ~ N(0, Omega). The
belief keeps its evidence, all doses and levels since the start, and every new level solves

    J(eta) = sum (r^2 / R + ln R) + eta' Omega^-1 eta

again by Fisher scoring with exact derivatives, and by BFGS where scoring creeps. The spread is
Laplace's: the inverse of

    H = Omega^-1 + G' R^-1 G + 1/2 (dR/R)' (dR/R)

(as in FOCE with interaction). A dose that is learnt of late needs no special case: the twin goes
back to a checkpoint before it and applies everything again in order.

Sources: Sheiner and Beal, J Pharm Sci 71(12):1344-1348, 1982, doi:10.1002/jps.2600711209; Wang,
J Pharmacokinet Pharmacodyn 34:575-593, 2007, doi:10.1007/s10928-007-9060-6 (the form of H).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import ndtri

from galenic.clock import seconds
from galenic.errors import DataError, SolveError
from galenic.inference.actions import change, segments
from galenic.inference.algebra import Array, inverse_positive, positive
from galenic.inference.augment import Augmented
from galenic.inference.belief import Belief, Gaussian, Posterior, square_root
from galenic.inference.estimator import Forecast, Noise, check_action, check_bundle
from galenic.inference.evidence import Bundle, Held, Innovation, Observation
from galenic.inference.exact import best_transition
from galenic.inference.kalman import EKF, adopt
from galenic.inference.members import goes_together, through
from galenic.signals import Action
from galenic.units import value_in

SCORING = 20
"""Iterations of scoring before another search is tried; an ordinary record takes 4 to 8."""
CLOSE = {"gtol": 1e-9, "maxiter": 200}


@dataclass(frozen=True)
class Individual:
    """A parameter that differs between individuals.

    Parameters
    ----------
    path : str
        Parameter of the model; its value there (or in ``values``) is the typical one.
    omega : float [1]
        Standard deviation of eta. Log-normal parameters: theta = typical exp(eta); the
        coefficient of variation is sqrt(exp(omega^2) - 1).
    log : bool
        False for a normal parameter, theta = typical + eta, with omega in SI.
    """

    path: str
    omega: float
    log: bool = True


@dataclass(frozen=True)
class Residual:
    """Sd of a level around its prediction f: additive [SI] and proportional [1] parts.

    ``combine`` is ``"variance"`` for R = add^2 + (prop f)^2 and ``"sd"`` for R = (add + prop f)^2.
    """

    add: float = 0.0
    prop: float = 0.0
    combine: str = "variance"

    def __post_init__(self) -> None:
        valid = self.add >= 0 and self.prop >= 0 and self.add + self.prop > 0
        if not valid or self.combine not in ("variance", "sd"):
            raise DataError(
                f"add {self.add}, prop {self.prop}, combine {self.combine!r}",
                where="a residual error",
                expected="add, prop >= 0, not both 0; combine 'variance' or 'sd'",
            )

    def variance(self, f: float) -> tuple[float, float]:
        """Variance at a prediction, and its derivative by the prediction."""
        if self.combine == "sd":
            sd = self.add + self.prop * abs(f)
            return sd**2, 2.0 * sd * self.prop * float(np.sign(f))
        return self.add**2 + (self.prop * f) ** 2, 2.0 * self.prop**2 * f


class Level(NamedTuple):
    """A predicted reading: residual, variance, its derivative by f, derivative of f by phi."""

    residual: float
    variance: float
    slope: float
    by_phi: Array


class Replay(NamedTuple):
    """The evidence gone through at one parameter vector."""

    w: Array
    by_phi: Array
    levels: list[Level]


class MAP:
    """Estimator of individual parameters; its beliefs are Posteriors that keep their evidence.

    Parameters
    ----------
    subject : Model, System or Transition
        The individual. Models that are linear in their states are stepped exactly.
    individuals : sequence of Individual
        The parameters to estimate, with their spread in the population.
    residual : mapping quantity -> Residual
        Error of the levels; an Observation with its own sd overrides it.
    values : mapping path -> number or text with unit
        Typical values for this individual (covariates included), other inputs and parameters.
    omega : array, optional
        Full covariance of eta, instead of the squares of each ``Individual.omega``.
    prior_weight : float [1]
        Weight of the population in the objective; below 1 the prior is flattened (Hughes and
        Keizer, CPT Pharmacometrics Syst Pharmacol 10:1150-1160, 2021, doi:10.1002/psp4.12684).
    """

    def __init__(
        self,
        subject: Any,
        individuals: Sequence[Individual],
        residual: Mapping[str, Residual],
        *,
        values: Mapping[str, Any] | None = None,
        omega: Any = None,
        prior_weight: float = 1.0,
        iterations: int = 60,
    ) -> None:
        noise = Noise(measurement={name: r.add for name, r in residual.items()})
        augmented = [Augmented(i.path, log=i.log, sd=i.omega) for i in individuals]
        self.filter = EKF(
            subject,
            noise,
            augmented,
            values=values,
            step=np.inf,
            gate=None,
            stepper=best_transition,
        )
        self.model = self.filter.model
        self.individuals = tuple(individuals)
        self.residual = dict(residual)
        self.iterations = iterations
        self._first = len(self.model.state_names)
        self.omega = np.diag([i.omega**2 for i in individuals]) if omega is None else omega
        self.omega = np.asarray(self.omega, dtype=float) / prior_weight
        if self.omega.shape != (len(individuals), len(individuals)):
            raise DataError(
                f"omega of shape {self.omega.shape}",
                expected=f"{len(individuals)} rows and columns",
            )

    @classmethod
    def for_subject(cls, subject: Any, **options: Any) -> MAP:
        """The estimator for one Subject of a Population, covariates and all.

        Parameters
        ----------
        subject : galenic.modeling.variability.Subject
            From ``Population.for_subject(covariates)``.
        """
        options = {"values": subject.values()} | options
        return cls._for(subject.population, subject.population.system, options)

    @classmethod
    def for_population(cls, population: Any, system: Any = None, **options: Any) -> MAP:
        """The estimator for individuals whose covariates are inputs, and may change.

        Parameters
        ----------
        population : galenic.modeling.variability.Population
        system : System, optional
            ``population.flatten()``, with other values if wanted.
        """
        return cls._for(population, population.flatten() if system is None else system, options)

    @classmethod
    def _for(cls, population: Any, system: Any, options: Mapping[str, Any]) -> MAP:
        return cls(system, **{**cls.settings(population, system), **options})

    @staticmethod
    def settings(population: Any, system: Any) -> dict[str, Any]:
        """What a population says to its estimator, as values: individuals, residual, omega."""
        odd = [t.kind for t in population.between if not t.plain]
        odd += [f"power {r.power}" for r in population.residuals if r.power != 1.0]
        if odd:
            raise DataError(
                f"the population has {', '.join(odd)}",
                where="MAP",
                expected="log-normal or normal effects, residuals of power 1",
            )
        scales = [
            1.0 if term.kind == "log-normal" else system.entry(term.parameter).unit.scale
            for term in population.between
        ]
        omega = np.asarray(population.omega) * np.outer(scales, scales)
        individuals = tuple(
            Individual(term.parameter, float(sd), term.kind == "log-normal")
            for term, sd in zip(population.between, np.sqrt(np.diag(omega)), strict=True)
        )
        residual = {
            r.output: Residual(
                float(value_in(r.additive, system.entry(r.output).unit.difference)),
                r.proportional,
                r.combine,
            )
            for r in population.residuals
        }
        return {"individuals": individuals, "residual": residual, "omega": omega}

    @property
    def names(self) -> tuple[str, ...]:
        return self.filter.names

    @property
    def observable(self) -> tuple[str, ...]:
        return self.filter.observable

    def start(self, prior: Belief | None, time: int) -> Posterior:
        """The population's typical individual at ``time``; a ``prior`` replaces what it names."""
        belief = self.model.start(time)
        spread = np.zeros((self.model.size, self.model.size))
        spread[self._first :, self._first :] = self.omega
        moved = np.eye(self.model.size)
        moved[: self._first] += self.model.start_slopes(belief.centre)
        belief = replace(belief, spread=positive(moved @ spread @ moved.T))
        if prior is not None:
            belief = adopt(belief, prior)
        return Posterior(
            time,
            belief.axes,
            belief.centre,
            belief.spread,
            belief.context,
            start=belief,
            notes={"levels": 0},
        )

    def predict(self, belief: Belief, until: int, inputs: Mapping[str, float]) -> Posterior:
        """Move to ``until``; what was held is kept as evidence."""
        own = self._own(belief)
        moved = self.filter.predict(own, until, inputs)
        return replace(moved, evidence=(*own.evidence, Held(until, dict(inputs))))  # type: ignore[call-arg,return-value]

    def act(self, belief: Belief, action: Action) -> Posterior:
        """A dose or a changed input; kept as evidence."""
        own = self._own(belief)
        check_action(own, action)
        if action.target in {i.path for i in self.individuals}:
            raise DataError(
                f"{action.target} is estimated from all evidence",
                where="act",
                hint="start again with other values to change what is typical",
            )
        acted = self.filter.act(own, action)
        return replace(acted, evidence=(*own.evidence, _fact(action)))  # type: ignore[call-arg,return-value]

    def correct(self, belief: Belief, bundle: Bundle) -> Posterior:
        """Solve again with the levels of this bundle added."""
        own = self._own(belief)
        check_bundle(own, bundle, self.model.known)
        if not bundle.observations:
            return replace(own, innovations=())
        innovations = self._innovations(own, bundle)
        evidence = (*own.evidence, Bundle(bundle.time, bundle.in_order()))
        return self.solve(replace(own, evidence=evidence, innovations=innovations))

    def observe(self, belief: Belief, outputs: Sequence[str]) -> dict[str, tuple[float, float]]:
        """Mean and sd [SI] of outputs, without the error of the assay."""
        return self.filter.observe(belief, outputs)

    def forecast(
        self,
        belief: Belief,
        until: int,
        every: float,
        inputs: Any = None,
        outputs: Sequence[str] | None = None,
        rng: np.random.Generator | None = None,
        *,
        method: str = "linear",
        members: int = 400,
        noisy: bool = False,
    ) -> Forecast:
        """Levels to come under a Schedule of doses (see ``KalmanFilter.forecast``).

        The ensemble draws parameters and gives each member the states that its past doses lead to.
        """
        points = None
        if method == "ensemble" and rng is not None:
            points = self.members(self._own(belief), members, rng)
        quiet = self.filter.forecast(
            belief, until, every, inputs, outputs, rng, method=method, members=members,
            points=points,
        )  # fmt: skip
        return self._with_errors(quiet) if noisy else quiet

    def _with_errors(self, forecast: Forecast) -> Forecast:
        """The forecast of readings: every quantile as much further out as errors add variance."""
        error = np.zeros_like(forecast.sd)
        for name in set(forecast.names) & set(self.residual):
            k, residual = forecast.column(name), self.residual[name]
            error[:, k] = [residual.variance(float(f))[0] ** 0.5 for f in forecast.mean[:, k]]
        z = ndtri(np.asarray(forecast.levels))[:, None, None]
        apart = forecast.quantiles - forecast.mean
        wider = np.where(z == 0.0, apart, np.sign(z) * np.hypot(apart, z * error))
        sd = np.hypot(forecast.sd, error)
        return replace(forecast, sd=sd, quantiles=forecast.mean + wider)

    def members(self, belief: Posterior, n: int, rng: np.random.Generator) -> Array:
        """Vectors ``(n, size)`` with parameters from Laplace's normal and their own states."""
        root = square_root(belief.spread[self._first :, self._first :])
        draws = belief.centre[self._first :] + rng.standard_normal((n, len(root))) @ root.T
        start = _start_of(belief)
        if goes_together(self.model, start):
            first = self.start_regression(start)
            return through(self.model, start, belief.evidence, draws, first)
        return np.array([self.replay(belief, phi, slopes=False).w for phi in draws])

    def solve(self, belief: Posterior) -> Posterior:
        """The mode and Laplace covariance given the belief's evidence."""
        prior, precision = self.prior(belief)
        phi = belief.centre[self._first :].copy()
        replay = self.replay(belief, phi)
        value = objective(replay, phi - prior, precision)
        for iteration in range(1, self.iterations + 1):
            gradient, curvature = self._derivatives(replay, phi - prior, precision)
            move = -np.asarray(np.linalg.solve(curvature, gradient), dtype=float)
            expected = float(-gradient @ move)
            if expected < 1e-12 * max(1.0, abs(value)):
                return self._finish(belief, replay, phi, prior, curvature, value, iteration)
            if iteration == SCORING:
                phi, replay = self._descend(belief, phi, prior, precision, curvature)
                value = objective(replay, phi - prior, precision)
                continue
            phi, replay, value = self._search(
                belief, phi, move, prior, precision, (value, expected)
            )
        raise SolveError(
            f"no mode after {self.iterations} iterations",
            where="MAP",
            state=self.individuals[int(np.argmax(np.abs(move)))].path,
            hint="look for a level or dose in the wrong unit, or start nearer to the individual",
        )

    def _descend(
        self, belief: Posterior, phi: Array, prior: Array, precision: Array, curvature: Array
    ) -> tuple[Array, Replay]:
        """A quasi-Newton search in the metric of ``curvature``.

        Scoring creeps where a level is many sd from any fit: the expected curvature is not the true
        one there.
        """
        metric = np.linalg.inv(np.linalg.cholesky(curvature)).T

        def scaled(y: Array) -> tuple[float, Array]:
            replay = self.replay(belief, phi + metric @ y)
            eta = phi + metric @ y - prior
            gradient, _ = self._derivatives(replay, eta, precision)
            return 0.5 * objective(replay, eta, precision), metric.T @ gradient

        found = minimize(scaled, np.zeros_like(phi), jac=True, method="BFGS", options=CLOSE)
        best = phi + metric @ found.x
        return best, self.replay(belief, best)

    def prior(self, belief: Posterior) -> tuple[Array, Array]:
        """Centre and precision of the parameters where the evidence begins."""
        start = _start_of(belief)
        block = start.spread[self._first :, self._first :]
        return start.centre[self._first :], inverse_positive(block)

    def _search(
        self,
        belief: Posterior,
        phi: Array,
        move: Array,
        prior: Array,
        precision: Array,
        here: tuple[float, float],
    ) -> tuple[Array, Replay, float]:
        """The first of ever shorter steps that lowers the objective by a fair share of its promise.

        Without that demand (Armijo's) scoring can jump to and fro across the mode, where the true
        curvature is twice the expected one.
        """
        value, promised = here
        slack = 1e-13 * max(1.0, abs(value))
        share = min(1.0, 2.0 / max(float(np.abs(move).max()), 1e-300))
        for _ in range(40):
            trial = phi + share * move
            replay = self.replay(belief, trial)
            found = objective(replay, trial - prior, precision)
            if found <= value - 0.2 * share * promised + slack:
                return trial, replay, found
            share *= 0.5
        raise SolveError("no step lowers the objective", where="MAP")

    def _derivatives(self, replay: Replay, eta: Array, precision: Array) -> tuple[Array, Array]:
        """Half the gradient of J, and H."""
        gradient, curvature = precision @ eta, precision.copy()
        for r, variance, slope, g in replay.levels:
            weight = slope / variance
            gradient += (-r / variance + 0.5 * weight * (1.0 - r * r / variance)) * g
            curvature += np.outer(g, g) * (1.0 / variance + 0.5 * weight**2)
        return gradient, curvature

    def _finish(
        self,
        belief: Posterior,
        replay: Replay,
        phi: Array,
        prior: Array,
        curvature: Array,
        value: float,
        iterations: int,
    ) -> Posterior:
        spread = replay.by_phi @ np.linalg.inv(curvature) @ replay.by_phi.T
        eta = phi - prior
        sds = np.sqrt(np.diag(self.omega))
        iwres = [level.residual / level.variance**0.5 for level in replay.levels]
        warnings = [
            f"{i.path} is {e / s:.1f} population sd from typical"
            for i, e, s in zip(self.individuals, eta, sds, strict=True)
            if abs(e) > 3.0 * s
        ]
        warnings += [f"a level is {z:.1f} sd from its fit" for z in iwres if abs(z) > 3.0]
        notes = {
            "objective": value,
            "iterations": iterations,
            "levels": len(iwres),
            "iwres": tuple(iwres),
            "eta": tuple(map(float, eta)),
            "warnings": tuple(warnings),
        }
        return replace(belief, centre=replay.w, spread=positive(spread), notes=notes)

    def replay(self, belief: Posterior, phi: Array, slopes: bool = True) -> Replay:
        """All evidence from the start at parameters ``phi`` (own scale), with derivatives.

        Without ``slopes`` only the vector that it leads to is right, and levels are left out.
        """
        model, start = self.model, _start_of(belief)
        w = start.centre.copy()
        w[self._first :] = phi
        by_phi = np.zeros((model.size, len(phi)))
        by_phi[self._first :] = np.eye(len(phi))
        by_start = model.start_slopes(w)
        if by_start.any():
            at_start = model.arguments(model.natural(w), model.u0)[2]
            typical = model.arguments(model.natural(start.centre), model.u0)[2]
            w[: self._first] += model.start_states(at_start) - model.start_states(typical)
            by_phi[: self._first] += by_start[:, self._first :]
        else:
            by_prior = self.start_regression(start)
            w[: self._first] += by_prior @ (phi - start.centre[self._first :])
            by_phi[: self._first] += by_prior
        here = replace(start, centre=w, spread=np.zeros_like(start.spread))
        levels: list[Level] = []
        for item in belief.evidence:
            if slopes or not isinstance(item, Bundle):
                here, by_phi = self._go_through(here, by_phi, item, levels, slopes)
        return Replay(here.centre, by_phi, levels)

    def start_regression(self, start: Gaussian) -> Array:
        """How the states follow the parameters where the evidence begins.

        Zero for a new individual; after a change of model the amounts that its past left.
        """
        n = self._first
        both = start.spread[:n, n:]
        if not both.any():
            return np.zeros_like(both)
        return np.asarray(both @ inverse_positive(start.spread[n:, n:]))

    def _go_through(
        self, here: Gaussian, by_phi: Array, item: Any, levels: list[Level], slopes: bool
    ) -> tuple[Gaussian, Array]:
        if isinstance(item, Held):
            return self._hold(here, by_phi, item, slopes)
        if isinstance(item, Action):
            here, moved = change(self.model, here, item)
            return here, moved @ by_phi
        levels.extend(self._levels(here, by_phi, item))
        return here, by_phi

    def _hold(
        self, here: Gaussian, by_phi: Array, item: Held, slopes: bool
    ) -> tuple[Gaussian, Array]:
        model, context = self.model, here.context
        context = replace(context, inputs={**context.inputs, **item.inputs})
        w = here.centre
        for begin, end, running in segments(here.time, item.until, context.running):
            u = model.input_vector(context, running)
            t = seconds(begin - context.origin)
            if slopes:
                w, f = model.advance_linear(w, u, seconds(end - begin), t)
                by_phi = f @ by_phi
            else:
                w = model.advance(w, u, seconds(end - begin), t)
        running = tuple(i for i in context.running if i.stop > item.until)
        context = replace(context, running=running)
        return replace(here, time=item.until, centre=w, context=context), by_phi

    def _levels(self, here: Gaussian, by_phi: Array, bundle: Bundle) -> Iterator[Level]:
        rows = [o.quantity for o in bundle.observations]
        u = self.model.input_vector(here.context)
        t = seconds(here.time - here.context.origin)
        values, h = self.model.measure_linear(here.centre, u, t, rows)
        for o, f, g in zip(bundle.observations, values, h @ by_phi, strict=True):
            variance, slope = self.variance(o, float(f))
            yield Level(o.value - float(f), variance, slope, g)

    def variance(self, observation: Observation, f: float) -> tuple[float, float]:
        """Variance of a level's error at its prediction, and the derivative by the prediction."""
        if observation.sd > 0:
            return observation.sd**2 / observation.weight, 0.0
        if observation.quantity not in self.residual:
            raise DataError(
                f"the error of {observation.quantity} is not known",
                where="MAP",
                expected=f"an sd, or a Residual; known: {', '.join(self.residual)}",
            )
        variance, slope = self.residual[observation.quantity].variance(f)
        if variance <= 0.0:
            raise DataError(
                f"the error of {observation.quantity} is 0 where it is predicted as {f}",
                hint="give the residual an additive part",
            )
        return variance / observation.weight, slope / observation.weight

    def _innovations(self, belief: Posterior, bundle: Bundle) -> tuple[Innovation, ...]:
        rows = bundle.in_order()
        seen = self.filter.observe(belief, [o.quantity for o in rows])
        found = []
        for o in rows:
            mean, sd = seen[o.quantity]
            total = float(np.sqrt(sd**2 + self.variance(o, mean)[0]))
            nis = ((o.value - mean) / total) ** 2
            found.append(Innovation(o.quantity, o.value, mean, total, nis, key=o.key))
        return tuple(found)

    def own(self, belief: Belief) -> tuple[Posterior, Gaussian]:
        """A belief that is this estimator's own, and where its evidence begins."""
        posterior = self._own(belief)
        return posterior, _start_of(posterior)

    def _own(self, belief: Belief) -> Posterior:
        if not isinstance(belief, Posterior) or belief.names != self.names:
            raise DataError(
                f"a {type(belief).__name__} of {', '.join(belief.names[:6])}",
                where="MAP",
                expected=f"a Posterior of {', '.join(self.names[:6])}",
            )
        return belief


def _fact(action: Action) -> Action:
    """What was done, without who told it, why and when: those must not change a belief."""
    return Action(
        action.target, action.value, action.unit, action.source_time, action.source_time,
        action.what, action.duration,
    )  # fmt: skip


def _start_of(belief: Posterior) -> Gaussian:
    if belief.start is None:
        raise DataError("the belief has no start", where="MAP", hint="make it with start()")
    return belief.start


def objective(replay: Replay, eta: Array, precision: Array) -> float:
    """J: minus twice the log posterior, up to constants."""
    value = float(eta @ precision @ eta)
    for r, variance, _, _ in replay.levels:
        value += r * r / variance + float(np.log(variance))
    return value
