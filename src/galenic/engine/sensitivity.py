"""Derivatives of a run: its record of legs, jumps and events replayed as a CasADi graph.

The run is made once with numbers; what happened is then written as one differentiable expression
of the chosen quantities. Legs use CasADi's Rosenbrock integrator, whose derivatives are those of
the discrete solution, event times included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import casadi as ca
import numpy as np
import numpy.typing as npt

from galenic.engine.integrate import quiet
from galenic.engine.march import March, Reset, Sampled, Travelled
from galenic.engine.timeline import Change
from galenic.engine.trajectory import Series
from galenic.errors import DataError, ModelError, UnknownName
from galenic.units import unit

Array = npt.NDArray[np.float64]

_BLOCK = 64  # adjoint directions at once


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Derivatives over time: ``values[time, output, wrt]`` in SI.

    ``sensitivity["C", "CL"]`` gives a Series in the unit of C per unit of CL.
    """

    times: Array
    outputs: tuple[str, ...]
    wrt: tuple[str, ...]
    values: Array
    nominal: Array  # outputs at the point, (time, output), SI
    at: Array  # wrt at the point, SI
    units: dict[str, Any]

    def __getitem__(self, pair: tuple[Any, Any]) -> Series:
        i, j = self._place(pair)
        of, by = self.units[self.outputs[i]].difference, self.units[self.wrt[j]].difference
        values = self.values[:, i, j] * by.scale / of.scale
        name = f"d {self.outputs[i]} / d {self.wrt[j]}"
        return Series(values, unit(f"({of.text})/({by.text})"), self.times, name)

    def relative(self, output: Any, by: Any) -> Array:
        """Change of an output in percent per percent of a quantity (nan where the output is 0)."""
        i, j = self._place((output, by))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.values[:, i, j] * self.at[j] / self.nominal[:, i])

    def _place(self, pair: tuple[Any, Any]) -> tuple[int, int]:
        output, by = str(pair[0]), str(pair[1])
        if output not in self.outputs:
            raise UnknownName.among("output", output, self.outputs, where="sensitivities")
        if by not in self.wrt:
            raise UnknownName.among("quantity", by, self.wrt, where="sensitivities")
        return self.outputs.index(output), self.wrt.index(by)


class Response:
    """Outputs of a run as a differentiable Function of parameters, start values and inputs.

    Parameters
    ----------
    march : March
        A run that has not begun.
    wrt, outputs : sequences of paths
        What is varied, and what is watched (states, algebraic quantities, outputs).
    times : list of float [s]
        Output times.
    """

    def __init__(
        self, march: March, wrt: Sequence[Any], outputs: Sequence[Any], times: list[float]
    ) -> None:
        self.compiled = march.compiled
        self.times = np.array(times)
        system = self.compiled.system
        self.wrt = tuple(scalar for path in wrt for scalar in system.expand(path))
        self.outputs = tuple(scalar for path in outputs for scalar in system.expand(path))
        self.places = [self.compiled.find(path, "parameter", "state", "input") for path in self.wrt]
        if not self.wrt or not self.outputs:
            raise ModelError("sensitivities of or by nothing", expected="wrt= and outputs=")
        self.watched = self._watched()
        self.start = march.x.copy()
        self.point = self._point(march)
        self._first_p = march.p.copy()
        march.advance(times[-1], times)
        if len(march.rows) != len(times):
            raise ModelError(
                "a terminal event ends the run before the last output time",
                hint="choose times before it",
            )
        if any(isinstance(step, Travelled) and step.jumped for step in march.log):
            raise ModelError(
                "the trigger of an event jumps over zero, so its time has no derivative",
                where=march.compiled.system.name,
                expected="a trigger that passes through zero, as x - limit",
            )
        self.march = march

    def __call__(self, theta: Any) -> Array:
        """Outputs (time, output) in SI at values of ``wrt`` in SI."""
        flat = np.array(self.function(theta)).ravel()
        return flat.reshape(len(self.times), len(self.outputs))

    @cached_property
    def function(self) -> ca.Function:
        """Theta (SI) -> outputs, ordered by time and then output."""
        theta = ca.MX.sym("theta", len(self.wrt))
        rows = _Replay(self, theta).rows()
        return ca.Function("response", [theta], [ca.vertcat(*rows)])

    def sensitivity(self, method: str = "forward") -> Sensitivity:
        """The derivative at the point of the run."""
        ways = {"forward": self._forward, "adjoint": self._adjoint}
        if method not in ways:
            raise UnknownName.among("method", method, ways, where="sensitivities")
        nominal = self(self.point)
        shape = (len(self.times), len(self.outputs), len(self.wrt))
        entries = {path: self.compiled.entry(path) for path in (*self.outputs, *self.wrt)}
        return Sensitivity(
            self.times,
            self.outputs,
            self.wrt,
            ways[method]().reshape(shape),
            nominal,
            self.point,
            {path: entry.unit for path, entry in entries.items()},
        )

    def gradient(self, weights: Any) -> Array:
        """Derivative of sum(weights * outputs), by one adjoint sweep; weights (time, output)."""
        seed = np.asarray(weights, dtype=float).reshape(-1, 1)
        with quiet():
            return np.array(self.function.reverse(1)(self.point, 0, seed)).ravel()

    def hessian_product(self, weights: Any, direction: Any) -> Array:
        """The Hessian of sum(weights * outputs) times a direction, without forming the Hessian.

        Parameters
        ----------
        weights : array (time, output)
            As for ``gradient``.
        direction : array (wrt,) [SI]
            What the Hessian is multiplied by.

        Returns
        -------
        array (wrt,)
            By one forward sweep over the adjoint one; event times are differentiated too.
        """
        weighted = np.asarray(weights, dtype=float).ravel()
        along = np.asarray(direction, dtype=float).ravel()
        if len(along) != len(self.wrt):
            raise DataError(
                f"a direction with {len(along)} elements",
                expected=f"one for each of {', '.join(self.wrt)}",
            )
        with quiet():
            return np.array(self._curved(self.point, weighted, along)).ravel()

    @cached_property
    def _curved(self) -> ca.Function:
        """(theta, weights, direction) -> d/dtheta of the gradient, along the direction."""
        theta = ca.MX.sym("theta", len(self.wrt))
        weights = ca.MX.sym("weights", self.function.size1_out(0))
        direction = ca.MX.sym("direction", len(self.wrt))
        slope = ca.gradient(ca.dot(weights, self.function(theta)), theta)
        along = ca.jtimes(slope, theta, direction)
        return ca.Function("curved", [theta, weights, direction], [along])

    def _forward(self) -> Array:
        n = len(self.wrt)
        with quiet():
            return np.array(self.function.forward(n)(self.point, 0, np.eye(n)))

    def _adjoint(self) -> Array:
        m = len(self.times) * len(self.outputs)
        rows = []
        for first in range(0, m, _BLOCK):
            width = min(_BLOCK, m - first)
            seed = np.zeros((m, width))
            seed[first : first + width] = np.eye(width)
            with quiet():
                rows.append(np.array(self.function.reverse(width)(self.point, 0, seed)).T)
        return np.vstack(rows)

    def _point(self, march: March) -> Array:
        vectors = {"parameter": march.p, "state": march.x, "input": march.given}
        return np.array([vectors[kind][i] for kind, i in self.places], dtype=float)

    def _watched(self) -> ca.Function:
        system = self.compiled.system
        vectors = {"state": system.x, "algebraic": system.z, "output": system.y}
        chosen = []
        for path in self.outputs:
            kind, i = self.compiled.find(path, *vectors)
            chosen.append(vectors[kind][i])
        return ca.Function("watched", self.compiled.args, [ca.densify(ca.vertcat(*chosen))])


class _Replay:
    """One pass over the log of a run, with MX in place of numbers."""

    def __init__(self, response: Response, theta: ca.MX) -> None:
        self.r, self.c, self.march = response, response.compiled, response.march
        self.time = ca.MX(self.march.began)
        self.shift = ca.MX(np.zeros(self.c.nu))
        self.p = ca.MX(response._first_p)
        for k, (kind, i) in enumerate(response.places):
            if kind == "parameter":
                self.p[i] = theta[k]
            elif kind == "input":
                self.shift[i] = theta[k] - response.point[k]
        computed = self.c.start(self.p)
        given = [i in self.march.fixed for i in range(self.c.nx)]
        self.x = (
            ca.if_else(ca.DM(given), ca.DM(response.start), computed) if self.c.nx else computed
        )
        for k, (kind, i) in enumerate(response.places):
            if kind == "state":
                self.x[i] = theta[k]
        self.out: list[ca.MX] = []

    def rows(self) -> list[ca.MX]:
        """Watched outputs, one vector per output time."""
        ways: dict[type, Callable[[Any], None]] = {
            Travelled: self._travel,
            Change: self._change,
            Reset: self._reset,
            Sampled: self._sample,
        }
        for step in self.march.log:
            ways[type(step)](step)
        return self.out

    def _algebraic(self, guess: Array, u: Any) -> ca.MX:
        if not self.c.nz:
            return ca.MX(0, 1)
        return self._root(guess, self.time, self.x, u, self.p)

    @cached_property
    def _root(self) -> ca.Function:
        s = self.c.system
        equations = ca.Function("alg", [s.z, s.t, s.x, s.u, s.p], [s.alg])
        return ca.rootfinder("root", "newton", equations, {"abstol": 1e-12})

    def _change(self, change: Change) -> None:
        if change.kind == "parameter":
            self.p = ca.MX(self.p)
            self.p[change.index] = change.value
        elif change.kind in ("add", "state"):
            self.x = ca.MX(self.x)
            base = self.x[change.index] if change.kind == "add" else 0.0
            self.x[change.index] = base + change.value

    def _reset(self, step: Reset) -> None:
        u = step.u + step.slope * (self.time - step.time) + self.shift
        z = self._algebraic(step.z, u)
        self.x = self.c.resets[step.rule](self.time, self.x, z, u, self.p)

    def _sample(self, step: Sampled) -> None:
        u = step.u + self.shift
        z = self._algebraic(step.z, u)
        self.out.append(self.r.watched(step.time, self.x, z, u, self.p))

    def _travel(self, step: Travelled) -> None:
        """One leg; its start may depend on theta through earlier events, its end does not."""
        leg, c, m = step.leg, self.c, self.march
        events = bool(c.triggered)
        span = leg.start + leg.span - self.time
        u = leg.u + leg.slope * (self.time - leg.start) + self.shift
        packed = ca.vertcat(self.time, span, u, leg.slope, leg.rate, self.p, leg.offset)
        start = [self.x / ca.DM(c.nominal)] + ([1.0, 0.0, -1.0] if events else [])
        if not c.nx and not events:
            start = [ca.MX(0)]
        integrator = m.integrators.get("rosenbrock", leg.grid, m.rtol, m.atol, events)
        guess = self._algebraic(self._guess(leg), u) / ca.DM(c.nominal_z)
        found = integrator(x0=ca.vertcat(*start), z0=guess, p=packed)
        self._keep(step, found, span, u)
        self.x = found["xf"][: c.nx, -1] * ca.DM(c.nominal)
        share = found["xf"][c.nx + 1, -1] if step.stopped else 1.0
        self.time = self.time + span * share if step.stopped else ca.MX(leg.start + leg.span)

    def _guess(self, leg: Any) -> Array:
        """Algebraic values recorded nearest to the start of a leg."""
        rows = [row for row in self.march.rows if row[0] >= leg.start]
        return (rows[0] if rows else self.march.rows[-1])[2]

    def _keep(self, step: Travelled, found: dict[str, ca.MX], span: Any, u: Any) -> None:
        """Outputs at the nodes, moved from their relative time back to their fixed time."""
        leg, c = step.leg, self.c
        for j in range(step.kept):
            share = leg.grid[j]
            fixed = leg.start + leg.span * share
            late = self.time + span * share - fixed
            x = found["xf"][: c.nx, j] * ca.DM(c.nominal)
            z = found["zf"][:, j] * ca.DM(c.nominal_z) if c.nz else ca.MX(0, 1)
            inputs = u + leg.slope * (span * share)
            rate = c.rhs(fixed, x, z, inputs, self.p)[0] + leg.rate
            x = x - rate * late
            inputs = inputs - leg.slope * late
            if c.nz:
                z = self._root(z, fixed, x, inputs, self.p)
            self.out.append(self.r.watched(fixed, x, z, inputs, self.p))
