"""The runner of the benchmarks finds them, and they give figures with units."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def runner():
    """benchmarks/run.py as a module."""
    spec = importlib.util.spec_from_file_location("benchmarks_run", BENCHMARKS / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NEED_A_SERVER = {"mqtt_throughput"}
"""Run by themselves, where the server is."""


def test_every_module_takes_part_and_is_listed(runner):
    modules = {path.stem for path in BENCHMARKS.glob("*.py")} - {"run"}
    listed = (BENCHMARKS / "README.md").read_text(encoding="utf-8")

    assert set(runner.benchmarks()) | NEED_A_SERVER == modules
    assert [name for name in modules if f"| `{name}` |" not in listed] == []


def test_a_thousand_tanks_in_small_give_figures(runner, capsys):
    figures = runner.run("compile_line", quick=True)

    assert runner.kept(figures["flatten and compile"]) is None  # the promise is for all of them
    assert all(f["value"] > 0 and f["unit"] == "s" for f in figures.values())
    runner.show(runner.machine(), {"compile_line": figures})
    assert "flatten and compile" in capsys.readouterr().out


def test_promises_are_judged(runner):
    assert runner.kept({"value": 2.0, "limit": 1.0}) is False
    assert runner.kept({"value": 2.0, "floor": 1.0}) is True
    assert runner.kept({"value": 2.0}) is None
