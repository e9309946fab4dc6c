"""Model cards: what a model is, as a table for people, as JSON, and as LaTeX."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from galenic.modeling.source import symbol
from galenic.modeling.system import Entry, EquationInfo, System
from galenic.units import from_si

KINDS = ("states", "parameters", "inputs", "outputs", "algebraics")


@dataclass(frozen=True, eq=False)
class Card:
    """The card of one model: title, description, equations and quantities."""

    system: System
    description: str = ""

    @classmethod
    def of(cls, model: Any) -> Card:
        """The card of a Model or a System."""
        if isinstance(model, System):
            return cls(model)
        import inspect

        return cls(model.flatten(), inspect.cleandoc(type(model).__doc__ or ""))

    @cached_property
    def title(self) -> str:
        """The first line of the description, or the name."""
        return self.description.partition("\n")[0] or self.system.parts.title or self.system.name

    def equations(self) -> tuple[EquationInfo, ...]:
        """Each different equation once; repeated parts of one class share theirs."""
        seen: dict[tuple[str, str], EquationInfo] = {}
        for equation in self.system.equations:
            place = equation.where.rpartition(": ")[2]
            seen.setdefault((equation.text, place), equation)
        return tuple(seen.values())

    def rows(self, kind: str) -> Iterator[dict[str, Any]]:
        """The quantities of a kind, in declared units."""
        for entry in getattr(self.system, kind):
            yield _row(entry)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        system = self.system
        return {
            "name": system.name,
            "title": self.title,
            "description": self.description,
            "identity": system.identity,
            "equations": [
                {"latex": e.latex, "text": e.text, "where": e.where} for e in self.equations()
            ],
            **{kind: list(self.rows(kind)) for kind in KINDS},
            "events": [_event(rule) for rule in system.events],
            "conserved": [
                {"name": b.name, "unit": b.unit.text if b.unit else "1"} for b in system.conserved
            ],
            "parts": system.parts.to_dict(),
            "connections": [list(pair) for pair in system.connections],
        }

    def latex(self) -> str:
        """Equations and a table of parameters, to be put into a document with amsmath."""
        lines = [r"\begin{align}"]
        equations = [e.latex or rf"\text{{{e.text}}}" for e in self.equations()]
        lines += [f"  {_aligned(e)}" + r" \\" for e in equations[:-1]]
        lines += [f"  {_aligned(e)}" for e in equations[-1:]]
        lines += [r"\end{align}", "", r"\begin{tabular}{llllll}"]
        lines += [r"symbol & meaning & value & unit & spread & source \\ \hline"]
        for row in self.rows("parameters"):
            spread = "" if row["spread"] is None else f"{row['spread']:.4g}"
            cells = (
                f"${symbol(row['path'].replace('.', '_'))}$", _tex(row["meaning"]),
                f"{row['value']:.6g}", _tex(row["unit"]), spread, _tex(row["source"]),
            )  # fmt: skip
            lines.append(" & ".join(cells) + r" \\")
        return "\n".join([*lines, r"\end{tabular}"])

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        blocks: list[Any] = [Text(self.system.name, "bold"), Text(self.description)]
        equations = Table("equation", "where", title="equations", title_justify="left")
        for e in self.equations():
            equations.add_row(Text(e.text), Text(e.where, "dim"))
        blocks.append(equations)
        for kind in KINDS:
            rows = list(self.rows(kind))
            if rows:
                blocks.append(_table(kind, rows))
        return Group(*blocks)

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=120, color_system=None)
        with console.capture() as captured:
            console.print(self)
        return str(captured.get())

    def _repr_latex_(self) -> str:
        return self.latex().partition("\n\n")[0]


def _row(entry: Entry) -> dict[str, Any]:
    scale = entry.unit.scale
    return {
        "path": entry.path,
        "meaning": entry.meaning,
        "unit": entry.unit.text,
        "value": _shown(from_si(entry.value, entry.unit)),
        "lower": _shown(from_si(entry.lower, entry.unit)),
        "upper": _shown(from_si(entry.upper, entry.unit)),
        "spread": None if entry.spread is None else _shown(entry.spread / scale),
        "role": entry.role,
        "source": entry.source,
    }


def _shown(value: float) -> float | None:
    """A number without the last digits' noise of unit conversion; None where there is none."""
    return float(f"{value:.12g}") if math.isfinite(value) else None


def _event(rule: Any) -> dict[str, Any]:
    when = "state" if rule.trigger is not None else "scheduled"
    return {
        "name": rule.name, "kind": when, "period": rule.period, "first": rule.first,
        "terminal": rule.terminal,
    }  # fmt: skip


def _table(kind: str, rows: list[dict[str, Any]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    columns = ["path", "value", "unit", "lower", "upper", "spread", "role", "meaning", "source"]
    used = [
        c for c in columns if c in {"path", "unit"} or any(r[c] not in (None, "") for r in rows)
    ]
    table = Table(*used, title=kind, title_justify="left")
    for row in rows[:200]:
        table.add_row(*(Text(_cell(row[c])) for c in used))
    if len(rows) > 200:
        table.add_row(f"... {len(rows) - 200} more")
    return table


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _aligned(latex: str) -> str:
    return latex.replace(" = ", " &= ", 1)


def _tex(text: str) -> str:
    for sign in "&%$#_":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("^", r"\textasciicircum{}")
