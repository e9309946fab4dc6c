"""Kernel problems written by hand from CasADi symbols, and the four benchmark problems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from galenic.engine.native import Events, Kind, Problem


def problem(
    name: str,
    n: int,
    n_theta: int,
    ode: Callable[..., list[Any]],
    outputs: Callable[..., list[Any]] | None = None,
    x0: Callable[[Any], list[Any]] | None = None,
    **more: Any,
) -> Problem:
    """A problem from functions of (x, theta, t) that give lists of expressions."""
    t, x, theta = ca.SX.sym("t"), ca.SX.sym("x", n), ca.SX.sym("theta", n_theta)
    xs, ps = ca.vertsplit(x), ca.vertsplit(theta)
    facts: dict[str, Any] = {
        "z": ca.SX(0, 1),
        "alg": ca.SX(0, 1),
        "z0": (),
        "layout": {},
        "defaults": np.zeros(n_theta),
        "nominal": np.ones(n),
        "states": tuple(f"x{i}" for i in range(n)),
        "outputs": (),
    }
    return Problem(
        name=name,
        t=t,
        x=x,
        theta=theta,
        ode=ca.vertcat(*ode(xs, ps, t)),
        y=ca.vertcat(*outputs(xs, ps, t)) if outputs else x,
        x0=ca.vertcat(*x0(ps)) if x0 else ca.SX(n, 1),
        **(facts | more),
    )


@dataclass(frozen=True, eq=False)
class Case:
    """A benchmark problem with its individuals, doses and output times."""

    problem: Problem
    theta: np.ndarray
    times: np.ndarray
    doses: list[tuple[float, int, float]]

    def events(self, count: int) -> Events:
        time, index, amount = zip(*self.doses, strict=True)
        return Events.shared(count, time, [Kind.ADD] * len(time), index, amount)


def lognormal(rng: Any, count: int, typical: list[float], omega: list[float]) -> np.ndarray:
    deviations = rng.standard_normal((count, len(typical)))
    return np.asarray(typical) * np.exp(deviations * np.asarray(omega))


def two_compartments(count: int) -> Case:
    """(a) oral two-compartment kinetics, seven doses."""

    def ode(x, p, t):
        depot, first, second = x
        CL, V1, ka, Q, V2 = p
        return [
            -ka * depot,
            ka * depot - (CL / V1 + Q / V1) * first + Q / V2 * second,
            Q / V1 * first - Q / V2 * second,
        ]

    rng = np.random.default_rng(101)
    sampled = lognormal(rng, count, [5, 50, 1], [0.3, 0.2, 0.5])
    theta = np.column_stack([sampled, np.full(count, 10.0), np.full(count, 100.0)])
    made = problem("oral", 3, 5, ode, lambda x, p, t: [x[1] / p[1]])
    return Case(made, theta, np.arange(169.0), [(24.0 * i, 0, 100.0) for i in range(7)])


TISSUES = {
    "adi": (18.2, 0.05, 10.0), "bon": (10.5, 0.05, 2.0), "bra": (1.45, 0.12, 3.0),
    "hea": (0.33, 0.04, 3.0), "kid": (0.31, 0.19, 4.0), "mus": (29.0, 0.17, 2.5),
    "ski": (3.3, 0.05, 3.0), "spl": (0.15, 0.03, 3.0), "pan": (0.14, 0.01, 4.0),
    "gut": (1.17, 0.15, 3.5), "liv": (1.8, 0.065, 6.0), "res": (2.6, 0.075, 2.0),
}  # fmt: skip
STATES = ["sto", "lum", "lun", "art", "ven", *TISSUES, "auc"]


def _whole_body(x, p, t):
    CO, Vmax, ka, kge, fu, kps, ws = p
    X = dict(zip(STATES, x, strict=True))
    flow = CO * ws**0.75
    V = {k: row[0] * ws for k, row in TISSUES.items()}
    q = {k: row[1] * flow for k, row in TISSUES.items()}
    out = {k: X[k] / (row[2] * kps) for k, row in TISSUES.items()}
    lung_out = X["lun"] / (4 * kps)
    d = {k: q[k] * (X["art"] - out[k]) / V[k] for k in TISSUES}
    d["sto"] = -kge * X["sto"]
    d["lum"] = kge * X["sto"] - (ka + 0.1) * X["lum"]
    d["lun"] = flow * (X["ven"] - lung_out) / (0.5 * ws)
    d["art"] = flow * (lung_out - X["art"]) / (1.7 * ws)
    d["kid"] = (q["kid"] * (X["art"] - out["kid"]) - fu * 7.2 * X["art"]) / V["kid"]
    d["gut"] = (q["gut"] * (X["art"] - out["gut"]) + ka * X["lum"]) / V["gut"]
    portal = ("gut", "spl", "pan")
    liver_flow = q["liv"] + sum(q[k] for k in portal)
    free = fu * out["liv"]
    inflow = q["liv"] * X["art"] + sum(q[k] * out[k] for k in portal)
    d["liv"] = (inflow - liver_flow * out["liv"] - Vmax * free / (0.5 + free)) / V["liv"]
    to_vein = sum(q[k] * out[k] for k in TISSUES if k not in (*portal, "liv"))
    d["ven"] = (to_vein + liver_flow * out["liv"] - flow * X["ven"]) / (3.9 * ws)
    d["auc"] = X["ven"]
    return [d[k] for k in STATES]


def whole_body(count: int) -> Case:
    """(b) physiological kinetics with 18 states and saturable liver metabolism."""
    rng = np.random.default_rng(102)
    typical = [390.0, 40.0, 1.5, 2.0, 0.1, 1.0, 1.0]
    theta = lognormal(rng, count, typical, [0.2, 0.4, 0.5, 0.4, 0.2, 0.25, 0.15])
    seen = [STATES.index(name) for name in ("ven", "liv", "bra")]
    made = problem("pbpk", 18, 7, _whole_body, lambda x, p, t: [x[i] for i in seen])
    return Case(made, theta, np.arange(97) * 0.25, [(0.0, 0, 200.0)])


def target_mediated(count: int) -> Case:
    """(c) target-mediated disposition with fast binding, stiff."""

    def ode(x, p, t):
        CL, V, _, kint, ka, kon = p
        R0 = p[2]
        D, C, AT, R, P = x
        Q, V2, koff, kdeg = 0.5, 3.0, 8.64, 2.0
        bound = kon * C * R - koff * P
        return [
            -ka * D,
            ka * D / V - (CL + Q) * C / V + (Q / V2) * AT / V - bound,
            Q * C - (Q / V2) * AT,
            kdeg * (R0 - R) - bound,
            bound - kint * P,
        ]

    rng = np.random.default_rng(103)
    typical = [0.2, 3.0, 5.0, 0.5, 0.3, 86.4]
    theta = lognormal(rng, count, typical, [0.3, 0.2, 0.5, 0.3, 0.4, 0.5])
    made = problem(
        "tmdd",
        5,
        6,
        ode,
        lambda x, p, t: [x[1], x[3], x[4]],
        lambda p: [0, 0, 0, p[2], 0],
    )
    return Case(made, theta, np.arange(113.0), [(14.0 * i, 0, 466.667) for i in range(6)])


def column(count: int, cells: int = 50) -> Case:
    """(d) a chromatography column in cells, two competing components."""

    def ode(x, p, t):
        u, k, qm, b1, dax, fs = p
        dz, b2 = 10.0 / cells, 0.1
        rows = []
        for i in range(cells):
            c, q = x[4 * i : 4 * i + 2], x[4 * i + 2 : 4 * i + 4]
            below = 1 + b1 * c[0] + b2 * c[1]
            dq = [
                k * (50.0 * qm * b1 * c[0] / below - q[0]),
                k * (60.0 * qm * b2 * c[1] / below - q[1]),
            ]
            for j in (0, 1):
                left = x[4 * (i - 1) + j] if i else x[4 * cells] * fs
                back = x[4 * (i - 1) + j] - c[j] if i else 0
                ahead = x[4 * (i + 1) + j] - c[j] if i < cells - 1 else 0
                rows.append(u / dz * (left - c[j]) + dax / dz**2 * (back + ahead) - 1.5 * dq[j])
            rows += dq
        return [*rows, ca.SX(0)]

    rng = np.random.default_rng(104)
    sampled = lognormal(rng, count, [20.0, 1.0, 0.2, 0.02, 1.0], [0.3, 0.1, 0.1, 0.3, 0.1])
    theta = np.column_stack([rng.uniform(1.6, 2.4, count), sampled])
    n = 4 * cells
    made = problem("column", n + 1, 6, ode, lambda x, p, t: [x[n - 4], x[n - 3]])
    return Case(made, theta, np.arange(81) * 0.5, [(0.0, n, 2.0), (10.0, n, -2.0)])
