"""A module of services that worker processes can import too."""

from __future__ import annotations

import importlib
import sys

import pytest

from galenic.twin.service import Service

DEMO = '''
"""Services for tests of the surfaces."""
import multiprocessing
import os
import time
from typing import Annotated

from galenic.errors import DataError
from galenic.twin.service import (
    Artefact, Axis, Column, Duration, File, In, Plot, Result, Run, Series, Table, Value, service,
)

@service("Add two masses", stage="demo", effect="read")
def add(first: Annotated[float, In("g", lower=0)], second: Annotated[float, In("g")] = 1.0) -> dict:
    """Add.

    Parameters
    ----------
    first : float [g]
        What is there.
    """
    return {"sum": Value((first + second) * 1000, "g")}

@service("Work for a while", stage="demo")
def work(duration: Duration = "0.2 s", *, run: Run) -> Result:
    start = time.monotonic()
    while time.monotonic() - start < duration:
        run.progress((time.monotonic() - start) / duration, "working")
        time.sleep(0.02)
    table = Table("pids", (Column("pid", [os.getpid()]),))
    plot = Plot("p", Axis("t", [0, 1], "h"), (Series("c", [1, 2], "g", "measured"),))
    return Result("worked", {"draw": float(run.rng.random())}, [table], [plot],
                  [Artefact("a.txt", b"made", "text/plain")])

@service("Go on when told", stage="demo")
def steps(folder: str, *, run: Run) -> Result:
    for step in (1, 2, 3):
        run.progress(step / 4, f"step {step}")
        while not os.path.exists(os.path.join(folder, str(step))):
            time.sleep(0.02)
    return Result("worked", artefacts=[Artefact("a.txt", b"made", "text/plain")])

@service("Have a child", stage="demo")
def family(duration: Duration = "0 s", *, run: Run) -> dict:
    child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(duration,))
    child.start()
    run.progress(0.5, str(child.pid))
    child.join()
    return {"exit": Value(child.exitcode, "1")}

@service("Break", stage="demo")
def crash(how: str = "bug") -> None:
    if how == "die":
        os._exit(3)
    if how == "data":
        raise DataError("row 3 is empty", where="a.csv:3", expected="a number", hint="look at it")
    raise ZeroDivisionError("by hand")

@service("Change the plant", stage="demo", effect="act", role="operator")
def change(to: Annotated[float, In("kg/h")], run: Run) -> str:
    return f"changed by {run.who}"

@service("Read a file", stage="demo", effect="read")
def size(data: File) -> dict:
    return {"size": len(data.read())}
'''


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> list[Service]:
    folder = tmp_path_factory.mktemp("services")
    (folder / "demo_services.py").write_text(DEMO)
    sys.path.insert(0, str(folder))
    module = importlib.import_module("demo_services")
    yield [value for value in vars(module).values() if isinstance(value, Service)]
    sys.path.remove(str(folder))
    del sys.modules["demo_services"]
