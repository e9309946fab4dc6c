"""A million two-compartment patients with seven oral doses, streamed to quantiles.

Concentrations every hour for a week of 1,000,000 patients, of which only the quantiles at each
time are kept. Every run is a process of its own, whose largest resident memory is that of the whole
run, imports and compile included. The quantiles are compared with those of kept values of a part.

    python benchmarks/million.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from time import perf_counter, process_time
from typing import Any

import numpy as np

PATIENTS = 1_000_000
PART = 20_000
METHODS = ("auto", "rodas5p")  # auto: exact steps, the model is linear
SECONDS, BYTES = 12.0, 2**30
Figures = dict[str, dict[str, Any]]


def main(quick: bool = False) -> Figures:
    """Wall time, CPU time and peak memory by method."""
    patients = PATIENTS // 20 if quick else PATIENTS
    figures: Figures = {}
    for method in METHODS:
        found = _in_own_process(method, patients)
        limits = {} if quick else {"wall": SECONDS, "memory": BYTES / 2**20}
        for name, unit in (("wall", "s"), ("cpu", "s"), ("memory", "MiB"), ("error", "1")):
            limit = {"limit": limits[name]} if name in limits else {}
            figures[f"{method} {name}"] = {"value": found[name], "unit": unit} | limit
    return figures


def _in_own_process(method: str, patients: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--run", method, str(patients)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def solve(method: str, patients: int) -> dict[str, float]:
    """One run in this process."""
    from galenic import Experiment, Simulator
    from galenic.engine.batch.quantiles import Quantiles
    from galenic.library.pk.compartments import OralTwoCompartment

    rng = np.random.default_rng(101)
    table = {
        "body.CL": 5.0 * np.exp(0.3 * rng.standard_normal(patients)),
        "body.V1": 50.0 * np.exp(0.2 * rng.standard_normal(patients)),
        "absorption.ka": np.exp(0.5 * rng.standard_normal(patients)),
    }
    doses = Experiment()
    for day in range(7):
        doses = doses.dose("absorption.depot", "100 mg", at=f"{24 * day} h")
    run = Simulator(OralTwoCompartment()).run_many
    asked = {"outputs": ["body.C"], "until": "168 h", "every": "1 h", "method": method}
    wall, cpu = perf_counter(), process_time()
    result = run(doses, table, keep=False, summaries=[Quantiles()], **asked)
    wall, cpu = perf_counter() - wall, process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert result.is_good().all()
    return {"wall": wall, "cpu": cpu, "memory": memory, "error": _error(run, doses, table, asked)}


def _error(run: Any, doses: Any, table: dict[str, Any], asked: dict[str, Any]) -> float:
    """Largest relative difference of streamed quantiles and those of kept values, of a part."""
    from galenic.engine.batch.quantiles import Quantiles

    part = {name: column[:PART] for name, column in table.items()}
    streamed = run(doses, part, keep=False, summaries=[Quantiles(memory=0)], **asked)
    kept = run(doses, part, keep=True, **asked).quantiles()
    found = streamed.quantiles().values[:, 1:]
    return float(np.max(np.abs(found / kept.values[:, 1:] - 1)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="50,000 patients")
    parser.add_argument("--run", nargs=2, metavar=("METHOD", "PATIENTS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(solve(options.run[0], int(options.run[1]))))
    else:
        for name, figure in main(options.quick).items():
            print(f"{name:16} {figure['value']:10.4g} {figure['unit']}")
