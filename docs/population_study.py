"""Bias and coverage of population estimates in simulated studies, as printed in the validation.

    python docs/population_study.py [studies] [method]     # Ctrl-C prints what there is so far

Each study has 40 subjects with one oral dose and six levels, simulated from the theophylline
population with a proportional error added; the search begins away from the truth.
"""

# ruff: noqa: E402
from __future__ import annotations

import os
import signal
import sys
from typing import Any

for library in ("OMP", "OPENBLAS"):  # threads only cost time at this size
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import numpy as np

from galenic import Population
from galenic.inference.mixed.fit import fit
from galenic.inference.mixed.layout import Layout, Route
from galenic.inference.mixed.problem import Problem
from galenic.inference.mixed.records import read
from galenic.inference.mixed.saem import Settings, saem
from galenic.inference.mixed.simulate import data_set
from galenic.library.pk.compartments import OralOneCompartment
from galenic.modeling.variability import Between, Residual

SUBJECTS, TIMES = 40, (0.25, 0.75, 2.0, 5.0, 10.0, 24.0)
START = {"absorption.ka": 1.0, "body.CL": 4.0, "body.V1": 25.0}


def truth() -> Problem:
    """The problem at the true values."""
    model = OralOneCompartment(absorption={"ka": "1.5 1/h"}, body={"CL": "2.8 L/h", "V1": "32 L"})
    population = Population(
        model,
        between=(
            Between("absorption.ka", 0.4**0.5),
            Between("body.CL", 0.07**0.5),
            Between("body.V1", 0.03**0.5),
        ),
        residuals=(Residual("body.C", 0.1, "0.3 mg/L"),),
    )
    rows = []
    for i in range(SUBJECTS):
        rows.append({"ID": i, "TIME": 0, "AMT": 320, "DV": 0, "EVID": 1})
        rows += [{"ID": i, "TIME": t, "AMT": 0, "DV": 1, "EVID": 0} for t in TIMES]
    layout = Layout(Route("absorption.depot"), "body.C")
    return Problem(population, read(rows, layout))


def study(method: str, count: int) -> None:
    """Print one row per number: truth, bias, root mean square error, coverage."""
    at = truth()
    true = at.packing.natural(at.start())
    scale = at.start()
    found, inside = [], []
    try:
        for k in range(count):
            problem = at.with_records(data_set(at, at.start(), seed=1000 + k))
            if method == "saem":
                one = saem(problem, START, seed=k, settings=Settings(100, 60, samples=0))
            else:
                one = fit(problem, method, START)
            sd = np.sqrt(np.diag(one.covariance("r")))
            found.append(list(one.values.values()))
            inside.append(np.abs(one.vector - scale) < 1.96 * sd)
            print(f"{method} {k + 1}/{count}: {one.objective:.2f}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        pass
    table(method, at.names, true, np.array(found), np.array(inside))


def table(method: str, names: list[str], true: Any, found: Any, inside: Any) -> None:
    """Bias with its standard error, root mean square error and coverage of each number."""
    print(f"\n{method.upper()}, {len(found)} studies\n")
    print("| | truth | bias % | RMSE % | coverage of 95 % |\n|---|---|---|---|---|")
    for j, name in enumerate(names):
        relative = 100 * (found[:, j] / true[j] - 1)
        error = relative.std(ddof=1) / np.sqrt(len(found))
        print(
            f"| {name} | {true[j]:.4g} | {relative.mean():.1f} ± {error:.1f} "
            f"| {np.sqrt((relative**2).mean()):.1f} | {100 * inside[:, j].mean():.0f} % |"
        )


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    for name in sys.argv[2:] or ("focei", "saem"):
        study(name, studies)
