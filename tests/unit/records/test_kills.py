"""The short version of ``benchmarks/kills.py``: eight kills, nothing lost, nothing done twice."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def kills():
    """benchmarks/kills.py as a module."""
    spec = importlib.util.spec_from_file_location("benchmark_kills", BENCHMARKS / "kills.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_eight_kills_lose_nothing_and_do_nothing_twice(kills, tmp_path):
    found = kills.measure(8, 2, tmp_path)

    assert found["faults"] == []
    assert sum(found["while"].values()) == 8
    assert found["acknowledged samples"] >= 8 * kills.BATCH
    assert max(found["longest opening, s"].values()) < 5.0


def test_the_driver_sees_what_was_lost_or_doubled(kills, tmp_path):
    driver = kills.Driver(tmp_path, 1, ["embedded"])
    with kills.open_site(driver.folder) as store:
        with store.transaction() as tx:
            tx.take([kills.Sample("T0", float(i), "kg", i, i) for i in (0, 1, 1, 3)], 1)
            tx.ledger(kills.Record("intended", 1, "plant", {"key": "a"}))
            tx.ledger(kills.Record("intended", 1, "plant", {"key": "b"}))
    (tmp_path / "plant").write_text("a\na\nc\n")
    driver.acknowledged = 5

    driver.look()

    assert [fault.split(" ")[0:3] for fault in driver.faults] == [
        ["history", "has", "gaps"],
        ["1", "acknowledged", "samples"],
        ["a", "write", "was"],
        ["a", "write", "was"],
        ["an", "older", "intention"],
    ]
