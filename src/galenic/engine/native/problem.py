"""What a population kernel is compiled from: expressions of (t, x, z, theta), all numbers SI.

theta holds every number that may differ between individuals or change over time: parameters,
input levels, the slope and begin of ramps, and constant rates into states.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import casadi as ca
import numpy as np
import numpy.typing as npt

from galenic.errors import ModelError, UnknownName
from galenic.modeling.system import Entry, System

Array = npt.NDArray[np.float64]
Slot = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Problem:
    """Equations of one kernel.

    ``rules`` are the states (x, then z) after each event rule; rules with a trigger come with the
    expression that crosses zero upward in ``triggers`` (rule number, expression), ``terminal``
    names the rules that end an individual. ``controlled`` is the number of leading states that
    the step size looks at; ``states`` and ``outputs`` are names. Of a problem with sensitivities
    ``columns`` holds the one without, and the elements of theta by which is differentiated.
    """

    name: str
    t: ca.SX
    x: ca.SX
    z: ca.SX
    theta: ca.SX
    ode: ca.SX
    alg: ca.SX
    y: ca.SX
    x0: ca.SX
    z0: tuple[float, ...]
    layout: Mapping[Slot, int]
    defaults: Array
    nominal: Array
    states: tuple[str, ...]
    outputs: tuple[str, ...]
    rules: tuple[ca.SX, ...] = ()
    triggers: tuple[tuple[int, ca.SX], ...] = ()
    terminal: frozenset[int] = field(default_factory=frozenset)
    controlled: int | None = None
    columns: tuple[Problem, tuple[int, ...]] | None = None

    @classmethod
    def of_system(
        cls,
        system: System,
        outputs: Sequence[Any],
        ramped: Sequence[Any] = (),
        infused: Sequence[Any] = (),
        varied: Sequence[Slot] = (),
    ) -> Problem:
        """The kernel problem of a flattened model.

        Parameters
        ----------
        system : System
            The model.
        outputs : sequence of paths
            Scalar quantities of any kind whose values are wanted.
        ramped : sequence of paths
            Inputs that move as ``level + slope (t - since)``.
        infused : sequence of paths
            States that get a constant rate [unit of the state in SI, per s].
        varied : sequence of (kind, path)
            More elements of theta, for derivatives: ``shift`` is added to an input, ``dose`` is a
            factor of the rate into a state or, with an element ``given``, through an input;
            ``start`` and doses at once are left to who runs the kernel.
        """
        system.require_no_delays("a population kernel")
        slots = _slots(system, ramped, infused)
        slots += [slot for slot in _varied(system, varied) if slot not in slots]
        layout = {slot: i for i, (slot, _) in enumerate(slots)}
        theta = ca.SX.sym("theta", len(slots))
        p = _column([theta[layout["parameter", e.path]] for e in system.parameters])
        u = _column([_input(system, theta, layout, e.path) for e in system.inputs])
        rules = [_after(system, i) for i in range(len(system.events))]
        levels = [(i, r.trigger) for i, r in enumerate(system.events) if r.trigger is not None]
        wanted = _column([_quantity(system, path) for path in outputs])
        given = [system.t, system.x, system.z, system.u, system.p]
        parts = [system.ode, system.alg, wanted, *rules, *(level for _, level in levels)]
        now = [system.t, system.x, system.z, u, p]
        ode, alg, y, *rest = _evaluate(system, given, parts, now)
        x0 = _evaluate(system, [system.p], [system.x0], [p])[0]
        rate = ca.SX(len(system.states), 1)
        for path in infused:
            share = theta[layout["dose", str(path)]] if ("dose", str(path)) in layout else 1.0
            rate[system.index(path)[1]] = theta[layout["rate", str(path)]] * share
        entries = system.states + system.algebraics
        after = [ca.vertcat(one, system.z) for one in rest[: len(rules)]]
        return cls(
            name=system.name,
            t=system.t,
            x=system.x,
            z=system.z,
            theta=theta,
            ode=ode + rate,
            alg=alg,
            y=y,
            x0=x0,
            z0=tuple(float(np.nan_to_num(e.value)) for e in system.algebraics),
            layout=layout,
            defaults=np.array([value for _, value in slots], dtype=float),
            nominal=np.array([_scale(e) for e in entries], dtype=float),
            states=tuple(e.path for e in entries),
            outputs=tuple(str(path) for path in outputs),
            rules=tuple(after),
            triggers=tuple(
                (i, level) for (i, _), level in zip(levels, rest[len(rules) :], strict=True)
            ),
            terminal=frozenset(i for i, rule in enumerate(system.events) if rule.terminal),
        )

    @property
    def nx(self) -> int:
        """Differential states."""
        return int(self.x.numel())

    @property
    def nz(self) -> int:
        """Algebraic quantities."""
        return int(self.z.numel())

    @property
    def n(self) -> int:
        """Differential states and algebraic quantities together."""
        return self.nx + self.nz

    @property
    def n_theta(self) -> int:
        """Runtime parameters."""
        return int(self.theta.numel())

    def atol(self, rtol: float) -> Array:
        """Absolute tolerances [SI] per state: a thousandth of rtol of the nominal value."""
        return 1e-3 * rtol * self.nominal

    @cached_property
    def record(self) -> ca.Function:
        """All expressions as one Function of (t, x, z, theta), for bytes and identity."""
        x0 = ca.densify(self.x0)
        outs = [self.ode, self.alg, self.y, x0, *self.rules, *(level for _, level in self.triggers)]
        args = [self.t, self.x, self.z, self.theta]
        return ca.Function("problem", args, outs)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the equations: what the machine code depends on."""
        facts = (
            [i for i, _ in self.triggers],
            sorted(self.terminal),
            self.controlled,
            self.z0,
            np.asarray(self.nominal).tobytes().hex(),
            self.columns and (self.columns[0].digest, self.columns[1]),
        )
        return hashlib.sha256(self.record.serialize().encode() + repr(facts).encode()).hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        facts = {
            key: getattr(self, key)
            for key in (
                "name z0 layout defaults nominal states outputs terminal controlled columns".split()
            )
        }
        marks = (len(self.rules), [i for i, _ in self.triggers])
        return _restore, (self.record.serialize(), dict(facts), marks)


def _restore(record: str, facts: dict[str, Any], marks: tuple[int, list[int]]) -> Problem:
    function = ca.Function.deserialize(record)
    t, x, z, theta = (ca.SX.sym(name, *function.size_in(i)) for i, name in enumerate("txzp"))
    ode, alg, y, x0, *rest = function.call([t, x, z, theta], True, False)
    count, numbers = marks
    triggers = tuple(zip(numbers, rest[count:], strict=True))
    return Problem(
        t=t, x=x, z=z, theta=theta, ode=ode, alg=alg, y=y, x0=x0,
        rules=tuple(rest[:count]), triggers=triggers, **facts,
    )  # fmt: skip


def _slots(
    system: System, ramped: Sequence[Any], infused: Sequence[Any]
) -> list[tuple[Slot, float]]:
    """Names and default values of theta, in order."""
    rows = [(("parameter", e.path), e.value) for e in system.parameters]
    rows += [(("input", e.path), e.value) for e in system.inputs]
    for path in ramped:
        _of_kind(system, path, "input")
        rows += [(("slope", str(path)), 0.0), (("since", str(path)), 0.0)]
    for path in infused:
        _of_kind(system, path, "state")
        rows.append((("rate", str(path)), 0.0))
    return rows


def _varied(system: System, varied: Sequence[Slot]) -> list[tuple[Slot, float]]:
    """Elements of theta for derivatives, and their values: none that changes a run."""
    rows: list[tuple[Slot, float]] = []
    for kind, path in varied:
        if kind == "dose":
            rows.append(((kind, path), 1.0))
            if system.index(path)[0] == "input":
                rows.append((("given", path), 0.0))
        elif kind != "parameter":
            rows.append(((kind, path), 0.0))
    return rows


def _of_kind(system: System, path: Any, kind: str) -> None:
    if system.index(path)[0] != kind:
        known = [e.path for e in system.entries() if e.kind == kind]
        raise UnknownName.among(kind, str(path), known, where=system.name)


def _input(system: System, theta: ca.SX, layout: Mapping[Slot, int], path: str) -> ca.SX:
    level = theta[layout["input", path]]
    if ("shift", path) in layout:
        level = level + theta[layout["shift", path]]
    if ("given", path) in layout:
        level = level + theta[layout["given", path]] * theta[layout["dose", path]]
    if ("slope", path) not in layout:
        return level
    slope, since = theta[layout["slope", path]], theta[layout["since", path]]
    return level + slope * (system.t - since)


def _after(system: System, rule: int) -> ca.SX:
    after = ca.SX(system.x)
    for index, value in system.events[rule].resets:
        after[index] = value
    return after


def _quantity(system: System, path: Any) -> ca.SX:
    kind, i = system.index(path)
    vectors = {
        "state": system.x,
        "algebraic": system.z,
        "input": system.u,
        "parameter": system.p,
        "output": system.y,
    }
    return vectors[kind][i]


def _evaluate(
    system: System, given: list[ca.SX], parts: list[ca.SX], now: list[ca.SX]
) -> list[ca.SX]:
    try:
        function = ca.Function("parts", given, parts)
    except RuntimeError as error:
        raise ModelError(
            "an expression contains a symbol that is no quantity of the model",
            where=system.name,
            hint=str(error).strip().splitlines()[-1],
        ) from error
    return list(function.call(now, True, False))


def _column(rows: list[ca.SX]) -> ca.SX:
    return ca.vertcat(*rows) if rows else ca.SX(0, 1)


def _scale(entry: Entry) -> float:
    usable = np.isfinite(entry.nominal) and entry.nominal != 0
    return abs(entry.nominal) if usable else 1.0
