"""Times of fresh interpreters: imports, and commands that only list or explain.

    python benchmarks/import_time.py

Promises: ``import galenic`` below 0.4 s, ``galenic --help`` below 0.6 s, the interpreter included.
"""

from __future__ import annotations

import subprocess
import sys
from time import perf_counter
from typing import Any

PYTHON = [sys.executable, "-c"]
COMMANDS: dict[str, tuple[list[str], float | None]] = {
    "python alone": ([*PYTHON, "pass"], None),
    "import galenic": ([*PYTHON, "import galenic"], 0.4),
    "from galenic import Model": ([*PYTHON, "from galenic import Model"], None),
    "from galenic import Simulator": ([*PYTHON, "from galenic import Simulator"], None),
    "galenic --help": ([sys.executable, "-m", "galenic", "--help"], 0.6),
    "galenic services": ([sys.executable, "-m", "galenic", "services"], None),
}


def main(quick: bool = False) -> dict[str, dict[str, Any]]:
    """Best wall time [s] of each command."""
    figures: dict[str, dict[str, Any]] = {}
    for name, (line, limit) in COMMANDS.items():
        best = min(once(line) for _ in range(2 if quick else 5))
        figures[name] = {"value": best, "unit": "s"} | ({"limit": limit} if limit else {})
    return figures


def once(line: list[str]) -> float:
    """Wall time [s] of one command."""
    start = perf_counter()
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - start


if __name__ == "__main__":
    for name, figure in main().items():
        print(f"{name:30} {figure['value']:7.3f} s")
