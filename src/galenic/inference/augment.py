"""The model as a filter sees it: states, and what drifts slowly beside them, in one vector.

The vector ``w`` holds the model's states and then the augmented quantities, each on the scale of
its axis (SI, or log of SI). ``AugmentedModel`` moves it over a step and through the outputs, with
derivatives. The mathematics of the model itself comes from an ``engine`` Transition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from galenic.clock import seconds
from galenic.errors import DataError, UnknownName
from galenic.inference.belief import Array, Axis, Context, Gaussian, Infusion
from galenic.inference.estimator import Noise
from galenic.inference.reduce import engine_transition, entry_function, freeze, start_function
from galenic.units import value_in


@dataclass(frozen=True)
class Augmented:
    """A quantity estimated beside the states: a drifting parameter or an unmeasured disturbance.

    Parameters
    ----------
    path : str
        Its name in the belief. A parameter of the model is replaced by the estimate, an input too.
    acts_on : str, optional
        Input or output that the quantity is added to; then ``path`` is a new name, such as
        ``"nir.bias"`` on the output ``"nir.content"`` (this gives offset-free estimates).
    log : bool
        Hold it on the log scale: it stays positive, its sd and drift are relative.
    value : float [SI], optional
        Start value; otherwise the model's own, or 0 for an added disturbance.
    sd, drift : float, optional
        Start sd [SI] and random walk [SI per sqrt(s)]; otherwise from ``Noise.start`` and
        ``Noise.drift``. Relative for ``log``.
    reverts_in : float [s]
        Time constant with which it falls back to its start value; infinite is a pure random walk.
    """

    path: str
    acts_on: str = ""
    log: bool = False
    value: float | None = None
    sd: float | None = None
    drift: float | None = None
    reverts_in: float = np.inf


class Step(NamedTuple):
    """A predicted vector and its derivative with respect to the vector before."""

    w: Array
    jacobian: Array


class AugmentedModel:
    """States and augmented quantities of one transition, as vectors.

    ``observable`` names what a bundle may hold: outputs, states and augmented quantities.

    Parameters
    ----------
    subject : Transition, System or Model
    noise : Noise
    augmented : sequence of str or Augmented
    values : mapping path -> number or text with unit
        Overrides of parameters, inputs and start values.
    stepper : callable
        Makes the one-step map from the System; by default the engine's Transition.
    """

    p0: Array
    u0: Array

    def __init__(
        self,
        subject: Any,
        noise: Noise,
        augmented: Sequence[str | Augmented] = (),
        values: Mapping[str, Any] | None = None,
        stepper: Callable[[Any], Any] = engine_transition,
    ) -> None:
        ready = hasattr(subject, "linear")
        whole = subject.flatten() if hasattr(subject, "flatten") else subject
        self.system = subject.system if ready else whole
        self.noise = noise
        self.augmented = tuple(
            Augmented(item) if isinstance(item, str) else item for item in augmented
        )
        self._read_names()
        self._read_values(values or {})
        self._place_augmented()
        if not ready:
            keep = [i for _, i in self.on_parameter]
            self.system = freeze(self.system, self.p0, keep)
            self.p0 = self.p0[keep]
            self._read_names()
            self._place_augmented()
        self._start_function = start_function(self.system)
        self.transition = subject if ready else stepper(self.system)
        self._selections: dict[tuple[str, ...], tuple[Any, ...]] = {}
        self._diagonal = np.arange(
            len(self.state_names), len(self.state_names) + len(self.augmented)
        )
        self.axes = self._axes()
        self.size = len(self.axes)
        self.names = tuple(axis.name for axis in self.axes)
        self.positions = {name: i for i, name in enumerate(self.names)}
        self.logs = np.flatnonzero([axis.is_log for axis in self.axes])
        self.any_log = bool(self.logs.size)
        self.known = dict.fromkeys((*self.output_names, *self.names))
        self.observable = tuple(self.known)
        self.rates = self._noise_rates()
        self.lower, self.upper = self._bounds()
        self.reversion = np.array([item.reverts_in for item in self.augmented])
        self.reverts = bool(np.isfinite(self.reversion).any())
        self.rest = self.start_values()[0][len(self.state_names) :]

    def _read_names(self) -> None:
        system = self.system
        self.state_names = tuple(entry.path for entry in system.states)
        self.input_names = {entry.path: i for i, entry in enumerate(system.inputs)}
        self.parameter_names = {entry.path: i for i, entry in enumerate(system.parameters)}
        self.output_names = {entry.path: i for i, entry in enumerate(system.outputs)}

    def _read_values(self, values: Mapping[str, Any]) -> None:
        system = self.system
        groups = (system.parameters, system.inputs, system.states)
        known = {entry.path: entry for group in groups for entry in group}
        for path in values:
            if path not in known:
                raise UnknownName.among("quantity", path, known, where="values of an estimator")
        given = {path: value_in(x, known[path].unit, where=path) for path, x in values.items()}
        self.p0 = np.array([given.get(e.path, e.value) for e in system.parameters], float)
        self.u0 = np.array([given.get(e.path, e.value) for e in system.inputs], float)
        self._start_function = start_function(system)
        self.x0 = self.start_states(self.p0)
        self._given_starts = [i for i, n in enumerate(self.state_names) if n in given]
        for i in self._given_starts:
            self.x0[i] = given[self.state_names[i]]

    def _place_augmented(self) -> None:
        """Sort the augmented quantities by what they do: (position in w, index in the target)."""
        self.on_parameter: list[tuple[int, int]] = []
        self.as_input: list[tuple[int, int]] = []
        self.on_input: list[tuple[int, int]] = []
        self.on_output: list[tuple[int, int]] = []
        for k, item in enumerate(self.augmented):
            place = len(self.state_names) + k
            if item.acts_on in self.input_names:
                self.on_input.append((place, self.input_names[item.acts_on]))
            elif item.acts_on in self.output_names:
                self.on_output.append((place, self.output_names[item.acts_on]))
            elif item.acts_on:
                known = [*self.input_names, *self.output_names]
                raise UnknownName.among(
                    "input or output", item.acts_on, known, where=f"augmented {item.path}"
                )
            elif item.path in self.parameter_names:
                self.on_parameter.append((place, self.parameter_names[item.path]))
            elif item.path in self.input_names:
                self.as_input.append((place, self.input_names[item.path]))
            else:
                known = [*self.parameter_names, *self.input_names]
                raise UnknownName.among("parameter or input", item.path, known, where="augmented")
        self._parameter_at = _columns(self.on_parameter)
        self._input_at = _columns(self.as_input + self.on_input)
        self._output_at = _columns(self.on_output)

    def _entry(self, item: Augmented) -> Any:
        """The declared quantity that gives an augmented one its unit."""
        name = item.acts_on or item.path
        for names, entries in (
            (self.parameter_names, self.system.parameters),
            (self.input_names, self.system.inputs),
            (self.output_names, self.system.outputs),
        ):
            if name in names:
                return entries[names[name]]
        raise UnknownName.among("quantity", name, self.parameter_names)

    def _axes(self) -> tuple[Axis, ...]:
        axes = [
            Axis(e.path, e.unit.text, lower=float(e.lower), upper=float(e.upper))
            for e in self.system.states
        ]
        for item in self.augmented:
            entry = self._entry(item)
            lower, upper = (-np.inf, np.inf) if item.acts_on else (entry.lower, entry.upper)
            if item.log:
                lower = max(lower, 0.0)
            axes.append(
                Axis(
                    item.path,
                    entry.unit.text,
                    "log" if item.log else "none",
                    float(lower),
                    float(upper),
                )
            )
        return tuple(axes)

    def _noise_rates(self) -> Array:
        """Variance per second of the white noise on each axis."""
        drifting = [item.path for item in self.augmented]
        self.noise.check(
            {
                "process": self.state_names,
                "drift": drifting,
                "start": self.names,
                "measurement": self.observable,
            }
        )
        rates = [self.noise.process.get(name, 0.0) ** 2 for name in self.state_names]
        for item in self.augmented:
            drift = self.noise.drift.get(item.path, 0.0) if item.drift is None else item.drift
            rates.append(drift**2)
        return np.array(rates, dtype=float)

    def _bounds(self) -> tuple[Array, Array]:
        """Bounds on the axes' own scale."""
        lower = np.array([axis.lower for axis in self.axes], dtype=float)
        upper = np.array([axis.upper for axis in self.axes], dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            lower[self.logs] = np.log(np.maximum(lower[self.logs], 0.0))
            upper[self.logs] = np.log(upper[self.logs])
        return lower, upper

    def start_values(self) -> tuple[Array, Array]:
        """Centre and sd of the first belief, on the axes' own scale."""
        centre = list(self.x0)
        spread = [self.noise.start.get(name, 0.0) for name in self.state_names]
        for item in self.augmented:
            value = item.value
            if value is None:
                value = 0.0 if item.acts_on else self._default(item.path)
            if item.log and not value > 0:
                raise DataError(
                    f"{item.path} starts at {value}",
                    where="an augmented quantity on the log scale",
                    expected="a positive start value",
                )
            centre.append(np.log(value) if item.log else value)
            spread.append(self._start_sd(item, value))
        return np.array(centre, dtype=float), np.array(spread, dtype=float)

    def _start_sd(self, item: Augmented, value: float) -> float:
        """Start sd: as given, from the noise, or the declared spread of a parameter."""
        if item.sd is not None:
            return item.sd
        if item.path in self.noise.start:
            return self.noise.start[item.path]
        declared = None if item.acts_on else self._entry(item).spread
        return 0.0 if declared is None else declared / (value if item.log else 1.0)

    def _default(self, path: str) -> float:
        if path in self.parameter_names:
            return float(self.p0[self.parameter_names[path]])
        return float(self.u0[self.input_names[path]])

    def start(self, time: int) -> Gaussian:
        """The first belief from the model's own start values.

        Start values that the model computes from augmented parameters share their uncertainty.
        """
        centre, sd = self.start_values()
        spreading = np.eye(self.size)
        spreading[: len(self.state_names)] += self.start_slopes(centre)
        inputs = {name: float(self.u0[i]) for name, i in self.input_names.items()}
        spread = spreading @ np.diag(sd**2) @ spreading.T
        return Gaussian(time, self.axes, centre, spread, Context(time, inputs))

    def start_states(self, p: Array) -> Array:
        """Start values of the states [SI] for a parameter vector."""
        return np.array(self._start_function(p)[0], dtype=float).ravel()

    def start_slopes(self, w: Array) -> Array:
        """Derivative of the states' start values by the vector ``(nx, n)``."""
        slopes = np.zeros((len(self.state_names), self.size))
        if self.on_parameter:
            natural = self.natural(w)
            p = self.arguments(natural, self.u0)[2]
            by_p = np.array(self._start_function(p)[1], dtype=float)
            places, indices = self._parameter_at
            slopes[:, places] = by_p[:, indices]
            slopes[self._given_starts] = 0.0
            slopes[:, self.logs] *= natural[self.logs]
        return slopes

    def natural(self, w: Array) -> Array:
        """SI values of a vector on the axes' own scale."""
        if not self.any_log:
            return w
        result = w.copy()
        result[self.logs] = np.exp(w[self.logs])
        return result

    def own_scale(self, values: Array) -> Array:
        """The reverse of ``natural``."""
        if not self.any_log:
            return values
        result = values.copy()
        result[self.logs] = np.log(values[self.logs])
        return result

    def own_scale_rows(self, table: Array) -> Array:
        """``own_scale`` of every row."""
        return np.array([self.own_scale(row) for row in table])

    def input_vector(self, context: Context, running: Sequence[Infusion] | None = None) -> Array:
        """Held inputs plus running infusions [SI]; ``running`` replaces those of the context."""
        u = self.u0.copy()
        for path, value in context.inputs.items():
            u[self.input_names[path]] = value
        for infusion in context.running if running is None else running:
            u[self.input_names[infusion.path]] += infusion.rate
        return u

    def arguments(self, natural: Array, u: Array) -> tuple[Array, Array, Array]:
        """States, inputs and parameters that the transition takes."""
        p = self.p0
        if self.on_parameter:
            p = p.copy()
            p[self._parameter_at[1]] = natural[self._parameter_at[0]]
        if self._input_at[0].size:
            u = u.copy()
            for place, i in self.as_input:
                u[i] = natural[place]
            for place, i in self.on_input:
                u[i] += natural[place]
        return natural[: len(self.state_names)], u, p

    def _slow(self, w: Array, dt: float) -> tuple[Array, Array | float]:
        """Augmented quantities after ``dt``, and the share of their distance from rest kept."""
        slow = w[len(self.state_names) :]
        if not self.reverts:
            return slow, 1.0
        keep = np.exp(-dt / self.reversion)
        return self.rest + keep * (slow - self.rest), keep

    def advance(self, w: Array, u: Array, dt: float, t: float) -> Array:
        """The vector after ``dt`` seconds without noise."""
        nx = len(self.state_names)
        x, u, p = self.arguments(self.natural(w), u)
        result = np.empty(self.size)
        result[:nx] = self.transition.step(x, u, p, dt, t)
        result[nx:], _ = self._slow(w, dt)
        return result

    def advance_linear(self, w: Array, u: Array, dt: float, t: float) -> Step:
        """The vector after ``dt`` seconds and its derivative."""
        nx = len(self.state_names)
        natural = self.natural(w)
        x, u, p = self.arguments(natural, u)
        x_next, a, b, g = self.transition.linear(x, u, p, dt, t)
        jacobian = np.zeros((self.size, self.size))
        jacobian[:nx, :nx] = a
        if self.on_parameter:
            jacobian[:nx, self._parameter_at[0]] = np.asarray(g)[:, self._parameter_at[1]]
        if self._input_at[0].size:
            jacobian[:nx, self._input_at[0]] = np.asarray(b)[:, self._input_at[1]]
        if self.any_log:
            jacobian[:nx, self.logs] *= natural[self.logs]
        result = np.empty(self.size)
        result[:nx] = np.ravel(x_next)
        slow, keep = self._slow(w, dt)
        result[nx:] = slow
        jacobian[self._diagonal, self._diagonal] = keep
        return Step(result, jacobian)

    def measure(self, w: Array, u: Array, t: float, rows: Sequence[str]) -> Array:
        """Expected values of quantities by path."""
        natural = self.natural(w)
        x, u, p = self.arguments(natural, u)
        y = np.ravel(self.transition.observe(x, u, p, t)).astype(float)
        return self._values(self._selected(rows), y, natural)

    def measure_linear(self, w: Array, u: Array, t: float, rows: Sequence[str]) -> Step:
        """Expected values of quantities by path, with derivative by the vector."""
        nx = len(self.state_names)
        natural = self.natural(w)
        x, u, p = self.arguments(natural, u)
        y, c, d, g = (np.asarray(part) for part in self.transition.observe_linear(x, u, p, t))
        at, i, own, j = rows_ = self._selected(rows)
        jacobian = np.zeros((len(rows), self.size))
        jacobian[own, j] = 1.0
        jacobian[at, :nx] = c[i]
        if self.on_parameter:
            jacobian[at[:, None], self._parameter_at[0]] = g[i[:, None], self._parameter_at[1]]
        if self._input_at[0].size:
            jacobian[at[:, None], self._input_at[0]] = d[i[:, None], self._input_at[1]]
        for place, output in self.on_output:
            jacobian[at[i == output], place] = 1.0
        if self.any_log:
            jacobian[:, self.logs] *= natural[self.logs]
        return Step(self._values(rows_, y.astype(float).ravel(), natural), jacobian)

    def _values(self, rows: tuple[Any, ...], y: Array, natural: Array) -> Array:
        at, i, own, j = rows
        for place, output in self.on_output:
            y[output] += natural[place]
        values = np.empty(len(at) + len(own))
        values[at] = y[i]
        values[own] = natural[j]
        return values

    def _selected(self, rows: Sequence[str]) -> tuple[Any, ...]:
        """Where rows are found: (rows that are outputs, outputs, other rows, places in w)."""
        key = tuple(rows)
        if key not in self._selections:
            is_output = [name in self.output_names for name in key]
            at = np.flatnonzero(is_output)
            own = np.flatnonzero(np.logical_not(is_output))
            i = np.array([self.output_names[key[k]] for k in at], dtype=int)
            j = np.array([self.positions[key[k]] for k in own], dtype=int)
            self._selections[key] = (at, i, own, j)
        return self._selections[key]

    def entry_jump(self, w: Array, context: Context, time: int, index: int) -> tuple[Array, Array]:
        """Jump of the states per unit of an input's impulse, and its derivative by the vector."""
        nx = len(self.state_names)
        natural = self.natural(w)
        x, u, p = self.arguments(natural, self.input_vector(context))
        t = seconds(time - context.origin)
        z = self.transition.algebraic(x, u, p, t) if len(self.system.algebraics) else np.empty(0)
        b, by_x, by_p = (np.array(part) for part in self._entry_function(index)(t, x, z, u, p))
        slopes = np.zeros((nx, self.size))
        slopes[:, :nx] = by_x
        if self.on_parameter:
            slopes[:, self._parameter_at[0]] = by_p[:, self._parameter_at[1]]
        slopes[:, self.logs] *= natural[self.logs]
        return b.ravel(), slopes

    @cache  # noqa: B019 -- a model lives as long as its estimator
    def _entry_function(self, index: int) -> Any:
        return entry_function(self.system, index)

    def unit_of(self, name: str) -> str:
        """Declared unit of a quantity."""
        if name in self.output_names:
            return str(self.system.outputs[self.output_names[name]].unit.text)
        return self.axes[self.positions[name]].unit

    def bounds_of(self, name: str) -> tuple[float, float]:
        """Declared bounds of a quantity [SI]."""
        entry = (
            self.system.outputs[self.output_names[name]]
            if name in self.output_names
            else self.axes[self.positions[name]]
        )
        return float(entry.lower), float(entry.upper)


def _columns(pairs: Sequence[tuple[int, int]]) -> tuple[Any, Any]:
    """Positions and indices of pairs as two integer arrays."""
    table = np.array(pairs, dtype=int).reshape(-1, 2)
    return table[:, 0], table[:, 1]
