"""Run the benchmarks and show what we promise beside what this machine does.

    python benchmarks/run.py [NAME ...] [--quick] [--json] [--strict]

Every module here that has ``main(quick: bool) -> dict`` takes part. It gives figures by name, each
``{"value": 1.2, "unit": "s"}``, with ``limit`` (at most) or ``floor`` (at least) where that is a
promise. ``--strict`` fails when a promise is broken.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import platform
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

for library in ("OMP", "OPENBLAS"):  # threads only cost time at these sizes
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

HERE = Path(__file__).parent
Figures = dict[str, dict[str, Any]]


def main() -> int:
    """Run the chosen benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="all if left out")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer repeats")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--strict", action="store_true", help="fail when a promise is broken")
    options = parser.parse_args()
    unknown = set(options.names) - set(benchmarks())
    if unknown:
        parser.error(
            f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(benchmarks())}"
        )
    facts = machine()
    found: dict[str, Figures] = {}
    for name in options.names or benchmarks():
        print(f"{name} ...", file=sys.stderr, flush=True)
        found[name] = run(name, quick=options.quick)
    if options.json:
        print(json.dumps({"machine": facts, "benchmarks": found}, indent=2))
    else:
        show(facts, found)
    broken = [f for figures in found.values() for f in figures.values() if kept(f) is False]
    return int(options.strict and bool(broken))


def benchmarks() -> list[str]:
    """Names of the modules that take part; read, not imported."""
    return sorted(
        path.stem
        for path in HERE.glob("*.py")
        if path.name != "run.py" and "def main(quick" in path.read_text(encoding="utf-8")
    )


def run(name: str, *, quick: bool) -> Figures:
    """The figures of one benchmark."""
    sys.path.insert(0, str(HERE))
    try:
        module: ModuleType = importlib.import_module(name)
    finally:
        sys.path.remove(str(HERE))
    assert "quick" in inspect.signature(module.main).parameters
    figures: Figures = module.main(quick=quick)
    return figures


def kept(figure: dict[str, Any]) -> bool | None:
    """Whether a figure keeps its promise; None where there is none."""
    if "limit" in figure:
        return bool(figure["value"] <= figure["limit"])
    return bool(figure["value"] >= figure["floor"]) if "floor" in figure else None


def machine() -> dict[str, Any]:
    """What the figures were measured on, and what else was going on there."""
    from galenic.provenance import provenance

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": round(load, 1),
        "system": platform.system(),
        **provenance().to_dict(),
    }


def processor() -> str:
    """The name of the processor."""
    facts = Path("/proc/cpuinfo")
    if facts.is_file():
        for line in facts.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def show(facts: dict[str, Any], found: dict[str, Figures]) -> None:
    """A table on the terminal."""
    from rich.console import Console
    from rich.table import Table

    title = f"{facts['processor']}, {facts['cores']} cores, load {facts['load']}"
    table = Table("benchmark", "figure", "value", "unit", "promise", "kept", title=title)
    for name, figures in found.items():
        for what, figure in figures.items():
            promise = next(
                (
                    f"{sign} {figure[key]:g}"
                    for key, sign in (("limit", "≤"), ("floor", "≥"))
                    if key in figure
                ),
                "",
            )
            verdict = {True: "yes", False: "NO", None: ""}[kept(figure)]
            table.add_row(name, what, f"{figure['value']:.4g}", figure["unit"], promise, verdict)
            name = ""
        table.add_section()
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    sys.exit(main())
