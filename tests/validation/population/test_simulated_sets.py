"""The simulated sets of 120 subjects against nlmixr's estimates and the values behind the data.

nlmixr's are those of nlmixr.examples, values-1.1.1.3-U026 and -U011 (FOCEI): AIC 74987.63 and
86984.44 with 7 estimated numbers each.
"""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from galenic import Population
from galenic.inference.mixed.fit import Fit, fit
from galenic.inference.mixed.layout import Layout, Route
from galenic.inference.mixed.problem import Problem
from galenic.library.pk.compartments import MichaelisMenten, OralOneCompartment, TwoCompartment
from galenic.modeling.variability import Between, Residual

sys.path.insert(0, str(Path(__file__).parent))
from population_cases import records

pytestmark = pytest.mark.slow


def estimated(name: str, model: object, varied: list[str], route: str, folder: Path) -> Fit:
    output = "body.C" if "." in varied[0] else "C"
    population = Population(
        model,
        between=tuple(Between(path, 0.3) for path in varied),
        residuals=(Residual(output, 0.2),),
    )
    layout = Layout(Route(route, "ug"), {"*": (output, "ug/L")})
    return fit(Problem(population, records(f"{name}.csv", layout, folder)))


def truth(name: str, columns: list[str], folder: Path) -> np.ndarray:
    """Mean of the logarithms of the individual values that made the data."""
    with (folder / "poppk-classics" / f"{name}.csv").open() as handle:
        people = {
            row["ID"]: [math.log(float(row[c])) for c in columns] for row in csv.DictReader(handle)
        }
    return np.mean(list(people.values()), axis=0)


def test_oral_one_compartment(shared_data: Path) -> None:
    model = OralOneCompartment(absorption={"ka": "1.2 1/h"}, body={"CL": "5 L/h", "V1": "80 L"})
    names = ["absorption.ka", "body.CL", "body.V1"]

    found = estimated("oral_1cpt", model, names, "absorption.depot", shared_data)

    assert found.minus2ll < 74987.63 - 14
    assert found.minus2ll == pytest.approx(74973.63, abs=1.1)
    logs = [math.log(found[n]) for n in names]
    assert logs == pytest.approx([-0.00073, 1.39000, 4.20266], abs=5e-3)
    assert found["body.C.proportional"] == pytest.approx(0.19805, abs=1e-4)
    errors = [found.errors()[n] / found[n] for n in names]
    assert errors == pytest.approx([0.03224, 0.02443, 0.02644], rel=0.05)


def test_michaelis_menten_after_boluses(shared_data: Path) -> None:
    model = MichaelisMenten(V1="80 L", Vmax="1000 ug/h", Km="200 ug/L")

    found = estimated("bolus_1cptmm", model, ["V1", "Vmax", "Km"], "A1", shared_data)

    assert found.minus2ll == pytest.approx(86984.44 - 14, abs=0.1)
    values = [found["V1"], 1000 * found["Vmax"], 1000 * found["Km"]]
    assert values == pytest.approx([65.264, 996.12, 253.90], rel=2e-3)
    omega = [found[f"omega({n})"] for n in ("V1", "Vmax", "Km")]
    assert omega == pytest.approx([0.09058, 0.08874, 0.09681], rel=0.03)


def test_two_compartments_after_infusions(shared_data: Path) -> None:
    """Within two standard errors of the values behind the data."""
    model = TwoCompartment(CL="5 L/h", V1="80 L", Q="4 L/h", V2="50 L")
    names = ["CL", "V1", "Q", "V2"]

    found = estimated("infusion_2cpt", model, names, "A1", shared_data)

    behind = truth("infusion_2cpt", ["CL", "V", "Q", "V2"], shared_data)
    for name, value in zip(names, behind, strict=True):
        error = found.errors()[name] / found[name]
        assert abs(math.log(found[name]) - value) < 2 * error, name
