"""The terms of a population: between subjects, between occasions, coefficients, residual errors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from galenic.errors import ModelError
from galenic.modeling.system import Entry
from galenic.units import Unit, unit, value_in

KINDS = ("log-normal", "normal", "logit", "box-cox")
COMBINATIONS = ("variance", "sd", "log")


@dataclass(frozen=True)
class Between:
    """Difference between subjects in one parameter that covariates do not explain.

    With the typical value P and eta normal with mean 0 an individual has

    - ``log-normal``: P exp(eta); ``sd`` is that of the logarithm (0.3 is about 30 %)
    - ``normal``: P + eta; ``sd`` in the parameter's declared unit
    - ``logit``: between the parameter's bounds, logit of the share moved by eta
    - ``box-cox``: P exp((exp(eta)^shape - 1) / shape), skewed where ``shape`` is not 0
      (Petersson et al., Pharm Res 26:2174-2185, 2009, doi:10.1007/s11095-009-9931-1)
    """

    parameter: str
    sd: float
    kind: str = "log-normal"
    shape: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ModelError(f"there is no kind {self.kind!r}", expected=" or ".join(KINDS))

    @property
    def plain(self) -> bool:
        """Whether the effect acts as on the typical value: log-normal or normal."""
        return self.kind in ("log-normal", "normal")

    def vary(self, value: Any, effect: Any, entry: Entry) -> Any:
        """The individual's value [SI] for an effect; takes numbers or SX."""
        if self.kind == "normal":
            return value + effect * entry.unit.scale
        if self.kind == "log-normal":
            return value * ca.exp(effect)
        if self.kind == "box-cox":
            return value * ca.exp((ca.exp(self.shape * effect) - 1) / self.shape)
        low, width = entry.lower, entry.upper - entry.lower
        if not math.isfinite(width):
            raise ModelError(
                f"{entry.path} varies by logit and goes from {entry.lower:g} to {entry.upper:g}",
                expected="a parameter with lower and upper",
            )
        share = (value - low) / width
        return low + width / (1 + (1 - share) / share * ca.exp(-effect))


@dataclass(frozen=True)
class Occasion:
    """Difference between occasions of one subject; it adds to the subject's own effect.

    ``sd`` and ``kind`` are as in :class:`Between`; a parameter that varies between subjects too
    takes the kind from there.
    """

    parameter: str
    sd: float
    kind: str = "log-normal"


@dataclass(frozen=True)
class Coefficient:
    """A number in the relations that data may tell, such as the exponent of body weight."""

    name: str
    value: float
    unit: str = "1"
    lower: float = -math.inf
    upper: float = math.inf
    meaning: str = ""
    source: str = ""

    def entry(self) -> Entry:
        """The coefficient as a parameter of a System."""
        here = unit(self.unit)
        low, high, value = (
            float(value_in(v, here)) for v in (self.lower, self.upper, self.value)
        )  # fmt: skip
        size = abs(value) or here.scale
        return Entry(
            self.name, "parameter", here, self.meaning, low, high, size, value, source=self.source
        )


@dataclass(frozen=True)
class Residual:
    """What an observation differs from the model by.

    Its sd is ``sqrt(additive² + share²)``, or for ``combine="sd"`` the sum ``additive + share``;
    publications mean either. The share is ``proportional · y``, with ``power`` instead
    ``proportional · y**power`` of the number in the declared unit. With ``combine="log"`` the
    logarithm of an observation is normal with sd ``proportional`` around that of the model.
    """

    output: str
    proportional: float = 0.0
    additive: str | float = 0.0
    combine: str = "variance"
    power: float = 1.0

    def __post_init__(self) -> None:
        if self.combine not in COMBINATIONS:
            raise ModelError(
                f"a residual is not combined by {self.combine!r}",
                expected=" or ".join(COMBINATIONS),
            )

    def sd(self, value: Any, of: Unit) -> Any:
        """Standard deviation at ``value`` [SI]."""
        fixed = float(value_in(self.additive, of.difference))
        size = np.abs(np.asarray(value)) / of.scale
        share = self.proportional * size**self.power * of.scale
        if self.combine == "log":
            return size * of.scale * math.sqrt(math.expm1(self.proportional**2))
        return fixed + share if self.combine == "sd" else np.sqrt(fixed**2 + share**2)
