"""Error against cost of all kernel methods and of other tools, on the four problems.

Each point is a tolerance: the error (median over individuals of the largest mixed error, see
``population``) and the CPU time per individual, the least of three runs. ``main`` gives the cost of
the cheapest method at an error of 1e-4 and 1e-6; the picture of the documentation is made by

    python benchmarks/work_precision.py --plot docs/validation/work-precision.png

which takes half an hour with the tools of the extra ``bench``. Points are kept beside the picture
as JSON as they come; those that are there already are not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from population import _case, _exact, _seconds, error, solve
from solvers import PEERS
from solvers.work import Work

METHODS = {"a": ("exact",), "b": (), "c": (), "d": ()}
STEPPED = ("rodas5p", "rodas5", "rodas4p", "rodas4")
TOLERANCES = tuple(10.0**-k for k in np.arange(3, 9.5, 1))
WANTED = (1e-4, 1e-6)
DEAREST = 3.0  # seconds of CPU per run after which a curve ends
REPEATS = 3

Point = tuple[float, float, float]  # tolerance, error, seconds of CPU per individual
Curves = dict[str, list[Point]]


def main(quick: bool = False) -> dict[str, dict[str, Any]]:
    """Cost of an individual at two errors, by the cheapest kernel method."""
    figures = {}
    for name in "abc" if quick else "abcd":
        curves = kernels(name, quick)
        for wanted in WANTED:
            costs = {method: cost_at(points, wanted) for method, points in curves.items()}
            best = min(costs, key=lambda method: costs[method])
            figures[f"{name} at error {wanted:.0e}, {best}"] = {
                "value": 1e6 * costs[best], "unit": "us",
            }  # fmt: skip
    return figures


def kernels(name: str, quick: bool) -> Curves:
    """The curve of each method."""
    case = _case(name, quick)
    reference = _exact(name, case)
    curves: Curves = {}
    for method in METHODS[name] + STEPPED:

        def run(count: int, rtol: float) -> Any:
            return solve(case, method, rtol).values  # noqa: B023

        tolerances = TOLERANCES[:1] if method == "exact" else TOLERANCES
        curves[method] = list(_points(run, len(case.theta), reference, tolerances))
    return curves


def peers(name: str, quick: bool, known: Curves) -> Iterator[tuple[str, list[Point]]]:
    """The curve of each tool that is installed and not known yet."""
    warnings.simplefilter("ignore")
    case = _case(name, quick)
    reference, work = _exact(name, case), Work(name, case)
    for peer in (one for one in PEERS if one.name not in known):
        try:
            run = peer().prepare(work)
        except ImportError as missing:
            print(f"{peer.name} is left out: {missing}")
            continue
        count = 64
        if not peer.name.startswith("diffrax"):
            run(2, 1e-6)
            count = int(np.clip(0.25 / max(_seconds(lambda: run(2, 1e-6)) / 2, 1e-9), 4, 128))  # noqa: B023
        elif name in "cd":
            count = 4
        yield peer.name, list(_points(run, count, reference[:count], TOLERANCES))


def _points(
    run: Callable[[int, float], Any], count: int, reference: Any, tolerances: Sequence[float]
) -> Iterator[Point]:
    for rtol in tolerances:
        values: list[Any] = []
        times = [_seconds(lambda: values.append(run(count, rtol)))]  # noqa: B023
        if times[0] < DEAREST:
            times = [_seconds(lambda: run(count, rtol)) for _ in range(REPEATS)]  # noqa: B023
        if np.isfinite(values[0]).all():
            yield rtol, error(values[0], reference), min(times) / count
        if min(times) > DEAREST:
            return


def cost_at(points: Sequence[Point], wanted: float) -> float:
    """Seconds at an error, between the points by logarithms; infinite where it is not reached."""
    ordered = sorted(points, key=lambda point: point[1])
    errors, costs = (np.log([point[k] for point in ordered]) for k in (1, 2))
    if errors[0] > np.log(wanted):
        return float("inf")
    return float(np.exp(np.interp(np.log(wanted), errors, costs)))


TITLES = {
    "a": "(a) two compartments, seven doses; 3 states",
    "b": "(b) whole-body kinetics; 18 states",
    "c": "(c) target-mediated disposition; 5 states, stiff",
    "d": "(d) chromatography column; 201 states",
}
OURS = {"exact": "#111111", "rodas5p": "#0b6e99", "rodas5": "#2a9d8f", "rodas4p": "#7a5195",
        "rodas4": "#bc5090"}  # fmt: skip
GREYS = ("o", "s", "^", "v", "D", "P", "X")


KNOWN = {"a": 1e-11, "b": 2e-10, "c": 5e-10, "d": 1e-7}
"""Errors below which the reference itself is not known; such points are not drawn."""


def draw(found: dict[str, dict[str, Curves]], path: Path, note: str) -> None:
    """One panel per problem: kernels in colour, other tools in grey with their own marks."""
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(10, 9), layout="constrained")
    shown: dict[str, Any] = {}
    for place, (name, kinds) in enumerate(found.items(), 1):
        axes = figure.add_subplot(2, 2, place)
        for method, points in kinds["kernels"].items():
            (shown[method],) = axes.loglog(
                *_line(points, name), "-o", ms=3.5, lw=1.8, color=OURS[method]
            )
        for peer, points in kinds["peers"].items():
            mark = GREYS[[one.name for one in PEERS].index(peer)]
            (shown[peer],) = axes.loglog(
                *_line(points, name), f"--{mark}", ms=4.5, lw=0.8, color="#7a7a7a", mfc="white"
            )
        axes.set_title(TITLES[name], fontsize=10, loc="left")
        axes.set_xlabel(
            "error [1]: median of the largest |y - r| / (|r| + peak / 1000)", fontsize=8
        )
        axes.set_ylabel("CPU time per individual [s]", fontsize=8)
        axes.grid(True, which="major", color="#e4e4e4", lw=0.6)
        axes.tick_params(labelsize=8)
        axes.invert_xaxis()
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        list(shown.values()), list(shown), loc="outside lower center", ncols=6, fontsize=8,
        frameon=False,
    )  # fmt: skip
    figure.suptitle(f"Work against precision; one thread, {note}", fontsize=10)
    figure.savefig(path, dpi=90)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(48)
    small.save(path, optimize=True)


def _line(points: Sequence[Point], name: str) -> tuple[list[float], list[float]]:
    known = [point for point in points if point[1] >= KNOWN[name]]
    return [point[1] for point in known], [point[2] for point in known]


def measure(kept: dict[str, Any], problems: str, quick: bool, path: Path) -> None:
    """Add what is missing to the curves, and keep them after each."""
    for name in problems:
        found = kept["curves"].setdefault(name, {"kernels": {}, "peers": {}})
        found["kernels"] = found["kernels"] or kernels(name, quick)
        for peer, points in peers(name, quick, found["peers"]):
            found["peers"][peer] = points
            path.write_text(json.dumps(kept), encoding="utf-8")
            print(name, peer, *(f"{e:.1e}:{1e6 * s:.0f}us" for _, e, s in points), flush=True)
        path.write_text(json.dumps(kept), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer individuals")
    parser.add_argument("--problems", default="abcd", help="which of them")
    parser.add_argument("--plot", type=Path, required=True, help="picture to write")
    options = parser.parse_args()
    from run import processor

    points = options.plot.with_suffix(".json")
    note = f"{processor()}, load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores"
    kept = {"note": note, "curves": {}}
    if points.exists():
        kept = json.loads(points.read_text(encoding="utf-8"))
    measure(kept, options.problems, options.quick, points)
    draw(kept["curves"], options.plot, kept["note"])
