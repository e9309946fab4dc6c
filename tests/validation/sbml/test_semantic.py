"""The semantic cases of the SBML Test Suite, each at the tolerances of its own settings."""

from __future__ import annotations

import csv
import io
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("libsbml", reason="python-libsbml (extra sbml) reads SBML")

from galenic.engine import Simulator
from galenic.engine.export import compiler, export_c
from galenic.errors import ModelError
from galenic.modeling.sbml import import_sbml

NOT_EXPORTED = {"00939"}  # exact delays need a history


@dataclass(frozen=True)
class Case:
    """A case: model, expected values over time, and its settings."""

    name: str
    folder: Path
    settings: dict[str, str]
    columns: list[str]
    expected: np.ndarray

    @classmethod
    def of(cls, folder: Path) -> Case:
        name = folder.name
        lines = (folder / f"{name}-settings.txt").read_text().splitlines()
        pairs = [line.partition(":") for line in lines if ":" in line]
        text = (folder / f"{name}-results.csv").read_text()
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
        head = [one.strip() for one in rows[0]]
        table = np.array(rows[1:], dtype=float)
        return cls(name, folder, {k.strip(): v.strip() for k, _, v in pairs}, head, table)

    def path(self, variable: str, known: set[str]) -> str:
        """The galenic path of a variable: of its amount where the settings ask for that."""
        amounts = [one.strip() for one in self.settings["amount"].split(",")]
        amount = f"{variable}_amount"
        return amount if variable in amounts and amount in known else variable

    def excess(self, values: dict[str, Any], known: set[str]) -> float:
        """The largest deviation as a share of what the settings allow."""
        worst = 0.0
        for j, variable in enumerate(self.columns[1:], 1):
            expected = self.expected[:, j]
            allowed = float(self.settings["absolute"]) + float(self.settings["relative"]) * np.abs(
                expected
            )
            found = values[self.path(variable, known)]
            worst = max(worst, float(np.max(np.abs(np.asarray(found) - expected) / allowed)))
        return worst


def cases(shared_data: Path) -> Iterator[Case]:
    folder = shared_data / "sbml-semantic"
    if not folder.is_dir():
        pytest.skip(f"the SBML semantic cases are not at {folder}")
    for one in sorted(folder.iterdir()):
        if (one / f"{one.name}-settings.txt").is_file():
            yield Case.of(one)


def model_of(case: Case) -> Any:
    return import_sbml(case.folder / f"{case.name}-sbml-l3v2.xml").model()


def constants(system: Any) -> dict[str, float]:
    """Parameters, which no trajectory holds, in their declared units."""
    return {e.path: e.value / e.unit.scale for e in system.parameters}


def test_every_case_is_met_within_its_tolerance(shared_data):
    excess = {}
    for case in cases(shared_data):
        model = model_of(case)
        system = model.flatten()
        result = Simulator(model).run(times=case.expected[:, 0], rtol=1e-8)
        known = {entry.path for entry in system.entries()}
        values = constants(system) | {path: result[path] for path in result.paths}
        excess[case.name] = case.excess(values, known)

    assert {name: share for name, share in excess.items() if not share <= 1} == {}


def test_every_case_is_met_by_the_population_kernels_too(shared_data):
    """Two equal individuals, so that lanes are filled and padded."""
    excess = {}
    for case in cases(shared_data):
        model = model_of(case)
        system = model.flatten()
        paths = [e.path for e in (*system.states, *system.algebraics, *system.outputs)]
        result = Simulator(model).run_many(
            None, 2, times=case.expected[:, 0], rtol=1e-8, outputs=paths
        )
        values: dict[str, Any] = constants(system)
        values |= {path: np.asarray(result[path])[1] for path in paths}
        excess[case.name] = case.excess(values, {entry.path for entry in system.entries()})

    assert {name: share for name, share in excess.items() if not share <= 1} == {}


@pytest.mark.skipif(compiler.compiler() is None, reason="no C compiler on this machine")
def test_every_case_is_met_by_the_exported_c_too(shared_data, tmp_path):
    excess: dict[str, float] = {}
    solver = tmp_path / "galenic.o"
    for case in cases(shared_data):
        model = model_of(case)
        if case.name in NOT_EXPORTED:
            with pytest.raises(ModelError, match="exact delays"):
                export_c(model, tmp_path)
            continue
        folder = tmp_path / case.name
        files = {path.name: path for path in export_c(model, folder) if path.suffix == ".c"}
        if not solver.exists():
            compiler.build([files["galenic.c"]], solver, ["-c"])
        files["galenic.c"] = solver
        made = compiler.build(list(files.values()), folder / "program")
        times = case.expected[:, 0]
        line = [str(made), str(times[-1]), str(times[1] - times[0]), "rtol=1e-8"]
        done = subprocess.run(line, capture_output=True, text=True, check=True)
        head, *rows = csv.reader(io.StringIO(done.stdout))
        table = np.array(rows, dtype=float)
        system = model.flatten()
        values: dict[str, Any] = constants(system)
        values |= {name.rpartition(" [")[0]: table[:, j] for j, name in enumerate(head)}
        excess[case.name] = case.excess(values, {entry.path for entry in system.entries()})

    assert {name: share for name, share in excess.items() if not share <= 1} == {}
