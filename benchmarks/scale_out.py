"""A population on a Dask cluster of two warm workers against one process with one thread.

Problem (c), target-mediated disposition with fast binding, six doses over 112 days, 113 output
times of three concentrations, 100,000 individuals; streamed to moments and quantiles, and with all
values kept. Wall time, runs in turns, medians; bits are compared. The promise is about an idle
machine: where other work takes the cores, ``times as fast by CPU time`` says what two free cores
would give at best, twice the CPU time of one thread over that of all processes.

    python benchmarks/scale_out.py [--quick]
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from galenic import Experiment, Model, Output, Parameter, Simulator, State, der
from galenic.engine.batch import Moments

COUNT, QUICK = 100_000, 10_000
TURNS = 3
WORKERS = 2
Figures = dict[str, dict[str, Any]]


class Binding(Model):
    """Full target-mediated disposition: depot, central, tissue, target, complex."""

    CL = Parameter(0.2, "L/d")
    V = Parameter(3.0, "L")
    R0 = Parameter(5.0, "nmol/L")
    kint = Parameter(0.5, "1/d")
    ka = Parameter(0.3, "1/d")
    kon = Parameter(86.4, "L/(nmol d)")
    Q = Parameter(0.5, "L/d")
    V2 = Parameter(3.0, "L")
    koff = Parameter(8.64, "1/d")
    kdeg = Parameter(2.0, "1/d")
    depot = State(0.0, "nmol", nominal=1)
    C = State(0.0, "nmol/L", nominal=1)
    tissue = State(0.0, "nmol", nominal=1)
    R = State(lambda m: m.R0, "nmol/L", nominal=1)
    P = State(0.0, "nmol/L", nominal=1)
    bound = Output("nmol/(L d)", "net binding")

    def equations(m):
        yield m.bound == m.kon * m.C * m.R - m.koff * m.P
        yield der(m.depot) == -m.ka * m.depot
        back = m.Q / m.V2 * m.tissue
        yield der(m.C) == (m.ka * m.depot + back) / m.V - (m.CL + m.Q) * m.C / m.V - m.bound
        yield der(m.tissue) == m.Q * m.C - back
        yield der(m.R) == m.kdeg * (m.R0 - m.R) - m.bound
        yield der(m.P) == m.bound - m.kint * m.P


def table(count: int) -> dict[str, Any]:
    """Individuals as the reference problem samples them."""
    rng = np.random.default_rng(103)
    typical = {"CL": 0.2, "V": 3.0, "R0": 5.0, "kint": 0.5, "ka": 0.3, "kon": 86.4}
    spread = np.array([0.3, 0.2, 0.5, 0.3, 0.4, 0.5])
    values = np.array(list(typical.values())) * np.exp(
        rng.standard_normal((count, len(typical))) * spread
    )
    return dict(zip(typical, values.T, strict=True))


def main(quick: bool = False) -> Figures:
    """Ratio of wall times, streamed and kept."""
    warnings.simplefilter("ignore")
    from distributed import Client, LocalCluster

    count = QUICK if quick else COUNT
    simulator, people = Simulator(Binding()), table(count)
    doses = Experiment().dose("depot", "466.667 nmol", every="14 d", count=6)

    def solve(**how: Any) -> Any:
        return simulator.run_many(
            doses, people, ["C", "R", "P"], until="112 d", every="1 d", method="rodas5", **how
        )

    figures: Figures = {}
    with (
        LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        for name, how in (
            ("streamed", {"keep": False, "summaries": [Moments()]}),
            ("kept", {"keep": True}),
        ):
            figures |= _compare(
                name,
                lambda: solve(workers=1, **how),  # noqa: B023
                lambda: solve(executor=client, **how),  # noqa: B023
                client,
                2 if quick else TURNS,
            )
    return figures


def _compare(
    name: str, alone: Callable[[], Any], spread: Callable[[], Any], client: Any, turns: int
) -> Figures:
    first, second = alone(), spread()  # both warm
    assert _same(first, second, name == "kept"), "the bits differ"
    pairs = [(_timed(alone, client), _timed(spread, client)) for _ in range(turns)]
    ratios = [one[0] / two[0] for one, two in pairs]
    promise = {"floor": 1.6} if name == "streamed" else {}
    return {
        f"{name}: one thread": {"value": median(one[0] for one, _ in pairs), "unit": "s"},
        f"{name}: two workers": {"value": median(two[0] for _, two in pairs), "unit": "s"},
        f"{name}: times as fast": {"value": median(ratios), "unit": "1"} | promise,
        f"{name}: least": {"value": min(ratios), "unit": "1"},
        f"{name}: most": {"value": max(ratios), "unit": "1"},
        f"{name}: CPU, one thread": {"value": median(one[1] for one, _ in pairs), "unit": "s"},
        f"{name}: CPU, two workers": {"value": median(two[1] for _, two in pairs), "unit": "s"},
        f"{name}: times as fast by CPU time": {
            "value": median(WORKERS * one[1] / two[1] for one, two in pairs), "unit": "1",
        },
        f"{name}: CPU of this process, two workers": {
            "value": median(two[2] for _, two in pairs), "unit": "s",
        },
    }  # fmt: skip


def _same(first: Any, second: Any, kept: bool) -> bool:
    if kept:
        return bool(np.array_equal(first.values, second.values))
    return all(first.summaries[key].identical(second.summaries[key]) for key in first.summaries)


def _timed(work: Callable[[], Any], client: Any) -> tuple[float, float, float]:
    """Wall time, CPU time of all processes, CPU time of this one [s]."""
    before, own, begin = _spent(client), sum(os.times()[:2]), perf_counter()
    work()
    wall = perf_counter() - begin
    mine = sum(os.times()[:2]) - own
    return wall, mine + _spent(client) - before, mine


def _spent(client: Any) -> float:
    return float(sum(client.run(lambda: sum(os.times()[:2])).values()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer individuals and turns")
    options = parser.parse_args()
    for label, figure in main(options.quick).items():
        print(f"{label:44} {figure['value']:10.3g} {figure['unit']}")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
