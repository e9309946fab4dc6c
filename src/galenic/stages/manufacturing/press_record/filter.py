"""The filter of a press that stops and starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Any, NamedTuple

import numpy as np

from galenic.inference.algebra import Array
from galenic.inference.belief import Belief, Gaussian
from galenic.inference.evidence import Bundle
from galenic.inference.kalman import EKF

SPEED = "speed"
NOISES = {"main_force": "main_noise", "pre_force": "pre_noise"}
GRAIN = 2.5
MEMORY = 60.0  # readings
LARGEST = 4.0  # squared innovation, in variances, that counts for the noise
KEPT = 0.9205  # mean of min(z**2, LARGEST) for a standard normal z
SMALLEST = 0.3  # noise, as a share of the first value


class Move(NamedTuple):
    """An affine step with noise: w -> slope w + shift, with covariance ``noise``."""

    slope: Array
    shift: Array
    noise: Array

    def then(self, later: Move) -> Move:
        """A later step made after it: both as one."""
        return Move(
            later.slope @ self.slope,
            later.slope @ self.shift + later.shift,
            later.slope @ self.noise @ later.slope.T + later.noise,
        )

    def times(self, count: int) -> Move:
        """The step made ``count`` times, by repeated doubling."""
        if count == 1:
            return self
        half = self.times(count // 2)
        twice = half.then(half)
        return twice.then(self) if count % 2 else twice


class PressFilter(EKF):
    """An extended Kalman filter that knows that a standing press shows its last forces.

    While ``speed`` is 0 the forces shown are repeats of the last ones, so they say nothing. What
    may have changed while the press stood is uncertain again when it restarts.

    The model's rates are linear in its states and its parameters do not move by themselves, so
    steps of equal length are one affine map; a long prediction is that of a short step
    (``GRAIN`` s), doubled as often as needed, and costs hardly more.

    How much readings scatter differs from one running stretch to the next, so it is estimated from
    the innovations of the last ``MEMORY`` readings (covariance matching: Mehra, IEEE Trans. Autom.
    Control 17(5):693-698, 1972) and kept in the belief as ``main_noise`` and ``pre_noise``.

    Parameters
    ----------
    restart : mapping of quantity to sd
        What a stop adds to the uncertainty (relative, on a log scale).
    """

    def __init__(
        self, *args: Any, restart: Mapping[str, float] | None = None, **options: Any
    ) -> None:
        super().__init__(*args, step=float("inf"), **options)
        self.opened = np.zeros(self.model.size)
        for name, sd in (restart or {}).items():
            self.opened[self.model.positions[name]] = sd**2

    def predict(self, belief: Belief, until: int, inputs: Mapping[str, float]) -> Gaussian:
        """Move to ``until``; at a restart what may have changed becomes uncertain first."""
        if not runs(belief) and inputs.get(SPEED, 0.0) > 0.0:
            own = self._own(belief)
            belief = replace(own, spread=own.spread + np.diag(self.opened))
        return super().predict(belief, until, inputs)

    def _propagate(
        self, w: Array, cov: Array, u: Array, dt: float, t: float
    ) -> tuple[Array, Array]:
        count = max(1, ceil(dt / GRAIN - 1e-9))
        after, slope = self.model.advance_linear(w, u, dt / count, t)
        half = np.diag(0.5 * dt / count * self.model.rates)
        short = Move(slope, after - slope @ w, slope @ half @ slope.T + half)
        long = short.times(count)
        return long.slope @ w + long.shift, long.slope @ cov @ long.slope.T + long.noise

    def correct(self, belief: Belief, bundle: Bundle) -> Gaussian:
        """Correct by what is a measurement now: forces only of a press that runs."""
        if not runs(belief):
            kept = tuple(o for o in bundle.observations if o.quantity not in NOISES)
            return super().correct(belief, replace(bundle, observations=kept))
        own = self._own(belief)
        told = tuple(
            replace(o, sd=own.point(NOISES[o.quantity])) if o.quantity in NOISES else o
            for o in bundle.observations
        )
        steps = {o.quantity: o.resolution for o in told}
        return self._scattered(super().correct(own, replace(bundle, observations=told)), steps)

    def _scattered(self, belief: Gaussian, steps: Mapping[str, float]) -> Gaussian:
        """The belief with the noise of the forces brought in line with their innovations.

        Where the force itself is uncertain, an innovation says little about the noise.
        """
        centre = belief.centre.copy()
        for found in belief.innovations:
            if found.quantity not in NOISES:
                continue
            place = self.model.positions[NOISES[found.quantity]]
            known, total = centre[place] ** 2, found.sd**2
            apart = (min(found.nis, LARGEST) / KEPT - 1.0) * total
            floor = (SMALLEST * self.model.rest[place - len(self.model.state_names)]) ** 2
            share = (known + steps[found.quantity] ** 2 / 12.0) / total
            weight = share**2 / MEMORY
            centre[place] = np.sqrt(max(known + weight * apart, floor))
        return replace(belief, centre=centre)


def runs(belief: Belief) -> bool:
    """Whether the press runs, as the belief's held inputs say."""
    return belief.context.inputs[SPEED] > 0.0
