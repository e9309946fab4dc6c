"""Evaluating the expressions of a System at a point, in SI."""

from __future__ import annotations

import casadi as ca
import numpy as np


def at(system, *expressions, **values):
    """Values of ``expressions`` at start values and defaults, with ``values`` set by path."""
    groups = (system.states, system.algebraics, system.inputs, system.parameters)
    point = [0.0]
    for group in groups:
        point.append([values.get(e.path.replace(".", "__"), e.value) for e in group])
    symbols = [system.t, system.x, system.z, system.u, system.p]
    results = ca.Function("at", symbols, list(expressions)).call([ca.DM(v) for v in point])
    found = [np.asarray(r, float).ravel() for r in results]
    return found[0] if len(found) == 1 else found


def output(system, path, **values):
    """The value of one output in SI."""
    kind, i = system.index(path)
    assert kind == "output"
    return float(at(system, system.y[i], **values)[0])
