"""The shape of the house: imports run downward, the package loads fast."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_imports_run_downward():
    linter = Path(sys.executable).with_name("lint-imports")

    result = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout


def test_importing_galenic_loads_nothing_heavy():
    heavy = {"casadi", "numpy", "scipy", "xarray", "pandas", "duckdb", "nicegui", "fastapi", "pint"}
    code = f"import sys, galenic; print(*sorted({heavy} & set(sys.modules)))"

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert result.stdout.split() == []
