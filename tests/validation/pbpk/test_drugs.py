"""Alfentanil and vancomycin against levels from the literature."""

from __future__ import annotations

import csv
import re
from collections import defaultdict

import numpy as np
import pytest

from galenic import Experiment
from galenic.engine.simulate import Simulator
from galenic.inference.diagnose import mean_fold_error
from galenic.library.pbpk.drugs import alfentanil, vancomycin
from galenic.library.pbpk.physiology import physiology
from galenic.library.pbpk.tables import facts

BODY = physiology("human")
UNITS = {"mg/l": 1.0, "µg/l": 1e-3}


def table(folder, name):
    with (folder / "osp-observed" / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def observed(folder, drug):
    """Name, route, dose and levels (hours, mg/L) above zero of each profile."""
    levels = defaultdict(list)
    for row in table(folder, f"{drug}_observations.csv"):
        if float(row["value"]) > 0 and float(row["time"]) > 0:
            level = float(row["value"]) * UNITS[row["value_unit"]]
            levels[row["profile"]].append((float(row["time"]), level))
    for row in table(folder, f"{drug}_profiles.csv"):
        yield row["name"], row["route"], row["dose"], levels[row["profile"]]


def predicted(simulator, doses, levels):
    """Observed and predicted levels."""
    times = sorted({hours for hours, _ in levels})
    run = simulator.run(doses, times=[0.0, *(3600 * t for t in times)], outputs=["C"], rtol=1e-7)
    level = dict(zip(times, np.asarray(run["C"])[1:], strict=True))
    return [(value, float(level[hours])) for hours, value in levels]


def error(pairs):
    return mean_fold_error([p for _, p in pairs], [o for o, _ in pairs])


def bias(pairs):
    return 10 ** np.mean([np.log10(p / o) for o, p in pairs])


def exposure(levels):
    hours, level = (np.array(x) for x in zip(*sorted(levels), strict=True))
    return np.trapezoid(level, hours)


@pytest.fixture(scope="module")
def opioid(shared_data):
    """Pairs by profile. Of the simultaneous arms, times count from 3 or 24 h before the dose."""
    simulator, found = Simulator(alfentanil(BODY)), {}
    for name, route, dose, levels in observed(shared_data, "alfentanil"):
        if "cirrhosis" in name:
            continue
        if not dose:  # Kharasch 2012: doses as in the OSP report
            dose, route = ("20 µg/kg", "IV") if name.endswith("IV") else ("43 µg/kg", "PO")
        start = {"IV": 24.0, "PO": 21.0}[route] if "simultaneous" in name else 0.0
        mass = float(re.findall(r"[\d.]+", dose)[0]) * (1e-3 if "µg" in dose else 1.0)
        mass *= BODY.weight if "/kg" in dose else 1.0
        place = "A_ven" if route == "IV" else "intestine.stomach"
        after = [(hours - start, level) for hours, level in levels if hours > start]
        found[name] = route, predicted(simulator, Experiment().dose(place, f"{mass} mg"), after)
    return found


def of(found, route):
    return [p for name, (r, pairs) in found.items() if r == route and "Grape" not in name
            for p in pairs]  # fmt: skip


def test_alfentanil(opioid):
    """The published model, five numbers fitted to all of these: 1.26, 1.45 and 1.32 over all."""
    vein, mouth = of(opioid, "IV"), of(opioid, "PO")

    assert (len(vein), len(mouth)) == (130, 74)
    assert error(vein) < 1.45
    assert error(mouth) < 1.5
    assert error(vein + mouth) < 1.45


def test_alfentanil_is_fitted_to_two_profiles_and_not_to_others(opioid):
    fitted, others = [], []
    for name, (route, pairs) in opioid.items():
        if route == "IV" and "Grape" not in name:
            built = name.startswith(("Ferrier", "Kharasch 1997"))
            (fitted if built else others).extend(pairs)

    assert bias(fitted) == pytest.approx(1.0, abs=0.03)
    assert 0.8 < bias(others) < 1.25


def test_grapefruit_acts_in_the_gut_and_within_its_bound(shared_data):
    """In a vein nothing changes; by mouth exposure rises, at most by 1 / Fg."""
    areas = {name: exposure(levels) for name, _, _, levels in observed(shared_data, "alfentanil")
             if "2011b" in name and "sequential" in name}  # fmt: skip
    ratio = {
        route: next(a for n, a in areas.items() if f"{route} Grapefruit" in n)
        / next(a for n, a in areas.items() if f"{route} Control" in n)
        for route in ("IV", "PO")
    }

    assert ratio["IV"] == pytest.approx(1.0, abs=0.15)
    assert 1.25 < ratio["PO"] < 1.0 / facts("alfentanil")["passes the wall of the gut"] + 0.15


PLANS = {  # interval [h], doses, as in the OSP model: infusions of 1 h
    "Boekh 1988 - mean 0.5g": (24, 1), "Boekh 1988 - mean 1g": (24, 1),
    "Healy 1987 - mean 0.5g": (6, 5), "Healy 1987 - mean 1g": (12, 3),
}  # fmt: skip


def test_vancomycin(shared_data):
    """Fitted to Boeckh 1988, predicted of Healy 1987. Published, fitted to all: 1.11."""
    simulator, found = Simulator(vancomycin(BODY)), defaultdict(list)
    for name, _, dose, levels in observed(shared_data, "vancomycin"):
        every, count = next(plan for start, plan in PLANS.items() if name.startswith(start))
        doses = Experiment().dose("dose", dose, duration="1 h", every=f"{every} h", count=count)
        found[name[:5]] += predicted(simulator, doses, levels)

    assert sum(len(pairs) for pairs in found.values()) == 85
    assert error(found["Boekh"]) < 1.15
    assert error(found["Healy"]) < 1.3


@pytest.mark.parametrize("drug", [alfentanil, vancomycin])
@pytest.mark.parametrize("species", ["mouse", "rat", "human"])
def test_the_mass_balance_closes(drug, species):
    model = drug(physiology(species))
    run = model.simulate(
        Experiment().dose("intestine.stomach", "5 mg").dose("A_ven", "1 mg"), until="48 h",
        rtol=1e-10, atol=1e-14,
    )  # fmt: skip

    assert run.drift("drug") < 1e-9
