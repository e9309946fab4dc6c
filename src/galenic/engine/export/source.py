"""A model as C99 source: equations, sparse Jacobian, events, and tables of names and units."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import casadi as ca

from galenic.engine.compile import Compiled, compile_system
from galenic.engine.export import code
from galenic.engine.export.pattern import Pattern, pattern_of, with_diagonal
from galenic.errors import ModelError
from galenic.modeling.system import Entry, EventRule, System
from galenic.units import value_in

RUNTIME = files("galenic.engine.export") / "runtime"
_VECTORS = "const double *x, const double *z, const double *u, const double *p"
_ARGUMENTS = ("*t", "x", "z", "u", "p")
_TANGENT = "double dt, const double *dx, const double *dz, const double *du, const double *dp"


@dataclass(frozen=True)
class CSource:
    """A model in C: ``name`` is the symbol of its ``galenic_model``, ``system`` what it holds."""

    name: str
    system: System
    header: str
    source: str

    def files(self) -> dict[str, str]:
        """File names and contents: the model, the solver, and a program that runs it."""
        shared = {name: (RUNTIME / name).read_text("utf-8") for name in ("galenic.h", "galenic.c")}
        main = (RUNTIME / "main.c").read_text("utf-8").replace("MODEL", self.name)
        return {
            f"{self.name}.h": self.header,
            f"{self.name}.c": self.source,
            **shared,
            "main.c": main,
        }


def export_c(model: Any, folder: str | Path, values: Mapping[Any, Any] | None = None) -> list[Path]:
    """Write a model as C99 source without dependency into ``folder``; gives the files.

    Parameters
    ----------
    model : Model or System
        What is exported.
    folder : path
        Made if it does not exist.
    values : mapping, optional
        Defaults of parameters and inputs, and start values, by path, as for a simulation.

    Returns
    -------
    list of Path
        Header and source of the model, ``galenic.h`` and ``galenic.c`` (the solver) and ``main.c``,
        a program that prints the outputs over time.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    made = []
    for name, text in c_source(model, values).files().items():
        made.append(place / name)
        made[-1].write_text(text, encoding="utf-8")
    return made


def c_source(model: Any, values: Mapping[Any, Any] | None = None) -> CSource:
    """The C source of a model, with other defaults if ``values`` are given."""
    system = with_defaults(compile_system(model).system, values or {})
    _require_defaults(system)
    name = code.identifier(system.name)
    return CSource(name, system, _header(name, system), _Writer(name, system).text())


def with_defaults(system: System, values: Mapping[Any, Any]) -> System:
    """The System with other defaults of parameters and inputs, and other start values."""
    compiled = Compiled(system)
    tables = {kind: list(entries) for kind, entries in compiled.tables.items()}
    x0 = ca.SX(system.x0)
    for path, value in values.items():
        for scalar in system.expand(path):
            kind, i = compiled.find(scalar, "parameter", "input", "state", "algebraic")
            number = float(value_in(value, tables[kind][i].unit, where=scalar))
            tables[kind][i] = replace(tables[kind][i], value=number)
            if kind == "state":
                x0[i] = number
    if not values:
        return system
    return replace(
        system,
        x0=x0,
        states=tuple(tables["state"]),
        algebraics=tuple(tables["algebraic"]),
        inputs=tuple(tables["input"]),
        parameters=tuple(tables["parameter"]),
    )


def _require_defaults(system: System) -> None:
    system.require_no_delays("an export")
    for entry in system.inputs + system.parameters:
        if math.isnan(entry.value):
            raise ModelError(
                f"the {entry.kind} {entry.path} has no value",
                where=system.name,
                hint=f'give one, for example values={{"{entry.path}": "1 {entry.unit}"}}',
            )


def _header(name: str, system: System) -> str:
    guard = f"{name.upper()}_H"
    groups = (
        ("state", system.states),
        ("algebraic", system.algebraics),
        ("input", system.inputs),
        ("parameter", system.parameters),
        ("output", system.outputs),
    )
    lines = [
        f"/* {system.name}, exported by galenic; identity {system.identity[:16]}. */",
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
        '#include "galenic.h"',
        "",
        f"extern const galenic_model {name};",
        "",
    ]
    for kind, entries in groups:
        lines.append(f"enum {{ {name.upper()}_{kind.upper()}S = {len(entries)} }};")
    lines += ["", "/* Places in the vectors, in SI; units of galenic_set and galenic_get:", ""]
    for kind, entries in groups:
        for i, entry in enumerate(entries):
            meaning = f"  {entry.meaning}" if entry.meaning else ""
            lines.append(f"     {kind} {i}: {entry.path} [{entry.unit}]{meaning}".replace("*/", ""))
    return "\n".join([*lines, "*/", "#endif", ""])


class _Writer:
    """Writes the source of one System."""

    def __init__(self, name: str, system: System) -> None:
        self.name = name
        self.system = system
        self.args = [system.t, system.x, system.z, system.u, system.p]
        self.triggers = [rule.trigger for rule in system.events if rule.trigger is not None]
        self.equations = ca.vertcat(system.ode, system.alg)

    def text(self) -> str:
        """The whole file."""
        pattern, partials = self._partials()
        parts = [
            f"/* {self.system.name}, exported by galenic; identity {self.system.identity}. */",
            f'#include "{self.name}.h"',
            "#include <math.h>",
            self._start(),
            self._of_point("rhs", ["out"], [self.equations]),
            partials,
            self._of_point("output", ["y"], [self.system.y]),
            self._of_point("trigger", ["levels"], [ca.vertcat(*self.triggers)]),
            self._tangent(),
            *(self._reset(i, rule) for i, rule in enumerate(self.system.events)),
            *self._tables(pattern),
            self._model(pattern),
        ]
        return "\n\n".join(parts) + "\n"

    def _of_point(self, name: str, results: list[str], outputs: list[ca.SX]) -> str:
        made = ca.Function(name, self.args, [ca.densify(out) for out in outputs])
        given = ", ".join(f"double *{result}" for result in results)
        head = f"static void {name}(double t, {_VECTORS}, {given})"
        return code.function(head, made, _ARGUMENTS, results)

    def _start(self) -> str:
        made = ca.Function("start", [self.system.p], [ca.densify(self.system.x0)])
        return code.function("static void start(const double *p, double *x)", made, ["p"], ["x"])

    def _partials(self) -> tuple[Pattern, str]:
        """The Jacobian's pattern, and the function that gives its values and d/dt."""
        system = self.system
        unknowns = ca.vertcat(system.x, system.z)
        jacobian = with_diagonal(ca.jacobian(self.equations, unknowns), system.x.numel())
        by_time = ca.jacobian(self.equations, system.t)
        values = jacobian.nz[:] if jacobian.nnz() else ca.SX(0, 1)
        text = self._of_point("partials", ["values", "by_time"], [values, ca.densify(by_time)])
        return pattern_of(jacobian.sparsity(), system.x.numel()), text

    def _tangent(self) -> str:
        """Directional derivatives of equations, outputs and triggers."""
        seeds = [ca.SX.sym(f"d{i}", argument.numel()) for i, argument in enumerate(self.args)]
        sources, along = ca.vertcat(*self.args), ca.vertcat(*seeds)
        groups = [self.equations, self.system.y, ca.vertcat(*self.triggers)]
        outputs = [ca.densify(ca.jtimes(ca.densify(g), sources, along)) for g in groups]
        made = ca.Function("tangent", [*self.args, *seeds], outputs)
        head = (
            f"static void tangent(double t, {_VECTORS}, {_TANGENT}, double *out, double *y,"
            " double *levels)"
        )
        seed_names = ("*dt", "dx", "dz", "du", "dp")
        return code.function(head, made, (*_ARGUMENTS, *seed_names), ["out", "y", "levels"])

    def _reset(self, i: int, rule: EventRule) -> str:
        after = ca.SX(self.system.x)
        for index, value in rule.resets:
            after[index] = value
        return self._of_point(f"reset_{i}", ["after"], [after])

    def _tables(self, pattern: Pattern) -> Iterable[str]:
        system = self.system
        for name, entries in (
            ("states", system.states),
            ("algebraics", system.algebraics),
            ("inputs", system.inputs),
            ("parameters", system.parameters),
            ("outputs", system.outputs),
        ):
            if entries:
                rows = ",\n".join(f"  {_quantity(entry)}" for entry in entries)
                yield f"static const galenic_quantity {name}[] = {{\n{rows}}};"
        if system.events:
            triggered = iter(range(len(self.triggers)))
            rows = ",\n".join(
                f"  {_rule(rule, -1 if rule.trigger is None else next(triggered))}"
                for rule in system.events
            )
            yield f"static const galenic_event rules[] = {{\n{rows}}};"
            resets = ", ".join(f"reset_{i}" for i in range(len(system.events)))
            kinds = f"double t, {_VECTORS}, double *after"
            yield f"static void (*const resets[])({kinds}) = {{{resets}}};"
        for name in ("start", "row", "diagonal", "order"):
            yield _integers(f"jacobian_{name}", getattr(pattern, name))

    def _model(self, pattern: Pattern) -> str:
        system = self.system
        counts = (system.states, system.algebraics, system.inputs, system.parameters,
                  system.outputs, system.events, self.triggers)  # fmt: skip
        named = [
            name if entries else "0"
            for name, entries in (
                ("states", system.states),
                ("algebraics", system.algebraics),
                ("inputs", system.inputs),
                ("parameters", system.parameters),
                ("outputs", system.outputs),
                ("rules", system.events),
            )
        ]
        jacobian = (
            "{jacobian_start, jacobian_row, jacobian_diagonal, jacobian_order, "
            f"{len(pattern.row)}, {pattern.lower}, {pattern.upper}}}"
        )
        rows = [
            f"{code.string(system.name)}, {code.string(system.identity)}",
            ", ".join(str(len(entries)) for entries in counts),
            ", ".join(named),
            jacobian,
            "start, rhs, partials, output, trigger, tangent",
            "resets" if system.events else "0",
        ]
        body = ",\n".join(f"  {row}" for row in rows)
        return f"const galenic_model {self.name} = {{\n{body}}};"


def _quantity(entry: Entry) -> str:
    texts = [code.string(text) for text in (entry.path, entry.unit.text, entry.meaning)]
    numbers = [entry.unit.scale, entry.unit.offset, entry.value, entry.lower, entry.upper]
    nominal = abs(entry.nominal)
    numbers.append(nominal if math.isfinite(nominal) and nominal else 1.0)
    discrete = str(int(entry.role == "discrete"))
    return f"{{{', '.join([*texts, *map(code.literal, numbers), discrete])}}}"


def _rule(rule: EventRule, trigger: int) -> str:
    period = rule.period or 0.0
    first = rule.first if rule.first is not None else period
    numbers = f"{code.literal(first)}, {code.literal(period)}"
    return f"{{{code.string(rule.name)}, {trigger}, {numbers}, {int(rule.terminal)}}}"


def _integers(name: str, values: Sequence[int]) -> str:
    """An array; one that would be empty gets a zero, which nobody reads."""
    rows = [", ".join(map(str, values[i : i + 16])) for i in range(0, len(values), 16)] or ["0"]
    return f"static const int {name}[] = {{\n  {(',' + chr(10) + '  ').join(rows)}}};"
