"""Random numbers of the virtual plant: one stream per part, so that control cannot change them."""

from __future__ import annotations

import math

import numpy as np

_BLOCK = 4096


class Normals:
    """Standard normal numbers, drawn in blocks and given one at a time as plain floats.

    Every part of the plant draws a fixed count per step from a stream of its own. Two runs of
    one seed under different controllers therefore meet the same disturbances.
    """

    def __init__(self, seed: int, *stream: int) -> None:
        self._rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, *stream))))
        self._ready: list[float] = []

    def next(self) -> float:
        """The next number."""
        if not self._ready:
            self._ready = self._rng.standard_normal(_BLOCK).tolist()
        return self._ready.pop()


class Wander:
    """Ornstein-Uhlenbeck noise: stationary, with standard deviation ``sd`` and memory ``tau``.

    The step is exact for any length: x' = a x + sd sqrt(1 - a^2) n, a = exp(-dt/tau).
    """

    def __init__(self, normals: Normals, sd: float, tau: float, dt: float) -> None:
        self._normals = normals
        self._keep = math.exp(-dt / tau)
        self._kick = sd * math.sqrt(1.0 - self._keep**2)
        self.value = sd * normals.next()

    def step(self) -> float:
        """Move on by one step; the new value."""
        self.value = self._keep * self.value + self._kick * self._normals.next()
        return self.value
