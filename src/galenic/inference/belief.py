"""Beliefs: what is thought of the quantities of one thing at one time, and how surely.

A belief is an immutable value. Estimators take one and return the next; controllers and pages read
it by path. Kinds: Gaussian, Ensemble (weighted members), Posterior (a Gaussian around a mode that
keeps the evidence it came from) and Mixture (several beliefs with weights).

Inside, everything is SI. A quantity that must stay positive can be held on the log scale: the
Gaussian then lives in ``log(value)``, and mean, sd and intervals are those of the log-normal.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from galenic.clock import to_iso
from galenic.errors import DataError, UnknownName
from galenic.identity import content_hash
from galenic.inference.evidence import Innovation
from galenic.inference.packing import pack, packable, unpack
from galenic.units import from_si, unit

Array = npt.NDArray[np.float64]


@packable
@dataclass(frozen=True)
class Axis:
    """One quantity of a belief: its path, declared unit, scale and SI bounds."""

    name: str
    unit: str = "1"
    transform: Literal["none", "log"] = "none"
    lower: float = -np.inf
    upper: float = np.inf

    @property
    def is_log(self) -> bool:
        return self.transform == "log"


@packable
@dataclass(frozen=True)
class Infusion:
    """An input raised by ``rate`` [SI] until ``stop`` [ns], from an action with a duration."""

    path: str
    rate: float
    stop: int


@packable
@dataclass(frozen=True)
class Context:
    """What a belief carries besides its numbers.

    Parameters
    ----------
    origin : int [ns]
        Time at which the model's own time is zero.
    inputs : mapping path -> float [SI]
        Inputs held now.
    running : tuple of Infusion
        Actions with a duration that have not ended.
    rejected : mapping path -> int
        Consecutive observations refused by the gate, per quantity.
    """

    origin: int = 0
    inputs: Mapping[str, float] = field(default_factory=dict)
    running: tuple[Infusion, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)


def frozen(array: npt.ArrayLike) -> Array:
    """A read-only float copy."""
    result = np.array(array, dtype=np.float64)
    result.setflags(write=False)
    return result


class Belief(ABC):
    """An immutable belief at ``time`` [ns] about the quantities in ``axes``.

    Implementations give ``mean_vector``, ``covariance`` (natural scale), ``interval`` and
    ``sample``; the rest follows.
    """

    time: int
    axes: tuple[Axis, ...]
    context: Context
    innovations: tuple[Innovation, ...]

    @property
    @abstractmethod
    def mean_vector(self) -> Array:
        """Expected values [SI], in the order of ``names``."""

    @property
    @abstractmethod
    def covariance(self) -> Array:
        """Covariance on the natural scale [SI], ``(n, n)``."""

    @abstractmethod
    def interval(self, name: str, level: float = 0.9) -> tuple[float, float]:
        """Central interval that holds the quantity with probability ``level`` [SI]."""

    @abstractmethod
    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """``n`` draws [SI], ``(n, len(names))``; draws beyond a bound are moved to the bound."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Paths: states, then augmented parameters and disturbances."""
        return tuple(axis.name for axis in self.axes)

    @property
    def units(self) -> tuple[str, ...]:
        """Declared units; values in a belief are SI."""
        return tuple(axis.unit for axis in self.axes)

    @property
    def point_vector(self) -> Array:
        """The values to plug into a model [SI]: the median on a log scale, otherwise the mean."""
        return self.mean_vector

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {axis.name: i for i, axis in enumerate(self.axes)}

    def position(self, name: object) -> int:
        """Index of a path in ``names``."""
        try:
            return self._positions[str(name)]
        except KeyError:
            raise UnknownName.among("quantity", str(name), self.names, where="a belief") from None

    def mean(self, name: object) -> float:
        """Expected value [SI]."""
        return float(self.mean_vector[self.position(name)])

    def point(self, name: object) -> float:
        """The value to plug into a model [SI]."""
        return float(self.point_vector[self.position(name)])

    def sd(self, name: object) -> float:
        """Standard deviation [SI]."""
        i = self.position(name)
        return float(np.sqrt(max(self.covariance[i, i], 0.0)))

    def correlation(self) -> Array:
        """Correlation matrix on the natural scale; rows of exactly known quantities are zero."""
        cov = self.covariance
        scale = np.sqrt(np.diag(cov))
        inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
        return np.asarray(cov * np.outer(inverse, inverse))

    def quantities(self) -> dict[str, tuple[float, float, str]]:
        """Value, standard deviation and unit of every quantity, in its declared unit."""
        sd = np.sqrt(np.maximum(np.diag(self.covariance), 0.0))
        return {
            axis.name: (
                float(from_si(float(value), axis.unit)),
                float(spread) / unit(axis.unit).scale,
                axis.unit,
            )
            for axis, value, spread in zip(self.axes, self.point_vector, sd, strict=True)
        }

    def with_context(self, **changes: Any) -> Self:
        """The same belief with other held inputs, running infusions or gate counts."""
        return replace(self, context=replace(self.context, **changes))  # type: ignore[type-var]

    def to_bytes(self) -> bytes:
        """The belief bit for bit."""
        return pack(self)

    @staticmethod
    def from_bytes(data: bytes) -> Belief:
        """The belief that ``to_bytes`` wrote."""
        belief = unpack(data)
        if not isinstance(belief, Belief):
            raise DataError(f"the bytes hold a {type(belief).__name__}", expected="a belief")
        return belief

    @property
    def identity(self) -> str:
        """SHA-256 of its bytes: two beliefs are the same if and only if this is."""
        return content_hash(self.to_bytes())

    def to_dict(self, level: float = 0.9) -> dict[str, Any]:
        """Plain values in declared units for screens and JSON; intervals at ``level``."""
        rows = {}
        for name, (value, sd, text) in self.quantities().items():
            low, high = (float(from_si(bound, text)) for bound in self.interval(name, level))
            rows[name] = {"value": value, "sd": sd, "unit": text, "lower": low, "upper": high}
        return {
            "kind": type(self).__name__.lower(),
            "time": to_iso(self.time),
            "level": level,
            "quantities": rows,
            "innovations": [innovation.to_dict() for innovation in self.innovations],
        }


@packable
@dataclass(frozen=True, eq=False)
class Gaussian(Belief):
    """A normal distribution over the axes, on the log scale where an axis says so.

    Parameters
    ----------
    centre, spread : array, ``(n,)`` and ``(n, n)``
        Mean and covariance on the axes' own scale (SI, or log of SI).
    """

    time: int
    axes: tuple[Axis, ...]
    centre: Array
    spread: Array
    context: Context = field(default_factory=Context)
    innovations: tuple[Innovation, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.axes)
        if np.shape(self.centre) != (n,) or np.shape(self.spread) != (n, n):
            raise DataError(
                f"mean of shape {np.shape(self.centre)}, covariance {np.shape(self.spread)}",
                where="a Gaussian belief",
                expected=f"({n},) and ({n}, {n}) for {n} quantities",
            )
        object.__setattr__(self, "centre", frozen(self.centre))
        object.__setattr__(self, "spread", frozen(self.spread))

    @classmethod
    def of(
        cls,
        time: int,
        mean: Mapping[str, float],
        sd: Mapping[str, float] | None = None,
        units: Mapping[str, str] | None = None,
        log: Sequence[str] = (),
    ) -> Gaussian:
        """Independent quantities from dictionaries, all SI; for ``log`` ones sd is relative."""
        sd, units = sd or {}, units or {}
        axes = tuple(
            Axis(name, units.get(name, "1"), "log" if name in log else "none") for name in mean
        )
        values = np.array([float(value) for value in mean.values()])
        logs = np.array([axis.is_log for axis in axes], dtype=bool)
        values[logs] = np.log(values[logs])
        return cls(time, axes, values, np.diag([float(sd.get(name, 0.0)) ** 2 for name in mean]))

    @cached_property
    def _logs(self) -> npt.NDArray[np.bool_]:
        return np.array([axis.is_log for axis in self.axes], dtype=bool)

    @cached_property
    def point_vector(self) -> Array:
        return frozen(np.where(self._logs, np.exp(self.centre * self._logs), self.centre))

    @cached_property
    def mean_vector(self) -> Array:
        half = 0.5 * np.diag(self.spread) * self._logs
        return frozen(self.point_vector * np.exp(half))

    @cached_property
    def covariance(self) -> Array:
        """Exact for log axes: cov of exp is m m' (e^s - 1), of exp with linear m s."""
        if not self._logs.any():
            return self.spread
        mean, logs = self.mean_vector, self._logs
        scale = np.where(logs, mean, 1.0)
        both = np.outer(logs, logs)
        core = np.where(both, np.expm1(np.where(both, self.spread, 0.0)), self.spread)
        return frozen(core * np.outer(scale, scale))

    def interval(self, name: str, level: float = 0.9) -> tuple[float, float]:
        i = self.position(name)
        axis = self.axes[i]
        reach = float(ndtri(0.5 + 0.5 * level)) * np.sqrt(max(self.spread[i, i], 0.0))
        low, high = self.centre[i] - reach, self.centre[i] + reach
        if axis.is_log:
            low, high = np.exp(low), np.exp(high)
        return tuple(float(np.clip(x, axis.lower, axis.upper)) for x in (low, high))  # type: ignore[return-value]

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        draws = self.centre + rng.standard_normal((n, len(self.axes))) @ square_root(self.spread).T
        draws[:, self._logs] = np.exp(draws[:, self._logs])
        return clip_to_axes(draws, self.axes)


def square_root(matrix: Array) -> Array:
    """A factor L with L L' = ``matrix`` (symmetric, positive semi-definite; zero rows allowed)."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def clip_to_axes(draws: Array, axes: Sequence[Axis]) -> Array:
    """Rows of quantities with every value inside its bounds."""
    lower = np.array([axis.lower for axis in axes])
    upper = np.array([axis.upper for axis in axes])
    return np.clip(draws, lower, upper)


@packable
@dataclass(frozen=True, eq=False)
class Posterior(Gaussian):
    """A mode with its Laplace covariance, and the evidence that gave it.

    Parameters
    ----------
    evidence : tuple of Held, Bundle, Action
        What happened since ``start``, in order; the estimator re-solves from it.
    start : Gaussian or None
        Where the evidence begins: the prior, or the arrival cost of a moving horizon.
    warm : mapping name -> array
        The last solution, from which the next solve starts.
    notes : mapping
        Facts of the last solve: objective, iterations, status.
    """

    evidence: tuple[Any, ...] = ()
    start: Gaussian | None = None
    warm: Mapping[str, Array] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def mode_vector(self) -> Array:
        """The most probable values [SI] (the mode on the axes' own scale, transformed)."""
        return self.point_vector


@packable
@dataclass(frozen=True, eq=False)
class Ensemble(Belief):
    """Weighted members ``(n, k)`` [SI]; weights add up to one."""

    time: int
    axes: tuple[Axis, ...]
    members: Array
    weights: Array = field(default_factory=lambda: np.empty(0))
    context: Context = field(default_factory=Context)
    innovations: tuple[Innovation, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.members)
        weights = np.asarray(self.weights, dtype=float)
        if weights.size == 0:
            weights = np.full(n, 1.0 / n)
        if np.shape(self.members) != (n, len(self.axes)) or weights.shape != (n,):
            raise DataError(
                f"members of shape {np.shape(self.members)}, {weights.size} weights",
                where="an Ensemble belief",
                expected=f"(n, {len(self.axes)}) and n",
            )
        object.__setattr__(self, "members", frozen(self.members))
        object.__setattr__(self, "weights", frozen(weights / weights.sum()))

    @cached_property
    def mean_vector(self) -> Array:
        return frozen(self.weights @ self.members)

    @cached_property
    def covariance(self) -> Array:
        """Weighted, with the small-sample factor 1 / (1 - sum w^2)."""
        apart = self.members - self.mean_vector
        unbias = 1.0 - float(self.weights @ self.weights)
        return frozen((apart.T * self.weights) @ apart / max(unbias, 1e-300))

    @property
    def effective_size(self) -> float:
        """Kish's effective number of members [1]: 1 / sum w^2."""
        return float(1.0 / (self.weights @ self.weights))

    def quantile(self, name: str, levels: npt.ArrayLike) -> Array:
        """Weighted quantiles, interpolated between members (Hazen's positions) [SI]."""
        values = self.members[:, self.position(name)]
        return weighted_quantile(values, self.weights, levels)

    def interval(self, name: str, level: float = 0.9) -> tuple[float, float]:
        low, high = self.quantile(name, [0.5 - level / 2, 0.5 + level / 2])
        return float(low), float(high)

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        return np.asarray(self.members[rng.choice(len(self.members), size=n, p=self.weights)])


def weighted_quantile(values: Array, weights: Array, levels: npt.ArrayLike) -> Array:
    """Quantiles of weighted values, each value sitting at the middle of its weight."""
    order = np.argsort(values, kind="stable")
    middle = np.cumsum(weights[order]) - 0.5 * weights[order]
    return np.asarray(np.interp(np.asarray(levels, dtype=float), middle, values[order]))


@packable
@dataclass(frozen=True, eq=False)
class Mixture(Belief):
    """Several beliefs about the same quantities, each with a probability."""

    parts: tuple[Belief, ...]
    weights: Array
    labels: tuple[str, ...] = ()
    innovations: tuple[Innovation, ...] = ()

    def __post_init__(self) -> None:
        weights = np.asarray(self.weights, dtype=float)
        if not self.parts or weights.shape != (len(self.parts),):
            raise DataError(
                f"{len(self.parts)} parts, {weights.size} weights", where="a Mixture belief"
            )
        for part in self.parts[1:]:
            if part.names != self.parts[0].names or part.time != self.parts[0].time:
                raise DataError(
                    "the parts differ in time or quantities",
                    where="a Mixture belief",
                    expected=f"{', '.join(self.parts[0].names)} at one time",
                )
        object.__setattr__(self, "weights", frozen(weights / weights.sum()))

    @property
    def time(self) -> int:  # type: ignore[override]
        return self.parts[0].time

    @property
    def axes(self) -> tuple[Axis, ...]:  # type: ignore[override]
        return self.parts[0].axes

    @property
    def context(self) -> Context:  # type: ignore[override]
        return self.parts[0].context

    def with_context(self, **changes: Any) -> Mixture:
        return replace(self, parts=tuple(part.with_context(**changes) for part in self.parts))

    @cached_property
    def mean_vector(self) -> Array:
        return frozen(self.weights @ np.array([part.mean_vector for part in self.parts]))

    @cached_property
    def covariance(self) -> Array:
        """Mean of the covariances plus covariance of the means."""
        total = np.zeros((len(self.axes), len(self.axes)))
        for weight, part in zip(self.weights, self.parts, strict=True):
            apart = part.mean_vector - self.mean_vector
            total += weight * (part.covariance + np.outer(apart, apart))
        return frozen(total)

    def interval(self, name: str, level: float = 0.9) -> tuple[float, float]:
        """From 4000 draws with a fixed generator, so that it is a function of the belief."""
        draws = self.sample(4000, np.random.default_rng(0))[:, self.position(name)]
        low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2])
        return float(low), float(high)

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        counts = rng.multinomial(n, self.weights)
        draws = [part.sample(k, rng) for part, k in zip(self.parts, counts, strict=True) if k]
        return rng.permutation(np.concatenate(draws))
