"""Time of one EKF step (predict and correct) on a chain the size of the tablet line.

40 quantities: 34 mass fractions and hold-ups of tanks in series with a nonlinear outflow, 6
drifting parameters and disturbances; 8 readings in one bundle every second. Promise: median below
1 ms. Run: ``python benchmarks/ekf_step.py [steps]``.
"""

# ruff: noqa: E402
from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

for library in ("OMP", "OPENBLAS"):  # threads only cost time at this size
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import casadi as ca
import numpy as np

from galenic.clock import SECOND
from galenic.inference.augment import Augmented
from galenic.inference.estimator import Bundle, Noise, Observation
from galenic.inference.kalman import EKF, UKF
from galenic.modeling.system import Entry, System
from galenic.units import unit

TANKS = 17


def chain() -> System:
    """Tanks in series with mass m and content c: outflow m / tau * sqrt(m / m0)."""
    m, c = ca.SX.sym("m", TANKS), ca.SX.sym("c", TANKS)
    u, p = ca.SX.sym("u", 2), ca.SX.sym("p", 4)
    rates, contents = [], []
    flow, content = p[0] * u[0] + u[1], p[0] * u[0] / (p[0] * u[0] + u[1])
    for i in range(TANKS):
        out = m[i] / p[1] * ca.sqrt(m[i] / p[2])
        contents.append(flow / m[i] * (content - c[i]))
        rates.append(flow - out)
        flow, content = out, c[i]
    y = ca.vertcat(m[3], c[3] + p[3], m[8], c[8], m[12], c[12], flow, c[16])
    states = [Entry(f"m{i}", "state", unit("kg"), value=0.5, lower=0.0) for i in range(TANKS)]
    states += [Entry(f"c{i}", "state", unit("1"), value=0.1, lower=0.0) for i in range(TANKS)]
    parameters = (("gain", 1.0), ("tau", 20.0), ("m0", 0.5), ("bias", 0.0))
    empty = ca.SX(0, 1)
    return System(
        name="chain",
        t=ca.SX.sym("t"),
        x=ca.vertcat(m, c),
        z=empty,
        u=u,
        p=p,
        ode=ca.vertcat(*rates, *contents),
        alg=empty,
        y=y,
        x0=ca.DM([e.value for e in states]) + ca.SX.zeros(2 * TANKS),
        states=tuple(states),
        algebraics=(),
        inputs=(
            Entry("api", "input", unit("kg/s"), value=0.0025),
            Entry("exc", "input", unit("kg/s"), value=0.0225),
        ),
        parameters=tuple(Entry(n, "parameter", unit("1"), value=v) for n, v in parameters),
        outputs=tuple(Entry(f"y{i}", "output", unit("1")) for i in range(8)),
    )


def noise() -> Noise:
    process = {f"m{i}": 1e-4 for i in range(TANKS)} | {f"c{i}": 1e-4 for i in range(TANKS)}
    drift = {"gain": 1e-3, "tau": 1e-3, "bias": 1e-4, "m0": 1e-3, "loss": 1e-6, "d7": 1e-5}
    start = {"gain": 0.05, "tau": 0.1, "bias": 0.002, "m0": 0.05, "loss": 1e-4, "d7": 1e-3}
    return Noise(process, {f"y{i}": 0.005 for i in range(8)}, drift, start)


def estimator(kind: type) -> EKF | UKF:
    slow = [
        Augmented("gain", log=True),
        Augmented("tau", log=True),
        Augmented("m0", log=True),
        "bias",
        Augmented("loss", acts_on="exc"),
        Augmented("d7", acts_on="y7"),
    ]
    return kind(chain(), noise(), slow)


def run(kind: type, steps: int) -> dict[str, float]:
    """Times of predict and correct over a run with a changing feed [ms]."""
    filter_ = estimator(kind)
    belief = filter_.start(None, 0)
    rng = np.random.default_rng(0)
    walls = []
    for k in range(1, steps + 51):
        inputs = {"api": 0.0025 * (1 + 0.1 * np.sin(k / 30)), "exc": 0.0225}
        readings = filter_.observe(belief, [f"y{i}" for i in range(8)])
        bundle = Bundle(
            k * SECOND,
            tuple(Observation(n, m + rng.normal(0, 0.005)) for n, (m, _) in readings.items()),
        )
        begin = time.perf_counter()
        belief = filter_.correct(filter_.predict(belief, k * SECOND, inputs), bundle)
        walls.append(1e3 * (time.perf_counter() - begin))
    walls = walls[50:]
    return {
        "quantities": len(filter_.names),
        "median_ms": round(float(np.median(walls)), 4),
        "p95_ms": round(float(np.quantile(walls, 0.95)), 4),
    }


def main(quick: bool = False) -> dict[str, dict[str, Any]]:
    """Figures for the table of all benchmarks."""
    ekf, ukf = run(EKF, 100 if quick else 500), run(UKF, 20 if quick else 50)
    return {
        "EKF, 40 quantities, median": {"value": ekf["median_ms"], "unit": "ms", "limit": 1.0},
        "EKF, 95 % of steps within": {"value": ekf["p95_ms"], "unit": "ms"},
        "UKF, 40 quantities, median": {"value": ukf["median_ms"], "unit": "ms"},
    }


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    print(json.dumps({"EKF": run(EKF, count), "UKF": run(UKF, max(20, count // 20))}, indent=2))
