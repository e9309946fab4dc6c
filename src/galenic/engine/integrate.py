"""Integration of one leg (no jumps inside) by CasADi: CVODES, IDAS, or Rosenbrock with events.

Legs are solved in scaled time tau in [0, 1] and in states divided by their nominal values. Start
time, length, inputs, slopes and dose rates are parameters, so one integrator serves every leg with
the same relative output grid. Legs with state events carry three more states: ``alive``, set to 0
by the first event (which freezes everything), ``clock``, the scaled time that has passed, and
``which``, the index of the trigger that fired.
"""

from __future__ import annotations

import contextlib
import io
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from threading import RLock
from typing import Any

import casadi as ca
import numpy as np
import numpy.typing as npt

from galenic.engine import chebyshev
from galenic.engine.compile import Compiled
from galenic.engine.lookahead import NODES, Course, Watch
from galenic.errors import SolveError

Array = npt.NDArray[np.float64]

_KEPT = 256
_CVODES_MARGIN = 0.1  # multistep codes exceed their local tolerance; see docs/validation/engine.md
_SCALARS = ("tau", "t0", "span", "alive", "clock", "which", "rest")
_build = RLock()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without CasADi's note that its event support is experimental; tests here pin what it does."""
    with _build, contextlib.redirect_stderr(io.StringIO()):
        yield


@dataclass(frozen=True)
class Leg:
    """What one integration needs: SI vectors, times in seconds, grid in (0, 1] ending in 1."""

    start: float
    span: float
    grid: tuple[float, ...]
    u: Array
    slope: Array
    rate: Array
    p: Array
    offset: Array  # added to each trigger, see march.py

    def packed(self) -> Array:
        """The parameter vector of the integrators."""
        head = [self.start, self.span]
        return np.concatenate([head, self.u, self.slope, self.rate, self.p, self.offset])

    def inputs_at(self, time: float) -> Array:
        """Inputs at a time inside the leg."""
        return self.u + self.slope * (time - self.start)


@dataclass(frozen=True)
class Solution:
    """States, algebraic values, integrated inflows (rows: SI, columns: grid) and the event, if any.

    ``stopped`` is the share of the leg after which trigger ``which`` fired.
    """

    x: Array
    z: Array
    inflow: Array
    stopped: float | None = None
    which: int = -1


class Integrators:
    """The integrators of one compiled system, made when first needed.

    Parameters
    ----------
    compiled : Compiled
        The system.
    """

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled
        self._busy = RLock()  # CasADi keeps the memory of an integrator in the Function
        self._made: OrderedDict[tuple[Any, ...], ca.Function] = OrderedDict()

    def solve(
        self,
        leg: Leg,
        x: Array,
        z: Array,
        rtol: float,
        atol: float | None,
        events: bool | None = None,
    ) -> Solution:
        """Integrate one leg, to the first event if there are any (unless ``events`` says no).

        Falls back to Rosenbrock when SUNDIALS gives up.
        """
        events = bool(self.compiled.triggered) if events is None else events
        for solver in self._solvers(events):
            found = self._attempt(self.get(solver, leg.grid, rtol, atol, events), leg, x, z)
            if found is not None:
                return self._unscaled(found, events)
        raise self._diagnosis(leg, x, z, rtol, atol)

    @cached_property
    def watch(self) -> Watch:
        """The triggers of the system."""
        return Watch(self.compiled)

    def course(self, leg: Leg, x: Array, z: Array, rtol: float) -> Course | None:
        """A leg without its events at evenly spread nodes; None where it cannot be solved."""
        c = self.compiled
        grid = tuple(k / NODES for k in range(1, NODES + 1))
        leg = replace(leg, grid=grid)
        for solver in self._solvers(events=False):
            found = self._attempt(self.get(solver, grid, rtol, None, False), leg, x, z)
            if found is not None:
                break
        else:
            return None
        times = leg.start + leg.span * np.array([0.0, *grid])
        xs = np.vstack([x, found[0][: c.nx].T * c.nominal])
        zs = np.vstack([z, found[1].T * c.nominal_z]) if c.nz else np.zeros((len(times), 0))
        inputs = leg.u[:, None] + leg.slope[:, None] * (times - leg.start)
        ode = np.array(c.rhs(times[None], xs.T, zs.T, inputs, leg.p)[0]).T + leg.rate
        drifts = np.gradient(zs, times, axis=0) if c.nz else zs
        return Course(times, xs, zs, np.hstack([ode, drifts]), leg.u, leg.slope, leg.p)

    def get(
        self,
        solver: str,
        grid: tuple[float, ...],
        rtol: float,
        atol: float | None,
        events: bool,
    ) -> ca.Function:
        """The integrator (x0, z0, p) -> (xf, zf) of a relative grid, in scaled states."""
        key = (solver, grid, rtol, atol, events)
        with _build:
            if key not in self._made:
                self._made[key] = self._make(*key)
                while len(self._made) > _KEPT:
                    self._made.popitem(last=False)
            self._made.move_to_end(key)
            return self._made[key]

    def extended(self, x: Array, events: bool) -> Array:
        """Scaled states with the extra states of the problem appended."""
        scaled = x / self.compiled.nominal
        return np.concatenate([scaled, [1.0, 0.0, -1.0] if events else [0.0] * self._idle])

    @property
    def _idle(self) -> int:
        """A system without states gets one that rests, for CasADi's sake."""
        return 0 if self.compiled.nx else 1

    def _solvers(self, events: bool) -> list[str]:
        if events:
            return ["rosenbrock"]
        return ["idas" if self.compiled.nz else "cvodes", "rosenbrock"]

    def _attempt(
        self, integrator: ca.Function, leg: Leg, x: Array, z: Array
    ) -> tuple[Array, Array, Array] | None:
        events = integrator.size1_in("x0") > self.compiled.nx + self._idle
        start = self.extended(x, events)
        with np.errstate(all="ignore"):
            try:
                with self._busy:
                    out = integrator(x0=start, z0=z / self.compiled.nominal_z, p=leg.packed())
            except RuntimeError:
                return None
        found = np.array(out["xf"]), np.array(out["zf"]), np.array(out["qf"])
        return found if all(np.isfinite(part).all() for part in found) else None

    def _unscaled(self, found: tuple[Array, Array, Array], events: bool) -> Solution:
        compiled = self.compiled
        x = found[0][: compiled.nx] * compiled.nominal[:, None]
        z = found[1] * compiled.nominal_z[:, None]
        if events:
            alive, clock, which = found[0][compiled.nx :, -1]
            if alive < 0.5:
                return Solution(x, z, found[2], float(clock), round(which))
        return Solution(x, z, found[2])

    @cached_property
    def _symbols(self) -> dict[str, ca.SX]:
        c = self.compiled
        sizes = {"x": c.nx, "z": c.nz, "u": c.nu, "slope": c.nu, "rate": c.nx, "p": c.np}
        symbols = {name: ca.SX.sym(name, n) for name, n in sizes.items()}
        return (
            symbols
            | {name: ca.SX.sym(name) for name in _SCALARS}
            | {"offset": ca.SX.sym("offset", len(c.triggered))}
            | {"wave": ca.SX.sym("wave", chebyshev.TERMS, len(c.system.delays))}
        )

    def _problem(self, events: bool) -> dict[str, ca.SX]:
        c, s = self.compiled, self._symbols
        passed = s["span"] * (s["clock"] if events else s["tau"])
        speed = s["span"] * (s["alive"] if events else 1.0)
        share = s["clock"] if events else s["tau"]
        u = s["u"] + s["slope"] * passed
        for k, delayed in enumerate(c.system.delays):
            u[delayed.input] = chebyshev.symbolic(s["wave"][:, k], share)
        physical = [
            s["t0"] + passed,
            s["x"] * ca.DM(c.nominal),
            s["z"] * ca.DM(c.nominal_z),
            u,
            s["p"],
        ]
        ode, alg = c.rhs(*physical)
        extra = [s["alive"], s["clock"], s["which"]] if events else [s["rest"]] * self._idle
        extra_ode = [0, s["alive"], 0] if events else [0] * self._idle
        problem = {
            "t": s["tau"],
            "x": ca.vertcat(s["x"], *extra),
            "p": ca.vertcat(
                s["t0"],
                s["span"],
                s["u"],
                s["slope"],
                s["rate"],
                s["p"],
                s["offset"],
                ca.vec(s["wave"]),
            ),
            "ode": ca.vertcat(speed * (ode + s["rate"]) / ca.DM(c.nominal), *extra_ode),
        }
        if c.nz:
            problem |= {"z": s["z"], "alg": alg}
        if c.system.conserved:
            problem["quad"] = speed * c.inflow(*physical, s["rate"])
        if events:
            levels = c.triggers(*physical) + s["offset"]
            problem["zero"] = ca.if_else(s["alive"] > 0.5, -levels, 1.0)
        return problem

    def _freeze(self, problem: dict[str, ca.SX]) -> ca.Function:
        """The transition at an event: alive = 0, everything else as it is."""
        empty = ca.SX.sym("none", 0)
        given = problem | {"index": ca.SX.sym("index")}
        args = [given.get(name, empty) for name in ca.event_in()]
        after = ca.SX(problem["x"])
        after[self.compiled.nx] = 0
        after[self.compiled.nx + 2] = given["index"]
        post = {"post_x": after, "post_z": problem.get("z", empty)}
        return ca.Function(
            "freeze", args, [post[name] for name in ca.event_out()], ca.event_in(), ca.event_out()
        )

    def _make(
        self,
        solver: str,
        grid: tuple[float, ...],
        rtol: float,
        atol: float | None,
        events: bool,
    ) -> ca.Function:
        problem = self._problem(events)
        margin = 1.0 if solver == "rosenbrock" else _CVODES_MARGIN
        relative = rtol * margin
        options: dict[str, Any] = {
            "reltol": relative,
            "abstol": relative * 1e-3 if atol is None else atol * margin,
            "show_eval_warnings": False,
            "max_num_steps": 20_000,
        }
        if solver != "rosenbrock":
            options["disable_internal_warnings"] = True
        if self.compiled.system.conserved:
            options["quad_err_con"] = False
        if events:
            options |= {"transition": self._freeze(problem), "max_step_size": 0.05}
        with quiet():
            return ca.integrator("leg", solver, problem, 0, list(grid), options)

    def _diagnosis(
        self, leg: Leg, x: Array, z: Array, rtol: float, atol: float | None
    ) -> SolveError:
        """Halve the leg until the last time that can be reached is known, then look there."""
        reach, beyond, x_last, z_last = 0.0, 1.0, x, z
        integrator = self.get("rosenbrock", (1.0,), rtol, atol, events=False)
        for _ in range(24):
            middle = 0.5 * (reach + beyond)
            part = replace(leg, span=leg.span * middle, grid=(1.0,))
            found = self._attempt(integrator, part, x, z)
            if found is None:
                beyond = middle
            else:
                reach = middle
                last = self._unscaled(found, events=False)
                x_last, z_last = last.x[:, -1], last.z[:, -1]
        time = leg.start + reach * leg.span
        u = leg.inputs_at(time)
        return describe_failure(self.compiled, time, x_last, z_last, u, leg.p, leg.rate)


def describe_failure(
    compiled: Compiled, time: float, x: Array, z: Array, u: Array, p: Array, rate: Array
) -> SolveError:
    """The SolveError of an integration that ends at ``time``: which state, how stiff, what next."""
    ode = np.array(compiled.rhs(time, x, z, u, p)[0]).ravel() + rate
    speed = np.where(
        np.isfinite(ode), np.abs(ode) / np.maximum(np.abs(x), compiled.nominal), np.inf
    )
    entry = compiled.system.states[int(np.argmax(speed))]
    index = int(np.argmax(speed))
    ratio = stiffness(compiled, time, x, z, u, p)
    undefined = not np.isfinite(ode[index])
    what = (
        "its derivative is not a number"
        if undefined
        else f"it is {x[index]:.6g} and changes by {ode[index]:.3g} per second (SI units)"
    )
    return SolveError(
        f"the integration of {compiled.system.name} stops at t = {time:.6g} s; "
        f"the fastest state is {entry.path}: {what}",
        time=time,
        state=entry.path,
        stiffness=ratio,
        where=compiled.system.name,
        hint=(
            f"look for a root, logarithm or division in der({entry.path}) outside its domain"
            if undefined
            else "look for growth without limit or a jump in the right-hand side (use an event); "
            f"time scales differ by a factor of {ratio:.1e}"
        ),
    )


def stiffness(compiled: Compiled, time: float, x: Array, z: Array, u: Array, p: Array) -> float:
    """Ratio of the largest to the smallest non-zero eigenvalue size of the reduced Jacobian."""
    reduced = reduced_jacobian(compiled, time, x, z, u, p)
    if reduced.size == 0 or not np.isfinite(reduced).all() or len(reduced) > 500:
        return float("nan")
    sizes = np.abs(np.linalg.eigvals(reduced))
    sizes = sizes[sizes > 1e-12 * max(sizes.max(), 1e-300)]
    return float(sizes.max() / sizes.min()) if len(sizes) else 1.0


def reduced_jacobian(
    compiled: Compiled, time: float, x: Array, z: Array, u: Array, p: Array
) -> Array:
    """dx'/dx with the algebraic quantities eliminated, dense (nx, nx)."""
    nx = compiled.nx
    full = np.array(compiled.jacobian(time, x, z, u, p))
    if not compiled.nz:
        return full
    fz, gz = full[:nx, nx:], full[nx:, nx:]
    try:
        return full[:nx, :nx] - fz @ np.linalg.solve(gz, full[nx:, :nx])
    except np.linalg.LinAlgError:
        return np.full((nx, nx), np.nan)
