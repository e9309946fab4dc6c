"""What a belief is told: observations in bundles, inputs that were held, and how well it fitted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from galenic.errors import DataError
from galenic.inference.packing import packable


@packable
@dataclass(frozen=True)
class Observation:
    """One measured value of a state, output or augmented quantity.

    Parameters
    ----------
    quantity : str
        Path of what was measured.
    value, sd : float [SI of the quantity]
        Reading and standard deviation of its noise; an ``sd`` of 0 means the estimator's own
        ``Noise.measurement`` for this quantity.
    lag : float [s]
        Transport time of the sensor, for the record: a bundle carries the time that its values
        describe, so whoever folds observations into a belief has already taken it off.
    key : str
        The source's key of the sample.
    weight : float [1]
        Share of trust between 0 (exclusive) and 1: a weight of 0.25 doubles the sd. Samples of
        uncertain quality get one below 1.
    resolution : float [SI of the quantity]
        Step of the display or converter: the reading is rounded to multiples of it.
    """

    quantity: str
    value: float
    sd: float = 0.0
    lag: float = 0.0
    key: str = ""
    weight: float = 1.0
    resolution: float = 0.0

    def __post_init__(self) -> None:
        for name in ("value", "sd", "weight", "resolution"):
            if not math.isfinite(getattr(self, name)):
                raise DataError(
                    f"{name} is {getattr(self, name)}",
                    where=f"an observation of {self.quantity} ({self.key or 'no key'})",
                    expected="a finite number",
                    hint="leave a missing sample out of the bundle",
                )
        if self.sd < 0 or self.resolution < 0 or not 0 < self.weight <= 1:
            raise DataError(
                f"sd {self.sd}, resolution {self.resolution}, weight {self.weight}",
                where=f"an observation of {self.quantity}",
                expected="sd >= 0, resolution >= 0, 0 < weight <= 1",
            )


@packable
@dataclass(frozen=True)
class Bundle:
    """All observations that describe one time [ns]; they are corrected jointly."""

    time: int
    observations: tuple[Observation, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "observations", tuple(self.observations))

    def in_order(self) -> tuple[Observation, ...]:
        """The observations in an order that depends on what they say, not on how they came."""
        return tuple(sorted(self.observations, key=lambda o: (o.quantity, o.key, o.value, o.sd)))


@packable
@dataclass(frozen=True)
class Held:
    """Inputs (SI by path) held constant until ``until`` [ns]."""

    until: int
    inputs: Mapping[str, float] = field(default_factory=dict)


@packable
@dataclass(frozen=True)
class Innovation:
    """How one observation met its expectation.

    ``sd`` is that of the predicted reading (state and sensor together), ``nis`` the normalised
    innovation squared, which is chi-square with one degree of freedom if the belief is consistent.
    """

    quantity: str
    measured: float
    expected: float
    sd: float
    nis: float
    accepted: bool = True
    why: str = ""
    key: str = ""

    @property
    def residual(self) -> float:
        """Measured minus expected [SI]."""
        return self.measured - self.expected

    @property
    def standardised(self) -> float:
        """Residual in predicted standard deviations [1]."""
        return self.residual / self.sd if self.sd > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}
