"""The parts of a System that a filter needs, made as small as they can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import casadi as ca

from galenic.engine.discrete import Transition
from galenic.inference.algebra import Array


def engine_transition(system: Any) -> Any:
    """The engine's one-step map of a System."""
    return Transition(system)


def freeze(system: Any, p: Array, keep: Sequence[int]) -> Any:
    """The System with all parameters but ``keep`` replaced by their values.

    A filter then differentiates only by what it estimates. Events and balances are left out: the
    one-step map has none.
    """
    gone = [i for i in range(len(p)) if i not in keep]
    symbols = ca.vertcat(*(system.p[i] for i in gone)) if gone else ca.SX(0, 1)
    kept = ca.vertcat(*(system.p[i] for i in keep)) if keep else ca.SX(0, 1)
    names = ("ode", "alg", "y", "x0")
    parts = ca.substitute([getattr(system, n) for n in names], [symbols], [ca.DM(p[gone])])
    return replace(
        system,
        p=kept,
        parameters=tuple(system.parameters[i] for i in keep),
        events=(),
        conserved=(),
        **dict(zip(names, parts, strict=True)),
    )


def start_function(system: Any) -> Any:
    """Function of p: start values of the states and their derivative by p."""
    p = system.p
    return ca.Function("start", [p], [ca.densify(system.x0), ca.densify(ca.jacobian(system.x0, p))])


def entry_function(system: Any, index: int) -> ca.Function:
    """(t, x, z, u, p) -> d rate / d input (algebraic quantities moving along), by x, by p."""
    s = system
    b = ca.jacobian(s.ode, s.u)[:, index]
    if s.z.numel():
        moved = ca.solve(ca.jacobian(s.alg, s.z), ca.jacobian(s.alg, s.u)[:, index])
        b = b - ca.mtimes(ca.jacobian(s.ode, s.z), moved)
    parts = [b, ca.jacobian(b, s.x), ca.jacobian(b, s.p)]
    return ca.Function("entry", [s.t, s.x, s.z, s.u, s.p], [ca.densify(e) for e in parts])
