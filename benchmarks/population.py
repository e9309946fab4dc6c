"""Populations in compiled kernels: individuals per second and core, compile time.

The four problems are those whose reference values the tests hold: (a) oral two-compartment
kinetics, seven doses; (b) a physiological model, 18 states; (c) target-mediated disposition,
stiff; (d) a chromatography column, 201 states. All run at rtol 1e-6, atol 1e-8; the error is the
median over individuals of the largest mixed error |y - r| / (|r| + 1e-3 peak) against the kernel
at rtol 1e-10. ``population_peers`` has other tools beside them.
CPU time of one thread, runs of the compared programs in turns, medians.

    python benchmarks/population.py [--quick] [--baseline FOLDER]

``FOLDER`` holds ``problems.py`` and ``prototype_engine.py`` of an earlier engine to compare with.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from types import ModuleType
from typing import Any

import numpy as np

from galenic.engine.native import Control, compile_kernel
from galenic.engine.native import kernel as kernels

RTOL, ATOL = 1e-6, 1e-8
COUNTS = {"a": 4000, "b": 2000, "c": 2000, "d": 64}
METHODS = {"a": "exact", "b": "rodas5p", "c": "rodas5", "d": "rodas5p"}
COMPILE_LIMITS = {"b": 0.5, "d": 3.0}
WARM_LIMIT = 0.05
Figures = dict[str, dict[str, Any]]


def main(quick: bool = False) -> Figures:
    """Throughput of the four problems and compile times, cold and warm."""
    figures: Figures = {}
    for name in COUNTS:
        case = _case(name, quick)
        figures |= _compile_times(name, case)
        for method in dict.fromkeys((METHODS[name], "rodas5p")):
            figures |= _throughput(name, case, method, 1 if quick else 5)
    return figures | _two_threads(2_000 if quick else 100_000, 1 if quick else 9)


def _problems() -> ModuleType:
    """The problem definitions beside the tests that check them against published values."""
    path = Path(__file__).parents[1] / "tests/unit/engine/native/problems.py"
    return _module("population_problems", path)


def _module(name: str, path: Path) -> ModuleType:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


def _case(name: str, quick: bool) -> Any:
    made = {"a": "two_compartments", "b": "whole_body", "c": "target_mediated", "d": "column"}
    count = max(COUNTS[name] // 10, 16) if quick else COUNTS[name]
    return getattr(_problems(), made[name])(count)


def _compile_times(name: str, case: Any) -> Figures:
    before = os.environ.get("GALENIC_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GALENIC_CACHE"] = folder
        try:
            cold = compile_kernel(case.problem)
            kernels._loaded.clear()
            warm = compile_kernel(case.problem)
        finally:
            os.environ.pop("GALENIC_CACHE")
            if before is not None:
                os.environ["GALENIC_CACHE"] = before
    limit = {"limit": COMPILE_LIMITS[name]} if name in COMPILE_LIMITS else {}
    return {
        f"{name} compile": {"value": cold.seconds, "unit": "s"} | limit,
        f"{name} warm start": {"value": warm.seconds, "unit": "s", "limit": WARM_LIMIT},
    }


def solve(case: Any, method: str, rtol: float = RTOL, **more: Any) -> Any:
    """All individuals of a case in the kernel of a method."""
    kernel = compile_kernel(case.problem, method)
    count = len(case.theta)
    return kernel.run(
        case.theta, case.times, case.events(count), rtol=rtol, atol=ATOL * rtol / RTOL,
        control=Control(), **more,
    )  # fmt: skip


def _throughput(name: str, case: Any, method: str, repeats: int) -> Figures:
    solve(case, method)
    times = [_seconds(lambda: solve(case, method)) for _ in range(repeats)]
    found = solve(case, method)
    label = f"{name} {method}"
    return {
        label: {"value": len(case.theta) / median(times), "unit": "1/s"},
        f"{label} error": {"value": error(found.values, _exact(name, case)), "unit": "1"},
        f"{label} steps": {"value": float(found.accepted.mean()), "unit": "1"},
    }


def _two_threads(count: int, repeats: int) -> Figures:
    """Wall time of one thread over that of two, problem (b); and how much work two threads add."""
    case = _problems().whole_body(count)
    solve(case, "rodas5p", threads=2)
    pairs = [
        [_seconds(lambda: solve(case, "rodas5p", threads=k), clock)  # noqa: B023
         for k in (1, 2) for clock in (perf_counter, process_time)]
        for _ in range(repeats)
    ]  # fmt: skip
    wall = median(one[0] / one[2] for one in pairs)
    work = median(one[3] / one[1] for one in pairs)
    floor = {"floor": 1.8} if repeats > 1 else {}
    return {
        "b two threads": {"value": wall, "unit": "1"} | floor,
        "b two threads, work": {"value": work, "unit": "1"},
    }


_references: dict[tuple[str, int], Any] = {}


def _exact(name: str, case: Any) -> Any:
    key = name, len(case.theta)
    if key not in _references:
        tight = 1e-8 if name == "d" else 1e-10
        _references[key] = solve(case, "rodas5p", tight).values
    return _references[key]


def error(values: Any, reference: Any) -> float:
    """The median over individuals of the largest mixed error."""
    peak = np.abs(reference).max(axis=1, keepdims=True)
    peak = np.maximum(peak, 1e-3 * peak.max(axis=0, keepdims=True))
    mixed = np.abs(values - reference) / (np.abs(reference) + 1e-3 * peak + 1e-300)
    return float(np.median(mixed.max(axis=(1, 2))))


def _seconds(work: Callable[[], Any], clock: Callable[[], float] = process_time) -> float:
    begin = clock()
    work()
    return clock() - begin


def compare_with_baseline(folder: Path, quick: bool) -> None:
    """The kernel and an earlier engine in turns: same method, or Rodas5P beside exact steps."""
    sys.path.insert(0, str(folder))
    problems = _module("baseline_problems", folder / "problems.py")
    engine = _module("baseline_engine", folder / "prototype_engine.py")
    for name in COUNTS:
        case = _case(name, quick)
        old = getattr(problems, f"prob_{name}")(len(case.theta))
        assert np.allclose(old.theta, case.theta), "the samples differ"
        for method in dict.fromkeys((METHODS[name], "rodas5p")):
            theirs = method if method != "exact" else "rodas5p"
            before = min(
                (engine.Engine(old, theirs, L=lanes) for lanes in (4, 8)),
                key=lambda one: min(_seconds(one.run) for _ in range(3)),
            )
            _show_pair(name, case, method, before, 3 if quick else 15)


def _show_pair(name: str, case: Any, method: str, before: Any, repeats: int) -> None:
    solve(case, method)
    pairs = [(_seconds(lambda: solve(case, method)), _seconds(before.run)) for _ in range(repeats)]
    ratios = sorted(theirs / ours for ours, theirs in pairs)
    speed = len(case.theta) / median(ours for ours, _ in pairs)
    mine = error(solve(case, method).values, _exact(name, case))
    values = np.asarray(before.run()).reshape(_exact(name, case).shape)
    theirs = error(values, _before(case))
    print(
        f"{name} {method:8} {speed:10.0f}/s  {median(ratios):6.2f} times the baseline "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f})  error {mine:.1e} against {theirs:.1e}"
    )


def _before(case: Any) -> Any:
    """Reference values with outputs at doses taken before them, as the baseline gives them."""
    return solve(case, "rodas5p", 1e-8 if case.problem.n > 100 else 1e-10, before=True).values


def _show(figures: Figures) -> None:
    for name, figure in figures.items():
        print(f"{name:24} {figure['value']:12.4g} {figure['unit']}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer individuals and repeats")
    parser.add_argument("--baseline", type=Path, help="folder of an earlier engine")
    options = parser.parse_args()
    began = perf_counter()
    if options.baseline:
        compare_with_baseline(options.baseline, options.quick)
    else:
        _show(main(options.quick))
    print(f"{perf_counter() - began:.0f} s")
