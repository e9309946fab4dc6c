"""Every example runs as a user would run it, and leaves its picture or table."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(path for path in EXAMPLES.glob("*.py") if "__main__" in path.read_text())
FINDS = {
    "estimate_tank": "k = 0.120 (0.111 to 0.129) 1/min, true 0.120",  # the interval covers it
    "fit_clearance": "CL   2.435 L/h",  # data were made with 2.4
    "verify_site": "journal: row 16: its contents do not give its hash",
}
LONGEST = 120  # s, on a slow machine with other work
PAGE = 90  # lines


def run(script: Path, folder: Path) -> str:
    """What the script printed, run in ``folder``; warnings are errors of its own code."""
    environment = os.environ | {"MPLBACKEND": "Agg", "OPENBLAS_NUM_THREADS": "1"}
    line = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(
        line, cwd=folder, env=environment, capture_output=True, text=True, timeout=LONGEST,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_example_runs_and_leaves_a_result(script, tmp_path):
    printed = run(script, tmp_path)

    assert FINDS.get(script.stem, "\n") in printed
    pictures = list(tmp_path.rglob("*.png"))
    assert not [path for path in pictures if not path.read_bytes().startswith(b"\x89PNG")]
    assert len(pictures) == script.read_text().count("picture: str")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_example_fits_on_a_page_and_says_how_to_run_it(script):
    source = script.read_text()

    assert len(source.splitlines()) <= PAGE
    assert f"python examples/{script.name}" in source
