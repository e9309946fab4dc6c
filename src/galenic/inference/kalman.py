"""Kalman filters on an augmented model: extended (EKF) and unscented (UKF).

Between readings the belief moves with the model and its spread grows by

    Q(dt) = dt/2 (F q F' + q)

for white noise of variance rate q and step derivative F: the trapezoid of the continuous
covariance integral, with error of order dt^2 per step. A bundle is corrected jointly from a single
linearisation (EKF) or a single set of sigma points (UKF), so its order cannot matter.

Sources: Simon, Optimal State Estimation, Wiley 2006 (EKF, Joseph form, constraints); Julier and
Uhlmann, Proc. IEEE 92(3):401-422, 2004, doi:10.1109/JPROC.2003.823141 (UKF).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from math import ceil, isfinite
from typing import Any

import numpy as np
from scipy.special import chdtri

from galenic.clock import seconds
from galenic.errors import DataError, UnknownName
from galenic.inference.actions import apply_action, segments
from galenic.inference.algebra import (
    Array,
    censor,
    condition,
    diagonal,
    positive,
    project,
    truncate,
)
from galenic.inference.augment import Augmented, AugmentedModel
from galenic.inference.belief import Belief, Gaussian, square_root
from galenic.inference.estimator import (
    Forecast,
    Noise,
    check_action,
    check_bundle,
    check_until,
)
from galenic.inference.evidence import Bundle, Innovation, Observation
from galenic.inference.forecast import forecast_linear, forecast_sampled
from galenic.inference.reduce import engine_transition
from galenic.signals import Action


@dataclass(frozen=True)
class Expectation:
    """Predicted readings of a Gaussian belief, without sensor noise.

    Parameters
    ----------
    values, cov : array ``(m,)`` and ``(m, m)``
    rows : array ``(m, n)``
        The linear law that ties readings to the belief (derivative, or regression).
    extra : array ``(m, m)``
        Covariance of the readings that this law leaves over; zero for a derivative.
    """

    values: Array
    cov: Array
    rows: Array
    extra: Array


class KalmanFilter(ABC):
    """What EKF and UKF share; they differ in how a Gaussian passes through the model.

    Parameters
    ----------
    subject : Transition, System or Model
        The model.
    noise : Noise
        Process, measurement, drift and start uncertainty.
    augmented : sequence of str or Augmented
        Parameters and disturbances to estimate beside the states.
    values : mapping path -> number or text with unit
        Overrides of the model's parameters, inputs and start values.
    step : float [s]
        Longest step of the model between readings; longer gaps are divided evenly.
    stride : float [s], optional
        Longest step in forecasts, ``step`` when not given. A longer one is faster; it smears the
        growth of the spread, not the mean, whose error the engine controls.
    bounds : bool or str
        ``True`` or ``"project"``: a mean outside its bounds moves to the most probable point
        inside, the covariance stays. ``"truncate"``: mean and covariance of the truncated normal.
        ``False``: bounds are ignored.
    gate : float or None
        Probability beyond which a reading is refused as implausible; None accepts all.
    patience : int
        Consecutive refusals of one quantity after which its readings are accepted again.
    rounding : str
        For readings with a resolution: ``"variance"`` adds resolution^2 / 12 to the noise,
        ``"interval"`` uses only that the unrounded reading lies within half a step.
    stepper : callable
        Makes the one-step map from the System, if ``subject`` is not a Transition itself.
    """

    def __init__(
        self,
        subject: Any,
        noise: Noise,
        augmented: Sequence[str | Augmented] = (),
        *,
        values: Mapping[str, Any] | None = None,
        step: float = 1.0,
        stride: float | None = None,
        bounds: bool | str = True,
        gate: float | None = 0.999,
        patience: int = 5,
        rounding: str = "variance",
        stepper: Callable[[Any], Any] = engine_transition,
    ) -> None:
        self.model = AugmentedModel(subject, noise, augmented, values, stepper)
        self.noise = noise
        self.step = step
        self.stride = stride or step
        self.bounds = "project" if bounds is True else bounds
        self.gate = gate
        self.patience = patience
        self.rounding = rounding
        _check_choice("bounds", self.bounds, (False, "project", "truncate"))
        _check_choice("rounding", rounding, ("variance", "interval"))
        self._threshold = np.inf if gate is None else float(chdtri(1, 1.0 - gate))

    @property
    def names(self) -> tuple[str, ...]:
        return self.model.names

    @property
    def observable(self) -> tuple[str, ...]:
        return self.model.observable

    @abstractmethod
    def _propagate(
        self, w: Array, cov: Array, u: Array, dt: float, t: float
    ) -> tuple[Array, Array]:
        """Mean and covariance after ``dt`` seconds, process noise included."""

    @abstractmethod
    def _expect(self, w: Array, cov: Array, u: Array, t: float, rows: Sequence[str]) -> Expectation:
        """Readings of ``rows`` predicted from a Gaussian, without sensor noise."""

    def start(self, prior: Belief | None, time: int) -> Gaussian:
        """Start values of the model, with the quantities that ``prior`` names taken from it."""
        belief = self.model.start(time)
        return belief if prior is None else adopt(belief, prior)

    def predict(self, belief: Belief, until: int, inputs: Mapping[str, float]) -> Gaussian:
        """Move to ``until``; inputs that are not named keep their held value."""
        check_until(belief, until)
        belief = self._own(belief)
        context = belief.context
        if inputs:
            context = replace(context, inputs=self._held(belief, inputs))
        w, cov = belief.centre, belief.spread
        for begin, end, running in segments(belief.time, until, context.running):
            u = self.model.input_vector(context, running)
            count = max(1, ceil(seconds(end - begin) / self.step - 1e-9))
            dt = seconds(end - begin) / count
            start = seconds(begin - context.origin)
            for k in range(count):
                w, cov = self._propagate(w, cov, u, dt, start + k * dt)
                w, cov = self._bounded(w, positive(cov))
        if context.running:
            running = tuple(i for i in context.running if i.stop > until)
            context = replace(context, running=running)
        return replace(belief, time=until, centre=w, spread=cov, context=context, innovations=())

    def correct(self, belief: Belief, bundle: Bundle) -> Gaussian:
        """One joint correction by all observations that pass the gate."""
        check_bundle(belief, bundle, self.model.known)
        belief = self._own(belief)
        if not bundle.observations:
            return replace(belief, innovations=())
        observations = bundle.in_order()
        u = self.model.input_vector(belief.context)
        t = seconds(belief.time - belief.context.origin)
        rows = [o.quantity for o in observations]
        expected = self._expect(belief.centre, belief.spread, u, t, rows)
        noise = np.array([self.variance(o) for o in observations])
        innovations, rejected = self._judge(belief, observations, expected, noise)
        used = np.array([i.accepted for i in innovations])
        w, cov = self._condition(belief, observations, expected, noise, used)
        w, cov = self._bounded(w, positive(cov))
        return replace(
            belief,
            centre=w,
            spread=cov,
            context=replace(belief.context, rejected=rejected),
            innovations=tuple(innovations),
        )

    def act(self, belief: Belief, action: Action) -> Gaussian:
        """A set, dose or reset at the belief's own time (see ``apply_action``)."""
        check_action(belief, action)
        return apply_action(self.model, self._own(belief), action)

    def observe(self, belief: Belief, outputs: Sequence[str]) -> dict[str, tuple[float, float]]:
        """Mean and sd [SI] of outputs, states or augmented quantities."""
        belief = self._own(belief)
        self._check_outputs(outputs)
        u = self.model.input_vector(belief.context)
        t = seconds(belief.time - belief.context.origin)
        got = self._expect(belief.centre, belief.spread, u, t, list(outputs))
        sd = np.sqrt(np.maximum(got.cov.diagonal(), 0.0))
        return {
            name: (float(m), float(s)) for name, m, s in zip(outputs, got.values, sd, strict=True)
        }

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
        points: Array | None = None,
    ) -> Forecast:
        """Predictions every ``every`` seconds up to ``until`` [ns].

        Parameters
        ----------
        inputs : Schedule, mapping or list of (time [ns], mapping)
            Future inputs and actions; what is not named stays as held.
        outputs : sequence of str, optional
            Quantities to predict; by default those that are measured.
        method : str
            ``"linear"`` moves mean and covariance like ``predict``; ``"ensemble"`` draws
            ``members`` from the belief with ``rng`` and moves each with its own process noise.
        noisy : bool
            Add the sensors' noise: the interval is then for readings, not for the true value.
        points : array, optional
            Members to start from, on the axes' own scale, instead of draws from the belief.
        """
        _check_choice("method", method, ("linear", "ensemble"))
        names = tuple(str(o) for o in outputs or self.noise.measurement or self.observable)
        self._check_outputs(names)
        belief = self._own(belief)
        strider = copy(self)
        strider.step = self.stride
        if method == "linear":
            return forecast_linear(strider, belief, until, every, inputs, names, noisy)
        if rng is None:
            raise DataError("an ensemble forecast needs a generator", hint="pass rng=")
        if points is None:
            points = self.model.own_scale_rows(belief.sample(members, rng))
        return forecast_sampled(strider, belief, until, every, inputs, names, noisy, points, rng)

    def variance(self, observation: Observation) -> float:
        """Variance of the reading's own error [SI^2]."""
        sd = observation.sd or self.noise.measurement.get(observation.quantity, 0.0)
        variance = sd**2 / observation.weight
        if self.rounding == "variance":
            variance += observation.resolution**2 / 12.0
        if variance <= 0.0 and observation.resolution == 0.0:
            raise DataError(
                f"the sd of {observation.quantity} is not known",
                where="correct",
                expected="Observation.sd or Noise.measurement above 0",
            )
        return variance

    def _judge(
        self,
        belief: Gaussian,
        observations: Sequence[Observation],
        expected: Expectation,
        noise: Array,
    ) -> tuple[list[Innovation], dict[str, int]]:
        """Innovations with the verdict of the gate, and the refusals counted on."""
        rejected = dict(belief.context.rejected)
        innovations = []
        for k, o in enumerate(observations):
            variance = float(expected.cov[k, k] + noise[k])
            if self.rounding == "interval":
                variance += o.resolution**2 / 12.0
            mean = float(expected.values[k])
            nis = (o.value - mean) ** 2 / variance
            count = rejected.get(o.quantity, 0) + 1 if nis > self._threshold else 0
            accepted = count == 0 or count > self.patience
            why = "" if count == 0 else f"outside the gate, {count} in a row"
            rejected[o.quantity] = count
            innovations.append(
                Innovation(o.quantity, o.value, mean, variance**0.5, nis, accepted, why, o.key)
            )
        return innovations, {name: count for name, count in rejected.items() if count}

    def _condition(
        self,
        belief: Gaussian,
        observations: Sequence[Observation],
        expected: Expectation,
        noise: Array,
        used: Any,
    ) -> tuple[Array, Array]:
        """Joint update by plain readings, then exact moments for rounded ones."""
        exact = self.rounding == "interval"
        rounded = np.array([exact and o.resolution > 0 for o in observations])
        plain = used & ~rounded
        values = np.array([o.value for o in observations])
        residual = values - expected.values
        w, cov = belief.centre, belief.spread
        rows = expected.rows
        error = expected.extra + np.diag(noise)
        if plain.all():
            return condition(w, cov, rows, residual, error)
        if plain.any():
            block = error[np.ix_(plain, plain)]
            w, cov = condition(w, cov, rows[plain], residual[plain], block)
        for k in map(int, np.flatnonzero(used & rounded)):
            half = 0.5 * observations[k].resolution
            offset = expected.values[k] - rows[k] @ belief.centre
            spread = float(error[k, k])
            w, cov = censor(w, cov, rows[k], offset, spread, values[k] - half, values[k] + half)
        return w, cov

    def _bounded(self, w: Array, cov: Array) -> tuple[Array, Array]:
        if not self.bounds:
            return w, cov
        if self.bounds == "truncate":
            return truncate(w, cov, self.model.lower, self.model.upper)
        return project(w, cov, self.model.lower, self.model.upper), cov

    def _held(self, belief: Belief, inputs: Mapping[str, float]) -> dict[str, float]:
        held = dict(belief.context.inputs)
        for path, value in inputs.items():
            if path not in self.model.input_names:
                raise UnknownName.among("input", path, self.model.input_names, where="predict")
            if not isfinite(value):
                raise DataError(f"input {path} is {value}", expected="a finite number")
            held[path] = float(value)
        return held

    def _own(self, belief: Belief) -> Gaussian:
        """The belief as a Gaussian over this filter's axes."""
        same = belief.axes is self.model.axes or belief.names == self.names
        if not same or not isinstance(belief, Gaussian):
            raise DataError(
                f"a {type(belief).__name__} of {', '.join(belief.names[:6])}",
                where=type(self).__name__,
                expected=f"a Gaussian of {', '.join(self.names[:6])}",
                hint="start(belief, time) carries a belief over to another model",
            )
        return belief

    def _check_outputs(self, outputs: Sequence[str]) -> None:
        for name in outputs:
            if name not in self.observable:
                raise UnknownName.among("quantity", name, self.observable, where="outputs")


class EKF(KalmanFilter):
    """Extended Kalman filter: the belief moves by the derivative of the model's step.

    Exact for linear models. Parameters: see KalmanFilter.
    """

    def _propagate(
        self, w: Array, cov: Array, u: Array, dt: float, t: float
    ) -> tuple[Array, Array]:
        after, f = self.model.advance_linear(w, u, dt, t)
        half = 0.5 * dt * self.model.rates
        grown = cov.copy()
        diagonal(grown)[:] += half
        result = f @ grown @ f.T
        diagonal(result)[:] += half
        return after, result

    def _expect(self, w: Array, cov: Array, u: Array, t: float, rows: Sequence[str]) -> Expectation:
        values, h = self.model.measure_linear(w, u, t, rows)
        return Expectation(values, h @ cov @ h.T, h, np.zeros((len(rows), len(rows))))


class UKF(KalmanFilter):
    """Unscented Kalman filter: sigma points carry the belief through the nonlinear model.

    Weights are positive (a spherical cubature with an optional centre point), so covariances stay
    positive semi-definite. Directions without uncertainty get no points. Points outside bounds
    are moved to the bound.

    Parameters
    ----------
    kappa : float [1]
        Weight of the centre point relative to one; 0 gives the cubature rule.
    """

    def __init__(self, *args: Any, kappa: float = 0.0, **options: Any) -> None:
        super().__init__(*args, **options)
        if kappa < 0:
            raise DataError(f"kappa is {kappa}", where="UKF", expected="0 or more")
        self.kappa = kappa

    def _points(self, w: Array, cov: Array) -> tuple[Array, Array]:
        """Sigma points ``(m, n)`` and their weights."""
        root = square_root(cov)
        root = root[:, np.abs(root).sum(axis=0) > 0.0]
        k = root.shape[1]
        if k == 0:
            return w[None, :], np.ones(1)
        total = k + self.kappa
        arms = np.sqrt(total) * root.T
        points = np.concatenate([w + arms, w - arms])
        weights = np.full(2 * k, 0.5 / total)
        if self.kappa > 0:
            points = np.concatenate([points, w[None, :]])
            weights = np.append(weights, self.kappa / total)
        if self.bounds:
            points = np.clip(points, self.model.lower, self.model.upper)
        return points, weights

    def _propagate(
        self, w: Array, cov: Array, u: Array, dt: float, t: float
    ) -> tuple[Array, Array]:
        half = np.diag(0.5 * dt * self.model.rates)
        points, weights = self._points(w, cov + half)
        moved = np.array([self.model.advance(point, u, dt, t) for point in points])
        mean = weights @ moved
        apart = moved - mean
        return mean, (apart.T * weights) @ apart + half

    def _expect(self, w: Array, cov: Array, u: Array, t: float, rows: Sequence[str]) -> Expectation:
        points, weights = self._points(w, cov)
        readings = np.array([self.model.measure(point, u, t, rows) for point in points])
        values = weights @ readings
        apart = readings - values
        cross = ((points - weights @ points).T * weights) @ apart
        within = (apart.T * weights) @ apart
        linear = np.linalg.lstsq(cov, cross, rcond=1e-12)[0].T
        return Expectation(values, within, linear, positive(within - linear @ cov @ linear.T))


def adopt(belief: Gaussian, prior: Belief) -> Gaussian:
    """``belief`` with mean and covariance of the quantities that ``prior`` knows too.

    Correlations among shared quantities are kept: moments of the natural scale become those of a
    log-normal where an axis is logarithmic, so a Gaussian on the same axes comes over exactly. A
    prior on another scale is refused only if it is not positive where the axis is logarithmic.
    """
    shared = [axis for axis in belief.axes if axis.name in prior.names]
    mine = [belief.position(axis.name) for axis in shared]
    theirs = [prior.position(axis.name) for axis in shared]
    values = prior.point_vector[theirs].copy()
    logs = np.array([axis.is_log for axis in shared], dtype=bool)
    for axis, value in zip(shared, values, strict=True):
        if axis.is_log and not value > 0:
            raise DataError(f"the prior of {axis.name} is {value}", expected="above 0")
    scale = np.where(logs, prior.mean_vector[theirs], 1.0)
    cov = prior.covariance[np.ix_(theirs, theirs)] / np.outer(scale, scale)
    both = np.outer(logs, logs)
    cov = np.where(both, np.log1p(np.where(both, cov, 0.0)), cov)
    values[logs] = np.log(values[logs])
    centre, spread = belief.centre.copy(), belief.spread.copy()
    centre[mine] = values
    spread[mine, :] = 0.0
    spread[:, mine] = 0.0
    spread[np.ix_(mine, mine)] = cov
    held = {k: v for k, v in prior.context.inputs.items() if k in belief.context.inputs}
    context = replace(belief.context, inputs={**belief.context.inputs, **held})
    return replace(belief, centre=centre, spread=positive(spread), context=context)


def _check_choice(name: str, given: Any, allowed: Sequence[Any]) -> None:
    if given not in allowed:
        raise DataError(
            f"{name} is {given!r}", where="an estimator", expected=" or ".join(map(repr, allowed))
        )
