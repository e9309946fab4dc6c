"""Midazolam in the whole body against levels from the literature, nothing fitted."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from typing import NamedTuple

import numpy as np
import pytest

from galenic import Experiment
from galenic.engine.simulate import Simulator
from galenic.inference.diagnose import mean_fold_error
from galenic.library.pbpk.absorption import gut_availability
from galenic.library.pbpk.midazolam import compound, gut_share, midazolam
from galenic.library.pbpk.partition import Composition, schmitt
from galenic.library.pbpk.physiology import physiology
from galenic.library.pbpk.tables import facts

UNITS = {"mg/l": 1.0, "ng/ml": 1e-3, "µmol/l": facts("midazolam")["molar mass"] * 1e-3}
TISSUES = (
    "adipose", "bone", "brain", "heart", "muscle", "skin", "gut", "spleen", "kidney", "liver",
    "lung",
)  # fmt: skip


class Point(NamedTuple):
    route: str
    hours: float
    observed: float
    predicted: float


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def partition(folder):
    """Schmitt's prediction with the regression of Pearce et al. 2017, by organ."""
    shares = defaultdict(dict)
    for row in rows(folder / "physiology/tissue_by_species.csv"):
        if row["Species"] == "Human" and row["variable"] in Composition.__dataclass_fields__:
            shares[row["Tissue"]][row["variable"]] = float(row["value"])
    lines = {row[""]: row for row in rows(folder / "physiology/pearce2017_kp_regression.csv")}
    found = {}
    for organ in TISSUES:
        Kp = schmitt(compound(), Composition(**shares[organ]))
        if organ in lines:
            b0, b1 = (float(lines[organ][f"fup.{what}"]) for what in ("intercept", "slope"))
            Kp = 10 ** (b0 + b1 * np.log10(Kp))
        found[organ] = float(Kp)
    return found | {"rest": found["muscle"]}


def amount(text, weight=70.0):
    """A dose [mg]; the middle of a range."""
    value = np.mean([float(number) for number in re.findall(r"[\d.]+", text)])
    value *= 1e-3 if "µg" in text else 1.0
    return value * weight if "/kg" in text else value


@pytest.fixture(scope="module")
def points(shared_data):
    """Every level above zero in blood of every profile without an interacting drug."""
    model = midazolam(physiology("human"), partition(shared_data))
    simulator = Simulator(model)
    levels = defaultdict(list)
    for row in rows(shared_data / "osp-observed/midazolam_observations.csv"):
        if row["value_unit"] in UNITS and float(row["value"]) > 0 and float(row["time"]) > 0:
            levels[row["profile"]].append(
                (float(row["time"]), float(row["value"]) * UNITS[row["value_unit"]])
            )
    found = []
    for profile in rows(shared_data / "osp-observed/midazolam_profiles.csv"):
        blood = {"Plasma": 1.0, "Whole Blood": facts("midazolam")["blood to plasma"]}
        affected = re.search(r"(with|after) Perpetrator", profile["name"])
        if profile["compartment"] not in blood or affected or not levels[profile["profile"]]:
            continue
        place = "A_ven" if profile["route"] == "IV" else "intestine.stomach"
        dose = Experiment().dose(place, f"{amount(profile['dose'])} mg")
        times = sorted({hours for hours, _ in levels[profile["profile"]]})
        run = simulator.run(dose, times=[0.0, *(3600 * t for t in times)], outputs=["C"], rtol=1e-7)
        level = dict(zip(times, blood[profile["compartment"]] * run["C"][1:], strict=True))
        found += [
            Point(profile["route"], hours, value, level[hours])
            for hours, value in levels[profile["profile"]]
        ]
    return found


def error(points):
    return mean_fold_error([p.predicted for p in points], [p.observed for p in points])


def test_levels_are_off_by_less_than_two(points):
    """The published model, whose parameters were fitted to part of these, has 1.45 over all."""
    intravenous = [p for p in points if p.route == "IV"]
    oral = [p for p in points if p.route == "PO"]

    assert len(points) == 1244
    assert error(points) < 1.6
    assert error(intravenous) < 1.5
    assert error(oral) < 1.7


def test_there_is_no_strong_bias(points):
    off = [np.log10(p.predicted / p.observed) for p in points]

    assert 0.8 < 10 ** np.mean(off) < 1.25


def test_the_mass_balance_closes(shared_data):
    model = midazolam(physiology("human"), partition(shared_data))
    run = model.simulate(
        Experiment().dose("intestine.stomach", "15 mg"), until="48 h", rtol=1e-10, atol=1e-14
    )

    (balance,) = [b for b in model.flatten().conserved if b.name == "drug"]
    assert run.drift(balance) < 1e-9


def test_the_wall_of_the_gut_takes_its_share(shared_data):
    """Bioavailability is Fg Fh of what is absorbed, in the limit of a small dose."""
    model = midazolam(physiology("human"), partition(shared_data))
    simulator, areas = Simulator(model), []
    for place in ("A_ven", "intestine.stomach"):
        run = simulator.run(
            Experiment().dose(place, "0.001 mg"), until="96 h", every="10 min", rtol=1e-9,
            outputs=["metabolised", "excreted", "intestine.passed", "intestine.consumed"],
        )  # fmt: skip
        areas.append({name: float(run[name][-1]) for name in run.dataset.data_vars})

    oral = areas[1]
    absorbed = 0.001 - oral["intestine.passed"]
    assert oral["intestine.consumed"] / absorbed == pytest.approx(1 - gut_share(), rel=1e-6)
    assert areas[0]["intestine.consumed"] == pytest.approx(0.0, abs=1e-20)


def test_the_limits_of_the_gut_model():
    assert gut_availability(0.0, 27.0) == 1.0
    assert gut_availability(10.0, 1e12) == pytest.approx(18 / 28)
