"""The measuring instruments of the line: NIR probe and tablet tester, with their delays."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from galenic.stages.manufacturing.plant.noise import Normals, Wander
from galenic.stages.manufacturing.plant.parameters import AnalyserParameters
from galenic.stages.manufacturing.plant.press import Tablets


@dataclass(frozen=True)
class Result:
    """A result of an instrument: value in the unit of its tag, times in seconds of plant time."""

    tag: str
    value: float
    measured: float
    arrives: float
    is_good: bool = True


class Waiting:
    """Results on their way, in order of arrival."""

    def __init__(self) -> None:
        self._results: deque[Result] = deque()

    def add(self, result: Result) -> None:
        """Send ``result`` on its way."""
        self._results.append(result)

    def arrived(self, time: float) -> list[Result]:
        """What has arrived by ``time`` [s]; each result is given once."""
        results = []
        while self._results and self._results[0].arrives <= time + 1e-9:
            results.append(self._results.popleft())
        return results


class Nir:
    """Content after the blender: mean over the time between two spectra, noise, wandering bias.

    Attributes
    ----------
    bias : float [1]
        Set by disturbances, mass fraction.
    is_out : bool
        An outage: results arrive as bad, with the last value.
    """

    def __init__(self, parameters: AnalyserParameters, normals: Normals) -> None:
        p = self.p = parameters
        self._normals = normals
        self._drift = Wander(normals, p.nir_drift, p.nir_drift_tau, p.nir_every)
        self.bias = 0.0
        self.is_out = False
        self.waiting = Waiting()
        self._mass = self._api = self._last = 0.0

    @property
    def error(self) -> float:
        """What the probe reads too much now, without noise [1]."""
        return self.bias + self._drift.value

    def see(self, mass: float, api: float) -> None:
        """Let ``mass`` [kg] of blend with ``api`` [kg] pass the window."""
        self._mass += mass
        self._api += api

    def measure(self, time: float) -> None:
        """Evaluate the spectra taken since the last result."""
        self._drift.step()
        noise = self.p.nir_noise * self._normals.next()
        good = self._mass > 0.0 and not self.is_out
        if good:
            self._last = 100.0 * max(self._api / self._mass + self.error + noise, 0.0)
        self._mass = self._api = 0.0
        self.waiting.add(Result("NIR.Content", self._last, time, time + self.p.nir_delay, good))


class Tester:
    """Automatic tester: a sample of tablets for weight and thickness, at times for hardness.

    Attributes
    ----------
    is_stuck : bool
        A fault: the last results are sent again with new time stamps.
    """

    def __init__(self, parameters: AnalyserParameters, normals: Normals) -> None:
        self.p = parameters
        self._normals = normals
        self.is_stuck = False
        self.waiting = Waiting()
        self._last: dict[str, float] = {}
        self._count = 0

    def test(self, time: float, tablets: Tablets) -> None:
        """Take a sample of ``tablets``."""
        p, n = self.p, [self._normals.next() for _ in range(4)]
        root = math.sqrt(p.sample_size)
        weight = tablets.weight * (1.0 + tablets.rsd / root * n[0]) + p.weight_noise * n[1]
        found = {
            "Tester.Weight": weight * 1e6,
            "Tester.Thickness": (tablets.thickness + p.thickness_noise * n[2]) * 1e3,
        }
        if self._count % p.hardness_every == 0:
            spread = p.hardness_rsd / root * n[3]
            found["Tester.Hardness"] = tablets.hardness * (1.0 + spread)
        self._count += 1
        for tag, value in found.items():
            if self.is_stuck:
                value = self._last.get(tag, value)
            self._last[tag] = value
            self.waiting.add(Result(tag, value, time, time + p.tester_delay))
