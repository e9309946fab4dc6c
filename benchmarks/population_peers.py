"""Population kernels beside other tools on the same work, at equal achieved error.

The tools of ``benchmarks/solvers`` on the problems (a)-(d) of ``population``: individuals per
second of CPU time. The tolerance of each tool is searched until its error (median over individuals
of the largest mixed error) is that of the kernel at rtol 1e-6; compiling is done before. Then
kernel and tool run in turns, and the median of the ratios counts. A tool that is not installed is
named with what Python says.

    python benchmarks/population_peers.py [--quick] [--problems abcd] [--peers NAME]
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from population import METHODS, RTOL, _case, _exact, _seconds, error, solve
from solvers import PEERS
from solvers.work import Work

FLOORS = {"a": 12.0, "b": 25.0, "c": 12.0, "d": 25.0}
BATCH = {"a": 256, "b": 64, "c": 16, "d": 2}  # individuals per run of a tool; least for medians: 8
LEAST = 8
TURNS = 5
CLOSE = 1.25  # errors that count as equal
SEARCH = 6
SLOW = 60.0  # seconds of one run after which a tolerance is taken as it is

Figures = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """A tool beside the kernel: speeds [1/s], their ratio, tolerance and errors."""

    problem: str
    peer: str
    kernel: float
    speed: float
    ratio: float
    spread: tuple[float, float]
    rtol: float
    error: float
    aim: float
    individuals: int

    def __str__(self) -> str:
        low, high = self.spread
        return (
            f"{self.problem} {self.peer:28} {self.speed:10.2f}/s at rtol {self.rtol:.1e}, error "
            f"{self.error:.1e} (kernel {self.aim:.1e}, {self.kernel:,.0f}/s): "
            f"{self.ratio:.1f} times ({low:.1f} to {high:.1f}), {self.individuals} individuals"
        )


def main(quick: bool = False) -> Figures:
    """The kernel's speed over that of the best tool, per problem, and over each tool."""
    figures: Figures = {}
    for name in "ab" if quick else "abcd":
        found = [one for one in compare(name, quick) if isinstance(one, Comparison)]
        if not found:
            continue
        best = min(found, key=lambda one: one.ratio)
        figures[f"{name} against the best, {best.peer}"] = {
            "value": best.ratio, "unit": "1", "floor": FLOORS[name],
        }  # fmt: skip
        figures |= {f"{name} {one.peer}": {"value": one.ratio, "unit": "1"} for one in found}
    return figures


def compare(name: str, quick: bool = False, wanted: str = "") -> Iterator[Comparison | str]:
    """Each tool on one problem; a text where it cannot be run."""
    warnings.simplefilter("ignore")
    case = _case(name, quick)
    work = Work(name, case)
    for peer in PEERS:
        if wanted and wanted not in peer.name:
            continue
        try:
            run = peer().prepare(work)
        except ImportError as missing:
            yield f"{name} {peer.name:28} not installed: {missing}"
            continue
        yield _beside(name, case, peer.name, run, quick)


def _beside(name: str, case: Any, peer: str, run: Callable[..., Any], quick: bool) -> Comparison:
    reference = _exact(name, case)
    count = min(_batch(name, peer, run, quick), len(case.theta))
    some = max(count, min(LEAST, len(case.theta)))
    method = "rodas5p" if METHODS[name] == "exact" else METHODS[name]
    aim = error(solve(case, method).values[:some], reference[:some])
    rtol, reached, seconds = equal_error(run, count, reference[:count], aim)
    pairs = [
        (_seconds(lambda: solve(case, METHODS[name])), _seconds(lambda: run(count, rtol)))
        for _ in range(1 if seconds > SLOW / 3 else 2 if quick else TURNS)
    ]
    kernel = len(case.theta) / median(ours for ours, _ in pairs)
    speed = count / median(theirs for _, theirs in pairs)
    ratios = [theirs / count * len(case.theta) / ours for ours, theirs in pairs]
    return Comparison(
        name, peer, kernel, speed, median(ratios), (min(ratios), max(ratios)), rtol, reached, aim,
        count,
    )  # fmt: skip


def _batch(name: str, peer: str, run: Callable[..., Any], quick: bool) -> int:
    """As many individuals as a tool solves in about a second, up to the largest batch."""
    if peer.startswith("diffrax"):  # one compiled loop for all: the more, the better for it
        return BATCH[name] // 4 if quick else BATCH[name]
    run(2, RTOL)
    seconds = _seconds(lambda: run(2, RTOL)) / 2
    return int(np.clip(0.5 / max(seconds, 1e-9), 2, 16 if quick else BATCH["a"]))


def equal_error(
    run: Callable[..., Any], count: int, reference: Any, aim: float
) -> tuple[float, float, float]:
    """The tolerance at which a tool has the wanted error, that error, and the CPU time [s]."""
    rtol, tried, seconds = RTOL, {}, 0.0
    for _ in range(SEARCH):
        values: list[Any] = []
        seconds = _seconds(lambda: values.append(run(count, rtol)))  # noqa: B023
        tried[rtol] = error(values[0], reference) if np.isfinite(values[0]).all() else np.inf
        if aim / CLOSE <= tried[rtol] <= aim * CLOSE or seconds > SLOW:
            break
        rtol = _next(tried, aim)
    good = [one for one in tried if tried[one] <= aim * CLOSE] or [
        min(tried, key=tried.__getitem__)
    ]
    chosen = max(good)
    return chosen, tried[chosen], seconds


def _next(tried: dict[float, float], aim: float) -> float:
    """By the line through the two nearest points, in logarithms; by proportion from one."""
    known = sorted((one for one in tried if np.isfinite(tried[one])), reverse=True)
    if not known:
        return min(tried) / 10
    near = sorted(known, key=lambda one: abs(np.log(tried[one] / aim)))[:2]
    slope = 1.0
    if len(near) == 2 and tried[near[0]] != tried[near[1]]:
        slope = np.log(tried[near[0]] / tried[near[1]]) / np.log(near[0] / near[1])
        slope = float(np.clip(slope, 0.5, 2.0))
    step = float(np.clip((aim / tried[near[0]]) ** (1 / slope), 1e-3, 1e3))
    return float(np.clip(near[0] * step, 1e-13, 1e-3))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer individuals and repeats")
    parser.add_argument("--problems", default="abcd", help="which of them")
    parser.add_argument("--peers", default="", help="part of the name of a tool")
    options = parser.parse_args()
    for problem in options.problems:
        for found in compare(problem, options.quick, options.peers):
            print(found, flush=True)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
