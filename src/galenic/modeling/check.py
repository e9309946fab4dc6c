"""Checks of a model: structure, rank, ports, parameters, conservation, start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import casadi as ca
import numpy as np
import numpy.typing as npt

from galenic.errors import ModelError
from galenic.identity import generator
from galenic.modeling.faults import dependent
from galenic.modeling.flatten import Flat
from galenic.modeling.model import Model
from galenic.modeling.system import Entry, System
from galenic.units import unit

Vector = npt.NDArray[np.float64]
Point = dict[str, Vector]
TOLERANCE = 1e-9  # relative residual up to which a balance counts as kept
_FLOWS = tuple(unit(text).dimension for text in ("m^3/s", "kg/s", "mol/s"))


@dataclass(frozen=True)
class Finding:
    """One thing that a check found; ``severity`` is error, warning or note."""

    kind: str
    severity: str
    text: str
    where: str = ""
    hint: str = ""

    def to_dict(self) -> dict[str, str]:
        """Plain JSON values, empty ones left out."""
        return {key: value for key, value in vars(self).items() if value}


@dataclass(frozen=True)
class Report:
    """What ``check`` found; ``ok`` when there is no error."""

    model: str
    counts: Mapping[str, int]
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the model can be used."""
        return not self.errors

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that make the model unusable."""
        return tuple(f for f in self.findings if f.severity == "error")

    def of(self, kind: str) -> tuple[Finding, ...]:
        """The findings of one kind, such as ``dependent`` or ``unused parameter``."""
        return tuple(f for f in self.findings if f.kind == kind)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "model": self.model,
            "ok": self.ok,
            "counts": dict(self.counts),
            "findings": [f.to_dict() for f in self.findings],
        }

    def __str__(self) -> str:
        counts = ", ".join(f"{n} {name}" for name, n in self.counts.items())
        lines = [f"{self.model}: {'ok' if self.ok else 'not usable'} ({counts})"]
        for f in self.findings:
            lines.append(f"{f.severity}: {f.kind}: {f.text}")
            lines += [f"  in {f.where}"] if f.where else []
            lines += [f"  hint: {f.hint}"] if f.hint else []
        return "\n".join(lines)

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        mark, style = ("ok", "green") if self.ok else ("not usable", "bold red")
        counts = ", ".join(f"{n} {name}" for name, n in self.counts.items())
        head = Text.assemble((self.model, "bold"), ": ", (mark, style), f"  {counts}")
        if not self.findings:
            return head
        table = Table("", "found", "what", "where / hint")
        colours = {"error": "red", "warning": "yellow", "note": "dim"}
        for f in self.findings:
            place = "\n".join(part for part in (f.where, f.hint) if part)
            table.add_row(Text(f.severity, colours[f.severity]), f.kind, f.text, Text(place))
        return Group(head, table)


def check(model: Model) -> Report:
    """Look at everything that can be known of a model before it is simulated."""
    name = type(model).__name__
    try:
        model.flatten()
    except ModelError as error:
        kind = {"UnitError": "units"}.get(type(error).__name__, "structure")
        finding = Finding(kind, "error", error.found, error.where, error.hint)
        return Report(name, {}, (finding,))
    flat: Flat = model.__dict__["_system"]
    system = flat.system
    points = test_points(system)
    findings = [
        *_ranks(flat, points),
        *_start(flat, points["start"]),
        *_balances(system),
        *_open_ports(flat),
        *_unused(system),
    ]
    return Report(name, _counts(system), tuple(findings))


def _counts(system: System) -> dict[str, int]:
    return {
        "states": len(system.states),
        "algebraics": len(system.algebraics),
        "inputs": len(system.inputs),
        "parameters": len(system.parameters),
        "outputs": len(system.outputs),
        "events": len(system.events),
        "balances": len(system.conserved),
    }


def _values(entries: tuple[Entry, ...], which: str) -> Vector:
    return np.array([getattr(entry, which) for entry in entries], float)


def test_points(system: System) -> dict[str, Point]:
    """Where ranks are tested: at the start, with all flows zero, and at nominal size."""
    groups = {"x": system.states, "z": system.algebraics, "u": system.inputs}
    start = {name: _values(group, "value") for name, group in groups.items()}
    nominal = {name: _nominal(group) for name, group in groups.items()}
    p = _values(system.parameters, "value")
    still = dict(nominal)
    for name in ("u", "z"):
        flows = [entry.unit.dimension in _FLOWS for entry in groups[name]]
        still[name] = np.where(flows, 0.0, nominal[name])
    return {
        label: {"t": np.zeros(1), **point, "p": p}
        for label, point in (("start", start), ("zero flow", still), ("nominal", nominal))
    }


def _nominal(entries: tuple[Entry, ...]) -> Vector:
    """Nominal sizes inside the bounds; modes keep their value."""
    size = np.where(
        [entry.role == "discrete" for entry in entries],
        _values(entries, "value"),
        _values(entries, "nominal"),
    )
    return np.clip(size, _values(entries, "lower"), _values(entries, "upper"))


def _call(system: System, expressions: list[ca.SX], point: Point) -> list[Vector]:
    symbols = [system.t, system.x, system.z, system.u, system.p]
    function = ca.Function("at", symbols, expressions)
    return [np.asarray(v, float) for v in function.call([ca.DM(v) for v in point.values()])]


def _ranks(flat: Flat, points: Mapping[str, Point]) -> list[Finding]:
    """Blocks of equations that lose rank at a test point."""
    if not flat.pivots:
        return []
    findings = []
    lost: set[int] = set()
    for label in ("nominal", "start", "zero flow"):
        point = {name: points[label][name] for name in ("t", "x", "z", "u", "p")}
        matrices = _call(flat.system, [m for _, _, m in flat.pivots], point)
        for k, ((rows, columns, _), matrix) in enumerate(zip(flat.pivots, matrices, strict=True)):
            if k in lost or _is_regular(matrix):
                continue
            lost.add(k)
            error = dependent(flat.trace, flat.plan, rows, columns, f" at {label}")
            severity = "error" if label == "nominal" else "warning"
            findings.append(Finding("dependent", severity, error.found, error.where, error.hint))
    return findings


def _is_regular(matrix: Vector) -> bool:
    """Whether a small square matrix can be divided by, its rows and columns scaled."""
    if not np.all(np.isfinite(matrix)):
        return False
    rows = np.max(np.abs(matrix), axis=1, keepdims=True)
    if np.any(rows == 0.0):
        return False
    scaled = matrix / rows
    columns = np.max(np.abs(scaled), axis=0, keepdims=True)
    return bool(np.all(columns > 0.0) and np.linalg.cond(scaled / columns) < 1e13)


def _start(flat: Flat, point: Point) -> list[Finding]:
    """Right-hand sides or Jacobian entries that are not finite at the start."""
    system = flat.system
    point = {name: point[name] for name in ("t", "x", "z", "u", "p")}
    unknown = ca.vertcat(system.x, system.z)
    right = ca.vertcat(system.ode, system.alg)
    jacobian = ca.jacobian(right, unknown)
    value, slope = _call(system, [right, jacobian], point)
    names = [f"der({e.path})" for e in system.states] + [
        f"the equation of {e.path}" for e in system.algebraics
    ]
    inner = [e.path for e in system.states + system.algebraics]
    bad = [names[i] for i in np.flatnonzero(~np.isfinite(value.ravel()))]
    holes = np.argwhere(~np.isfinite(slope)).tolist()
    bad += [f"the slope of {names[i]} over {inner[j]}" for i, j in holes]
    if not bad:
        return []
    text = f"{', '.join(bad[:4])} {'is' if len(bad) == 1 else 'are'} not finite at the start"
    hint = "is something divided by zero, or a root or logarithm taken of it? use where or maximum"
    return [Finding("start", "error", text, system.name, hint)]


def _balances(system: System) -> list[Finding]:
    """Conserved quantities whose amount changes otherwise than by their inflow."""
    findings = []
    for balance, worst in zip(system.conserved, balance_errors(system), strict=True):
        if not worst <= TOLERANCE:
            findings.append(
                Finding(
                    "conservation", "error",
                    f"{balance.name!r} is not kept: its amount changes otherwise than by the "
                    f"inflow (relative deviation {worst:.2g})",
                    system.name,
                    "is something made, lost or counted twice?",
                )
            )  # fmt: skip
    return findings


@cache
def _draws(count: int) -> Vector:
    return generator("balance test").uniform(0.5, 1.5, (5, count))


def balance_errors(system: System) -> list[float]:
    """The largest relative deviation of d(amount)/dt from the inflow, per balance.

    Evaluated with exact derivatives at five random points around nominal, where implicit
    variables move so that their equations stay fulfilled.
    """
    if not system.conserved:
        return []
    amount = ca.vertcat(*(b.amount for b in system.conserved))
    inflow = ca.vertcat(*(b.inflow for b in system.conserved))
    rate = _rate(system, amount)
    moving = ca.mtimes(ca.fabs(ca.jacobian(amount, system.x)), ca.fabs(system.ode))
    scale = moving + ca.fabs(inflow)
    symbols = [system.t, system.x, system.z, system.u, system.p]
    function = ca.Function("balances", symbols, [rate - inflow, scale])
    nominal = test_points(system)["nominal"]
    sizes = {name: nominal[name].size for name in ("x", "z", "u")}
    errors = np.zeros(len(system.conserved))
    for draw in _draws(sum(sizes.values())):
        point, at = {"t": np.zeros(1)}, 0
        for name, size in sizes.items():
            point[name] = nominal[name] * draw[at : at + size]
            at += size
        point["x"] = np.where(
            [e.role == "discrete" for e in system.states], nominal["x"], point["x"]
        )
        point["p"] = nominal["p"]
        gap, terms = (np.asarray(v, float).ravel() for v in function(*point.values()))
        gap = np.abs(gap) / np.maximum(terms, 1e-300)
        errors = np.fmax(errors, np.where(np.isfinite(gap), gap, np.inf))
    return errors.tolist()


def _rate(system: System, amount: ca.SX) -> ca.SX:
    """d(amount)/dt with algebraic variables moving along."""
    rate = ca.jtimes(amount, system.x, system.ode) + ca.jacobian(amount, system.t)
    if system.z.numel() and ca.depends_on(amount, system.z):
        moved = ca.jtimes(system.alg, system.x, system.ode) + ca.jacobian(system.alg, system.t)
        rate -= ca.jtimes(amount, system.z, ca.solve(ca.jacobian(system.alg, system.z), moved))
    return rate


def _open_ports(flat: Flat) -> list[Finding]:
    return [
        Finding(
            "open port", "warning", f"{path} is not connected; what it carries became inputs",
            flat.system.name, "connect it, or set the inputs in the experiment",
        )
        for path in flat.plan.open_ports
    ] + [
        Finding(
            "half open port", "note",
            f"nothing gives {path}, while the rest of its port is given; it became an input",
            flat.system.name,
            "usual where flow is drawn from downstream; else an equation is missing",
        )
        for path in flat.plan.half_open
    ]  # fmt: skip


def _unused(system: System) -> list[Finding]:
    """Parameters and inputs that nothing depends on."""
    parts = [system.ode, system.alg, system.y, system.x0]
    for rule in system.events:
        parts += [] if rule.trigger is None else [rule.trigger]
        parts += [value for _, value in rule.resets]
    parts += [sx for b in system.conserved for sx in (b.amount, b.inflow)]
    everything = ca.vertcat(*(ca.vec(part) for part in parts))
    findings = []
    for symbols, entries, kind in (
        (system.p, system.parameters, "parameter"),
        (system.u, system.inputs, "input"),
    ):
        if not entries:
            continue
        used = ca.which_depends(everything, symbols, 1, False)
        idle = [e.path for e, yes in zip(entries, used, strict=True) if not yes]
        if idle:
            more = f" and {len(idle) - 8} more" if len(idle) > 8 else ""
            findings.append(
                Finding(
                    f"unused {kind}", "warning" if kind == "parameter" else "note",
                    f"nothing depends on {', '.join(idle[:8])}{more}", system.name,
                )
            )  # fmt: skip
    return findings
