"""The flattened model: named scalars and CasADi expressions, with an identity of its own.

A System is all that engine, estimators and controllers see of a model. It travels as bytes, so a
record can be replayed after the Python class that made it has changed or gone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import casadi as ca

from galenic.errors import DataError, ModelError, UnknownName
from galenic.identity import canonical_json, content_hash
from galenic.units import Unit, unit

FORMAT = 1
KINDS = ("state", "algebraic", "input", "parameter", "output")
_ELEMENT = re.compile(r"\[[\d,]+\]$")


@dataclass(frozen=True)
class Entry:
    """One scalar quantity of the flattened model; numbers are SI.

    ``value`` is the start value (state; guess of an algebraic) or default (input, parameter), nan
    for outputs. ``role`` is manipulated, disturbance, covariate or dose for inputs, ``discrete``
    for modes. ``spread`` is the standard deviation of a parameter.
    """

    path: str
    kind: str
    unit: Unit
    meaning: str = ""
    lower: float = -math.inf
    upper: float = math.inf
    nominal: float = 1.0
    value: float = math.nan
    role: str = ""
    spread: float | None = None
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; open bounds and missing values are null."""
        return {
            "path": self.path,
            "kind": self.kind,
            "unit": self.unit.text,
            "meaning": self.meaning,
            **{key: _finite(getattr(self, key)) for key in ("lower", "upper", "nominal", "value")},
            "role": self.role,
            "spread": self.spread,
            "source": self.source,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Entry:
        """The entry that ``to_dict`` wrote."""
        missing = {"lower": -math.inf, "upper": math.inf, "value": math.nan}
        facts: dict[str, Any] = {
            k: missing[k] if v is None and k in missing else v for k, v in record.items()
        }
        return cls(**(facts | {"unit": unit(record["unit"])}))


@dataclass(frozen=True, eq=False)
class EventRule:
    """A state event (``trigger`` crosses zero upward) or a scheduled one (``first + k*period``).

    ``resets`` are pairs of state index and new value; a rule with ``first`` and no ``period``
    fires once; a ``terminal`` one ends the simulation.
    """

    name: str
    trigger: ca.SX | None
    period: float | None
    first: float | None
    resets: tuple[tuple[int, ca.SX], ...]
    terminal: bool = False


@dataclass(frozen=True, eq=False)
class Conserved:
    """A quantity whose amount changes only by what flows in: d(amount)/dt == inflow.

    What leaves counts as negative inflow; what is made counts as inflow. In a model's
    ``conserved`` the fields hold expressions, in a System they hold SX.
    """

    name: str
    amount: Any
    inflow: Any
    unit: Unit | None = None


@dataclass(frozen=True, eq=False)
class Delayed:
    """Input number ``input`` is ``value`` as it was ``by`` [s] ago; ``by`` uses parameters only.

    Before the start ``value`` was always what it is at the start, before anything is changed there.
    """

    input: int
    value: ca.SX
    by: ca.SX


@dataclass(frozen=True)
class EquationInfo:
    """One equation as its author wrote it: LaTeX, text, and where it stands."""

    latex: str
    text: str
    where: str


@dataclass(frozen=True)
class PartInfo:
    """A part of the model: its path, class, first docstring line, ports and own parts."""

    path: str
    cls: str
    title: str
    ports: tuple[tuple[str, str], ...] = ()
    parts: tuple[PartInfo, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "path": self.path,
            "cls": self.cls,
            "title": self.title,
            "ports": [list(port) for port in self.ports],
            "parts": [part.to_dict() for part in self.parts],
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> PartInfo:
        """The tree that ``to_dict`` wrote."""
        return cls(
            record["path"],
            record["cls"],
            record["title"],
            tuple((name, kind) for name, kind in record["ports"]),
            tuple(cls.from_dict(part) for part in record["parts"]),
        )


@dataclass(frozen=True, eq=False)
class System:
    """A flattened model: dx/dt = ode, 0 = alg, y, with start values, events and balances."""

    name: str
    t: ca.SX
    x: ca.SX
    z: ca.SX
    u: ca.SX
    p: ca.SX
    ode: ca.SX
    alg: ca.SX
    y: ca.SX
    x0: ca.SX
    states: tuple[Entry, ...]
    algebraics: tuple[Entry, ...]
    inputs: tuple[Entry, ...]
    parameters: tuple[Entry, ...]
    outputs: tuple[Entry, ...]
    events: tuple[EventRule, ...] = ()
    conserved: tuple[Conserved, ...] = ()
    parts: PartInfo = field(default_factory=lambda: PartInfo("", "", ""))
    connections: tuple[tuple[str, str], ...] = ()
    equations: tuple[EquationInfo, ...] = ()
    delays: tuple[Delayed, ...] = ()

    def require_no_delays(self, what: str) -> None:
        """ModelError where the model looks into its own past, which ``what`` cannot do."""
        if self.delays:
            paths = ", ".join(self.inputs[delayed.input].path for delayed in self.delays)
            raise ModelError(
                f"{self.name} has exact delays ({paths})",
                where=what,
                expected="a model whose state says all that counts for its future",
                hint="delay(x, by) without exact=True approximates the delay by a chain of states",
            )

    def entries(self) -> tuple[Entry, ...]:
        """All entries: states, algebraics, inputs, parameters, outputs."""
        return self.states + self.algebraics + self.inputs + self.parameters + self.outputs

    @cached_property
    def _places(self) -> dict[str, tuple[str, int]]:
        groups = (self.outputs, self.parameters, self.inputs, self.algebraics, self.states)
        return {e.path: (e.kind, i) for group in groups for i, e in enumerate(group)}

    @cached_property
    def _arrays(self) -> dict[str, tuple[str, ...]]:
        arrays: dict[str, list[str]] = {}
        for path in self._places:
            if path.endswith("]"):
                arrays.setdefault(_ELEMENT.sub("", path), []).append(path)
        return {name: tuple(sorted(paths, key=_element_key)) for name, paths in arrays.items()}

    def index(self, path: Any) -> tuple[str, int]:
        """Kind and position of a scalar quantity, by path or reference."""
        place = self._places.get(str(path))
        if place is None:
            if str(path) in self._arrays:
                raise UnknownName(
                    f"{str(path)!r} is an array of {len(self._arrays[str(path)])}",
                    where=self.name,
                    hint=f"name one element, as {self._arrays[str(path)][0]!r}",
                )
            raise UnknownName.among("quantity", str(path), self._places, where=self.name)
        return place

    def entry(self, path: Any) -> Entry:
        """The entry of a scalar quantity."""
        kind, i = self.index(path)
        group = {
            "state": self.states,
            "algebraic": self.algebraics,
            "input": self.inputs,
            "parameter": self.parameters,
            "output": self.outputs,
        }[kind]
        return group[i]

    def expand(self, path: Any) -> tuple[str, ...]:
        """The scalar paths of an array, or the path itself."""
        if str(path) in self._arrays:
            return self._arrays[str(path)]
        self.index(path)
        return (str(path),)

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the equations, entries, events and balances, as 64 hex digits.

        Where an equation stands in a file and what its author said about it do not count.
        """
        return content_hash(self._core())

    def _functions(self) -> ca.Function:
        expressions = [self.ode, self.alg, self.y, self.x0]
        for rule in self.events:
            expressions += [] if rule.trigger is None else [rule.trigger]
            expressions += [value for _, value in rule.resets]
        for balance in self.conserved:
            expressions += [balance.amount, balance.inflow]
        for delayed in self.delays:
            expressions += [delayed.value, delayed.by]
        return ca.Function("system", [self.t, self.x, self.z, self.u, self.p], expressions)

    @cached_property
    def _core_record(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "name": self.name,
            "functions": self._functions().serialize(),
            "entries": {
                kind: [e.to_dict() for e in group]
                for kind, group in zip(
                    KINDS,
                    (self.states, self.algebraics, self.inputs, self.parameters, self.outputs),
                    strict=True,
                )
            },
            "events": [
                {
                    "name": rule.name,
                    "triggered": rule.trigger is not None,
                    "period": rule.period,
                    "first": rule.first,
                    "resets": [i for i, _ in rule.resets],
                    "terminal": rule.terminal,
                }
                for rule in self.events
            ],
            "conserved": [
                {"name": b.name, "unit": b.unit.text if b.unit else "1"} for b in self.conserved
            ],
            **({"delays": [d.input for d in self.delays]} if self.delays else {}),
        }

    def _core(self) -> bytes:
        return canonical_json(self._core_record)

    def serialise(self) -> bytes:
        """The whole System as bytes (canonical JSON)."""
        about = {
            "parts": self.parts.to_dict(),
            "connections": [list(pair) for pair in self.connections],
            "equations": [[e.latex, e.text, e.where] for e in self.equations],
        }
        return canonical_json({"core": self._core_record, "about": about})

    @classmethod
    def deserialise(cls, data: bytes) -> System:
        """The System that :meth:`serialise` wrote; needs none of the model's classes."""
        import json

        record = json.loads(data)
        core, about = record["core"], record["about"]
        if core["format"] != FORMAT:
            raise DataError(f"a System of format {core['format']}", expected=f"format {FORMAT}")
        groups = [tuple(Entry.from_dict(e) for e in core["entries"][kind]) for kind in KINDS]
        symbols = [ca.SX.sym("t"), *(_column(group) for group in groups[:4])]
        functions = ca.Function.deserialize(core["functions"])
        values = iter(functions.call(symbols))
        ode, alg, y, x0 = (next(values) for _ in range(4))
        events = tuple(_event(rule, values) for rule in core["events"])
        conserved = tuple(
            Conserved(b["name"], next(values), next(values), unit(b["unit"]))
            for b in core["conserved"]
        )
        t, x, z, u, p = symbols
        states, algebraics, inputs, parameters, outputs = groups
        system = cls(
            core["name"], t, x, z, u, p, ode, alg, y, x0,
            states, algebraics, inputs, parameters, outputs, events, conserved,
            PartInfo.from_dict(about["parts"]),
            tuple((a, b) for a, b in about["connections"]),
            tuple(EquationInfo(*facts) for facts in about["equations"]),
            tuple(Delayed(i, next(values), next(values)) for i in core.get("delays", ())),
        )  # fmt: skip
        # CasADi may order instructions anew on the way; the identity is that of the bytes.
        system.__dict__["_core_record"] = core
        return system

    def __reduce__(self) -> tuple[Any, ...]:
        return System.deserialise, (self.serialise(),)

    def __repr__(self) -> str:
        return (
            f"System({self.name!r}, {len(self.states)} states, {len(self.algebraics)} algebraics, "
            f"{len(self.inputs)} inputs, {len(self.parameters)} parameters, "
            f"{len(self.outputs)} outputs)"
        )


def _event(rule: Mapping[str, Any], values: Any) -> EventRule:
    trigger = next(values) if rule["triggered"] else None
    resets = tuple((i, next(values)) for i in rule["resets"])
    return EventRule(rule["name"], trigger, rule["period"], rule["first"], resets, rule["terminal"])


def _column(entries: tuple[Entry, ...]) -> ca.SX:
    return ca.vertcat(*(ca.SX.sym(e.path) for e in entries)) if entries else ca.SX(0, 1)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _element_key(path: str) -> tuple[int, ...]:
    return tuple(int(i) for i in path[path.rindex("[") + 1 : -1].split(","))
