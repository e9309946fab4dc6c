"""Processor time to estimate populations, compilation apart, and wall time of the FOCEI searches.

Theophylline (12 subjects, 3 random effects) and warfarin with its effect (32 subjects, 8 random
effects, 4 states). The data are simulated from the library's populations under designs like those
of the classical studies, so that nothing has to be fetched. Promise: 1 s and 10 s; full Bayes of
the first (2 chains of 600 + 600 draws) in 60 s; the most likely effects of 1,000 new patients of
the second in 10 s. Compilation is that of kernels that no process has compiled before.
Run: ``python benchmarks/estimate_population.py``.
"""

# ruff: noqa: E402
from __future__ import annotations

import os
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

for library in ("OMP", "OPENBLAS"):  # threads only cost time at this size
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import numpy as np

from galenic.inference.mixed.bayes import bayes
from galenic.inference.mixed.fit import Fit, evaluate, fit
from galenic.inference.mixed.layout import Layout, Route
from galenic.inference.mixed.problem import Problem
from galenic.inference.mixed.records import read
from galenic.inference.mixed.saem import Settings, saem
from galenic.inference.mixed.simulate import data_set
from galenic.library.pk.populations import theophylline, warfarin_effect

ORAL = (0, 0.25, 0.5, 1, 2, 3.5, 5, 7, 9, 12, 24)
EFFECT = {
    "body.C": (0.5, 1, 2, 3, 6, 9, 24, 36),
    "clotting.pca": (0, 24, 36, 48, 72, 96, 120, 144),
}


def problem(population: Any, subjects: int, times: dict[str, Any], dose: float) -> Problem:
    """A study simulated from a population."""
    rows = []
    for i in range(subjects):
        rows.append({"ID": i, "TIME": 0, "AMT": dose, "DV": 0, "EVID": 1, "DVID": ""})
        made = [(t, name) for name, every in times.items() for t in every]
        for t, name in sorted(made):
            rows.append({"ID": i, "TIME": t, "AMT": 0, "DV": 1, "EVID": 0, "DVID": name})
    layout = Layout(Route("absorption.depot"), {name: name for name in times})
    first = Problem(population, read(rows, layout))
    return first.with_records(data_set(first, first.start(), seed=1))


def timed(of: Problem, count: int, start: dict[str, float]) -> tuple[float, float, float, Fit]:
    """Compile time, median processor and wall time of a fit, and the fit."""
    with TemporaryDirectory() as folder:
        os.environ["GALENIC_CACHE"] = folder
        begin = process_time()
        of.course.plain, of.course.sensitive  # noqa: B018  both kernels are compiled here
        compiled = process_time() - begin
    seconds, wall = [], []
    for _ in range(count):
        begin, clock = process_time(), perf_counter()
        found = fit(of, start=start, tolerance=1e-3)
        seconds.append(process_time() - begin)
        wall.append(perf_counter() - clock)
    return compiled, float(np.median(seconds)), float(np.median(wall)), found


def main(quick: bool = False) -> dict[str, Any]:
    """Figures by name."""
    count = 1 if quick else 5
    oral = problem(theophylline(), 12, {"body.C": ORAL}, 320)
    start = {"absorption.ka": 1.0, "body.CL": 2.0, "body.V1": 25.0}
    compiled, seconds, wall, found = timed(oral, count, start)
    figures = {
        "theophylline, FOCEI": {"value": seconds, "unit": "s", "limit": 1.0},
        "theophylline, FOCEI, wall": {"value": wall, "unit": "s"},
        "theophylline, compile": {"value": compiled, "unit": "s"},
    }
    begin = process_time()
    saem(oral, start, settings=Settings(250, 150, samples=0))
    figures["theophylline, SAEM"] = {"value": process_time() - begin, "unit": "s"}
    draws = 100 if quick else 600
    drawn = bayes(oral, found, draws=draws, warmup=draws, chains=2, seed=1)
    figures["theophylline, Bayes"] = {"value": drawn.seconds, "unit": "s", "limit": 60.0}
    least = min(drawn.effective.values())
    figures["theophylline, Bayes, effective draws"] = {"value": least, "unit": "1"}
    if not quick:
        both = problem(warfarin_effect(), 32, EFFECT, 100)
        start = {"body.CL": 0.1, "body.V1": 7.0, "clotting.ec50": 1.5, "clotting.kout": 0.04}
        compiled, seconds, wall, _ = timed(both, 3, start)
        name = "warfarin and its effect"
        figures[f"{name}, FOCEI"] = {"value": seconds, "unit": "s", "limit": 10.0}
        figures[f"{name}, FOCEI, wall"] = {"value": wall, "unit": "s"}
        figures[f"{name}, compile"] = {"value": compiled, "unit": "s"}
    many = problem(warfarin_effect(), 100 if quick else 1000, EFFECT, 100)
    many.course.sensitive  # noqa: B018  compiled before the clock starts
    begin, clock = process_time(), perf_counter()
    evaluate(many)
    figures["effects of 1,000 patients"] = {
        "value": process_time() - begin, "unit": "s", "limit": 10.0
    }  # fmt: skip
    figures["effects of 1,000 patients, wall"] = {"value": perf_counter() - clock, "unit": "s"}
    return figures


if __name__ == "__main__":
    for name, figure in main().items():
        print(f"{name}: {figure['value']:.3g} {figure['unit']}")
