"""Errors that name the equations and unknowns of a model that cannot be solved."""

from __future__ import annotations

from collections.abc import Iterable

import casadi as ca

from galenic.errors import StructureError
from galenic.modeling.expression import Equation
from galenic.modeling.plan import Plan, column
from galenic.modeling.ports import Connection
from galenic.modeling.source import written
from galenic.modeling.trace import Trace


def require_regular(found: Trace, plan: Plan) -> None:
    """Raise a StructureError that names equations and unknowns which do not go together."""
    incidence = plan.incidence
    if len(plan.rows) == len(plan.columns) == 0:
        return
    rank = incidence.structural_rank()
    if len(plan.rows) == len(plan.columns) == rank:
        return
    rows, _, _, missing = incidence.faults()
    if rows and len(plan.rows) <= len(plan.columns) and _is_high_index(found, plan, rows):
        raise _high_index(found, plan, rows)
    raise StructureError(
        f"{len(plan.rows)} equations for {len(plan.columns)} unknowns"
        + (f", of which {rank} can be solved" if len(plan.rows) == len(plan.columns) else ""),
        where=type(found.root).__name__
        + "".join(f"\n    {name_of(plan.rows[i])}" for i in _few(rows)),
        expected="one independent equation per unknown",
        hint=_advice(plan, rows, missing),
    )


def _advice(plan: Plan, rows: list[int], missing: list[int]) -> str:
    parts = []
    if missing:
        names = ", ".join(plan.columns[j] for j in _few(missing))
        parts.append(f"no equation determines {names}" + (" ..." if len(missing) > 6 else ""))
    if rows:
        parts.append("the equations above say too much together: one of them is extra")
    return "; ".join(parts)


def _few(items: Iterable[int]) -> list[int]:
    return list(items)[:6]


def name_of(item: Equation | Connection) -> str:
    """An equation or connection as its author wrote it, with its place."""
    if isinstance(item, Connection):
        return f"{item.source._path} >> {item.target._path} ({item.place})"
    part = item.owner.path_of("").rstrip(".") if item.owner is not None else ""
    prefix = f"{part}: " if part else ""
    return f"{prefix}{written(item.place).text or item.place.source} ({item.place})"


def _is_high_index(found: Trace, plan: Plan, rows: list[int]) -> bool:
    """Whether the equations would be independent if states were unknowns."""
    x = column([slot.sx for slot in found.states if slot.rate is not None])
    if not x.numel():
        return False
    part = plan.incidence.residual[rows]
    both = ca.jacobian_sparsity(part, ca.vertcat(plan.incidence.w, x))
    return bool(ca.sprank(ca.SX(both, 1)) == len(rows))


def _high_index(found: Trace, plan: Plan, rows: list[int]) -> StructureError:
    states = [slot for slot in found.states if slot.rate is not None]
    x = column([slot.sx for slot in states])
    names = [path for slot in states for path in slot.paths]
    _, columns = ca.jacobian_sparsity(plan.incidence.residual[rows], x).get_triplet()
    concerned = ", ".join(names[j] for j in sorted(set(columns))[:6])
    return StructureError(
        f"the model has an index above one: an equation constrains the states {concerned}, "
        "whose derivatives are given elsewhere",
        where=type(found.root).__name__
        + "".join(f"\n    {name_of(plan.rows[i])}" for i in _few(rows)),
        expected="equations that can be solved for derivatives and variables as they stand",
        hint="declare all but one of these states as Variable, or differentiate the constraint",
    )


def dependent(
    found: Trace, plan: Plan, rows: Iterable[int], columns: Iterable[int], at: str = ""
) -> StructureError:
    """The error for equations that do not determine their unknowns."""
    lines = "".join(f"\n    {name_of(plan.rows[i])}" for i in _few(rows))
    return StructureError(
        f"dependent equations{at}: they cannot determine "
        + ", ".join(plan.columns[j] for j in _few(columns)),
        where=f"{type(found.root).__name__}{lines}",
        expected="one independent equation per unknown",
        hint="a loop of pure pass-throughs has one equation too few: give its flow somewhere",
    )


def implicit_rate(found: Trace, plan: Plan, columns: list[int]) -> StructureError:
    names = ", ".join(plan.columns[j] for j in _few(columns))
    return StructureError(
        f"{names} is given only implicitly by a nonlinear equation",
        where=type(found.root).__name__,
        hint="name the nonlinear part with a Variable, so that derivatives appear linearly",
    )
