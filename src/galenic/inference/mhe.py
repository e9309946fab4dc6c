"""Moving-horizon estimation: the last stretch of data solved as one optimisation problem.

The belief is a Posterior that keeps its window: the arrival belief at the window's start and all
that happened since. What leaves the window is folded into the arrival by the extended Kalman
filter. The mode comes from IPOPT on the collocation transcription (``window.py``), the spread from
the Kalman recursion linearised along that mode. Bounds hold inside the whole window, which is what
a filter cannot do; a robust loss lets single wild readings go.

Source: Rao, Rawlings and Mayne, IEEE Trans Automat Control 48(2):246-258, 2003,
doi:10.1109/TAC.2002.808470.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np

from galenic.clock import seconds
from galenic.errors import DataError, UnknownName
from galenic.inference.actions import change, segments
from galenic.inference.algebra import Array, condition, inverse_positive, positive
from galenic.inference.augment import Augmented
from galenic.inference.belief import Belief, Context, Gaussian, Posterior
from galenic.inference.estimator import Forecast, Noise, check_action, check_bundle
from galenic.inference.evidence import Bundle, Held, Innovation
from galenic.inference.kalman import EKF
from galenic.inference.window import Solved, Window, WindowProblem
from galenic.signals import Action


@dataclass
class Interval:
    """One interval of the window while it is laid out."""

    time: float
    length: float
    inputs: Array
    jump: Array


@dataclass
class Layout:
    """Nodes and intervals of the evidence, in order; node k stands before interval k."""

    intervals: list[Interval] = field(default_factory=list)
    bundles: list[list[Bundle]] = field(default_factory=lambda: [[]])
    node_inputs: list[Array] = field(default_factory=list)
    node_times: list[float] = field(default_factory=list)


class MHE:
    """Moving-horizon estimator.

    Parameters
    ----------
    subject, noise, augmented, values : see KalmanFilter
    horizon : int
        Intervals in the window.
    step : float [s]
        Longest interval; a longer prediction takes several.
    measured : sequence of str, optional
        Quantities that may be observed; by default those in ``noise.measurement``.
    robust : float, optional
        Kink of a pseudo-Huber loss in sensor standard deviations; None is least squares.
    soft : float, optional
        Penalty on violated bounds; None keeps them hard.
    """

    def __init__(
        self,
        subject: Any,
        noise: Noise,
        augmented: Sequence[str | Augmented] = (),
        *,
        values: Mapping[str, Any] | None = None,
        horizon: int = 10,
        step: float = 1.0,
        measured: Sequence[str] | None = None,
        degree: int = 3,
        robust: float | None = None,
        soft: float | None = None,
    ) -> None:
        if horizon < 1:
            raise DataError(f"a horizon of {horizon} intervals", where="MHE", expected="1 or more")
        self.filter = EKF(subject, noise, augmented, values=values, step=step, gate=None)
        self.model, self.noise = self.filter.model, noise
        self.horizon, self.step, self.degree = horizon, step, degree
        self.robust, self.soft = robust, soft
        self.measured = tuple(measured or noise.measurement)
        for name in self.measured:
            if name not in self.filter.observable:
                raise UnknownName.among("quantity", name, self.filter.observable, where="MHE")

    @cached_property
    def problem(self) -> WindowProblem:
        """The optimisation problem, built on first use."""
        return WindowProblem(
            self.model, self.measured, self.horizon, self.degree, self.robust, self.soft
        )

    @property
    def names(self) -> tuple[str, ...]:
        return self.filter.names

    @property
    def observable(self) -> tuple[str, ...]:
        return self.measured

    def start(self, prior: Belief | None, time: int) -> Posterior:
        """Start values of the model, with the quantities that ``prior`` names taken from it."""
        return self._fresh(self.filter.start(prior, time))

    def predict(self, belief: Belief, until: int, inputs: Mapping[str, float]) -> Posterior:
        """Move to ``until`` by the model; solved again at the next correction."""
        own = self._own(belief)
        moved = self.filter.predict(own, until, inputs)
        return replace(moved, evidence=(*own.evidence, Held(until, dict(inputs))))  # type: ignore[call-arg,return-value]

    def act(self, belief: Belief, action: Action) -> Posterior:
        """An action; one that makes states known anew begins a new window."""
        own = self._own(belief)
        check_action(own, action)
        acted, slopes = change(self.model, own, action)
        if np.array_equal(slopes, np.eye(self.model.size)):
            return replace(acted, evidence=(*own.evidence, action))  # type: ignore[call-arg,return-value]
        return self._fresh(acted)

    def correct(self, belief: Belief, bundle: Bundle) -> Posterior:
        """The window with this bundle added, solved."""
        own = self._own(belief)
        check_bundle(own, bundle, self.measured)
        if not bundle.observations:
            return replace(own, innovations=())
        ordered = Bundle(bundle.time, bundle.in_order())
        filtered = self.filter.correct(own, ordered)
        longer = replace(own, evidence=(*own.evidence, ordered))
        return self._solve(self._shortened(longer), filtered)

    def observe(self, belief: Belief, outputs: Sequence[str]) -> dict[str, tuple[float, float]]:
        """Mean and sd [SI] of outputs, states or augmented quantities."""
        return self.filter.observe(belief, outputs)

    def forecast(
        self,
        belief: Belief,
        until: int,
        every: float,
        inputs: Any = None,
        outputs: Sequence[str] | None = None,
        rng: np.random.Generator | None = None,
        **options: Any,
    ) -> Forecast:
        """Predictions from the end of the window (see ``KalmanFilter.forecast``)."""
        return self.filter.forecast(belief, until, every, inputs, outputs, rng, **options)

    def _fresh(self, belief: Gaussian) -> Posterior:
        """A Posterior whose window begins now."""
        start = Gaussian(belief.time, belief.axes, belief.centre, belief.spread, belief.context)
        return Posterior(
            belief.time,
            belief.axes,
            belief.centre,
            belief.spread,
            belief.context,
            start=start,
            warm={"nodes": belief.centre[None, :]},
        )

    def _shortened(self, belief: Posterior) -> Posterior:
        """The belief with what is older than the horizon folded into its arrival."""
        start, evidence = belief.start, list(belief.evidence)
        assert start is not None
        nodes = belief.warm["nodes"]
        while (count := len(self._layout(start, evidence).intervals)) > self.horizon:
            item = evidence.pop(0)
            start = self._through(start, item)
            gone = count - len(self._layout(start, evidence).intervals)
            nodes = nodes[gone:]
        return replace(belief, start=start, evidence=tuple(evidence), warm={"nodes": nodes})

    def _through(self, start: Gaussian, item: Any) -> Gaussian:
        """The arrival belief after one piece of evidence."""
        if isinstance(item, Held):
            return self.filter.predict(start, item.until, item.inputs)
        if isinstance(item, Action):
            return self.filter.act(start, item)
        return replace(self.filter.correct(start, item), innovations=())

    def _layout(self, start: Gaussian, evidence: Sequence[Any]) -> Layout:
        """The evidence as nodes and intervals."""
        layout, here = Layout(), start
        u = self.model.input_vector(here.context)
        layout.node_inputs.append(u)
        layout.node_times.append(seconds(here.time - here.context.origin))
        jump = np.zeros(self.model.size)
        for item in evidence:
            if isinstance(item, Bundle):
                if jump.any():
                    jump = self._lay(layout, here.time, here.time, here.context, jump)
                layout.bundles[-1].append(item)
            elif isinstance(item, Action):
                acted, _ = change(self.model, here, item)
                jump = jump + acted.centre - here.centre
                here = replace(here, context=acted.context)
            else:
                here, jump = self._lay_hold(layout, here, item, jump)
        return layout

    def _lay_hold(
        self, layout: Layout, here: Gaussian, item: Held, jump: Array
    ) -> tuple[Gaussian, Array]:
        context = replace(here.context, inputs={**here.context.inputs, **item.inputs})
        for begin, end, running in segments(here.time, item.until, context.running):
            jump = self._lay(layout, begin, end, replace(context, running=running), jump)
        running = tuple(i for i in context.running if i.stop > item.until)
        return replace(here, time=item.until, context=replace(context, running=running)), jump

    def _lay(self, layout: Layout, begin: int, end: int, context: Context, jump: Array) -> Array:
        """Intervals from ``begin`` to ``end``; the jump goes into the first and is used up."""
        u = self.model.input_vector(context)
        count = max(1, ceil(seconds(end - begin) / self.step - 1e-9))
        length = seconds(end - begin) / count
        first = seconds(begin - context.origin)
        for k in range(count):
            layout.intervals.append(Interval(first + k * length, length, u, jump))
            layout.bundles.append([])
            layout.node_inputs.append(u)
            layout.node_times.append(first + (k + 1) * length)
            jump = np.zeros(self.model.size)
        return jump

    def _window(self, layout: Layout) -> Window:
        """The layout as arrays, padded at the front with intervals of no length."""
        many, n = self.horizon, self.model.size
        free = many - len(layout.intervals)
        rows = layout.intervals
        readings = np.zeros((many + 1, len(self.measured)))
        weights = np.zeros_like(readings)
        for k, bundles in enumerate(layout.bundles):
            self._weigh(bundles, readings[free + k], weights[free + k])
        front_u = np.tile(layout.node_inputs[0], (free, 1))
        front_t = np.full(free, layout.node_times[0])
        return Window(
            times=np.concatenate([front_t, [row.time for row in rows]]),
            lengths=np.concatenate([np.zeros(free), [row.length for row in rows]]),
            inputs=_stack(front_u, [row.inputs for row in rows]),
            jumps=_stack(np.zeros((free, n)), [row.jump for row in rows]),
            node_inputs=_stack(front_u, layout.node_inputs),
            node_times=np.concatenate([front_t, layout.node_times]),
            readings=readings,
            weights=weights,
        )

    def _weigh(self, bundles: Sequence[Bundle], readings: Array, weights: Array) -> None:
        """Readings of a node as one value and inverse variance per quantity."""
        for o in (o for bundle in bundles for o in bundle.observations):
            i = self.measured.index(o.quantity)
            weight = 1.0 / self.filter.variance(o)
            total = weights[i] + weight
            readings[i] = (weights[i] * readings[i] + weight * o.value) / total
            weights[i] = total

    def _solve(self, belief: Posterior, filtered: Gaussian) -> Posterior:
        """Mode and spread at the window's end; the filter's answer if the solver fails."""
        start = belief.start
        assert start is not None
        layout = self._layout(start, belief.evidence)
        window = self._window(layout)
        known, root = arrival(start.spread)
        guess = self._guess(belief, filtered, len(layout.intervals))
        solved = self.problem.solve(window, start.centre, root, known, guess)
        notes = {
            "objective": solved.objective,
            "status": solved.status,
            "iterations": solved.iterations,
            "intervals": len(layout.intervals),
        }
        if not solved.success or not np.all(np.isfinite(solved.nodes)):
            return replace(
                belief,
                centre=filtered.centre,
                spread=filtered.spread,
                innovations=filtered.innovations,
                notes={**notes, "fallback": "extended Kalman filter"},
            )
        return replace(
            belief,
            centre=solved.nodes[-1],
            spread=self._spread(start.spread, window, solved),
            innovations=self._innovations(filtered),
            warm={"nodes": solved.nodes[self.horizon - len(layout.intervals) :]},
            notes=notes,
        )

    def _guess(self, belief: Posterior, filtered: Gaussian, intervals: int) -> Array:
        """Nodes of the last solution, then the filter's answer."""
        nodes = belief.warm["nodes"][: intervals + 1]
        missing = self.horizon + 1 - len(nodes)
        front = self.horizon - intervals
        back = missing - front
        return np.concatenate(
            [np.tile(nodes[:1], (front, 1)), nodes, np.tile(filtered.centre, (back, 1))]
        )

    def _spread(self, cov: Array, window: Window, solved: Solved) -> Array:
        """Covariance of the last node: the Kalman recursion along the solved nodes."""
        model = self.model
        for k, w in enumerate(solved.nodes):
            seen = window.weights[k] > 0
            if seen.any():
                cov = self._informed(cov, window, k, w, seen)
            if k < self.horizon and window.lengths[k] > 0:
                w = w + window.jumps[k]
                u, dt = window.inputs[k], float(window.lengths[k])
                _, f = model.advance_linear(w, u, dt, float(window.times[k]))
                half = np.diag(0.5 * dt * model.rates)
                cov = positive(f @ (cov + half) @ f.T + half)
        return cov

    def _informed(self, cov: Array, window: Window, k: int, w: Array, seen: Any) -> Array:
        names = [name for name, used in zip(self.measured, seen, strict=True) if used]
        u, t = window.node_inputs[k], float(window.node_times[k])
        values, h = self.model.measure_linear(w, u, t, names)
        weights = window.weights[k][seen]
        if self.robust is not None:
            square = weights * (window.readings[k][seen] - values) ** 2
            weights = weights / np.sqrt(1.0 + square / self.robust**2)
        return positive(condition(w, cov, h, np.zeros(len(names)), np.diag(1.0 / weights))[1])

    def _innovations(self, filtered: Gaussian) -> tuple[Innovation, ...]:
        """Against the belief before; with a robust loss, far ones are marked as let go."""
        if self.robust is None:
            return filtered.innovations
        return tuple(
            replace(i, why="beyond the robust loss's kink")
            if abs(i.standardised) > 2.0 * self.robust
            else i
            for i in filtered.innovations
        )

    def _own(self, belief: Belief) -> Posterior:
        if not isinstance(belief, Posterior) or belief.names != self.names:
            raise DataError(
                f"a {type(belief).__name__} of {', '.join(belief.names[:6])}",
                where="MHE",
                expected=f"a Posterior of {', '.join(self.names[:6])}",
            )
        return belief


def arrival(spread: Array) -> tuple[Any, Array]:
    """Which quantities are known exactly, and R with R' R = inverse covariance of the others."""
    known = np.diag(spread) <= 0.0
    root = np.zeros_like(spread)
    free = np.flatnonzero(~known)
    block = spread[np.ix_(free, free)]
    scale = np.sqrt(np.diag(block))
    correlation = block / np.outer(scale, scale) + 1e-12 * np.eye(len(free))
    inverse = inverse_positive(correlation)
    root[np.ix_(free, free)] = np.linalg.cholesky(inverse).T / scale
    return known, root


def _stack(front: Array, rows: Sequence[Array]) -> Array:
    return np.concatenate([front, np.array(rows).reshape(len(rows), front.shape[1])])
