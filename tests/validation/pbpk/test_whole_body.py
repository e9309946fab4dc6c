"""The whole body against the liver models, the closed form of transit, and the balance of drug."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from galenic import Experiment
from galenic.errors import DataError, UnknownName
from galenic.library.pbpk.absorption import Intestine, fraction_absorbed
from galenic.library.pbpk.liver import dispersed, parallel_tube, well_stirred
from galenic.library.pbpk.physiology import ORGANS, PORTAL, SYSTEMIC, physiology
from galenic.library.pbpk.whole_body import whole_body

SPECIES = ("mouse", "rat", "human")
DRUG = {"fu": 0.031, "Rb": 0.66}
KP = {"adipose": 17.8, "muscle": 0.44, "brain": 1.54, "liver": 1.44}


def clearing(body, clint, **values):
    return whole_body(body, Kp=KP, liver={"CLint": f"{clint} L/h"}, **DRUG, **values)


def area(model, experiment, until="2000 h"):
    """Area under venous plasma to infinity [mg h/L]: plasma returns all, so the rest is nil."""
    run = model.simulate(experiment, until=until, every="0.05 h", rtol=1e-10)
    assert run.drift("drug") < 1e-9
    hours = run.times / 3600.0
    level = np.asarray(run["C"])
    # After the infusion trapezoids follow; during it they leave more than after.
    assert float(run["AUC"][-1]) == pytest.approx(np.trapezoid(level, hours), rel=2e-2)
    tail = level[-1] / -(np.log(level[-1] / level[-200]) / (hours[-1] - hours[-200]))
    return np.trapezoid(level, hours) + tail, run


@pytest.mark.parametrize("species", SPECIES)
def test_flows_and_volumes_close(species):
    body = physiology(species)

    systemic = sum(body.flows[organ] for organ in (*SYSTEMIC, "rest", "liver"))
    assert systemic == pytest.approx(body.cardiac_output, rel=1e-12)
    assert sum(body.volumes.values()) + body.blood == pytest.approx(body.weight, rel=1e-12)
    assert body.hepatic_artery + sum(body.flows[o] for o in PORTAL) == body.flows["liver"]


def test_the_table_is_that_of_its_source(shared_data):
    """Every figure of ours stands in httk's own table."""
    rows = (shared_data / "physiology" / "tissue_by_species.csv").read_text().splitlines()
    names = {"Vol (L/kg)": "volume", "Flow (mL/min/kg^(3/4))": "flow"}
    theirs = {
        (row["Species"].lower(), row["Tissue"], names[row["variable"]]): float(row["value"])
        for row in csv.DictReader(rows)
        if row["variable"] in names
    }
    for species in SPECIES:
        body = physiology(species, 1.0)
        for organ in ORGANS[:-1]:
            volume, flow = theirs[species, organ, "volume"], theirs[species, organ, "flow"]
            assert body.volumes[organ] == pytest.approx(volume, rel=1e-3)
            assert body.flows[organ] == pytest.approx(flow * 0.06, rel=1e-3)


@pytest.mark.parametrize("clint", [3.0, 300.0, 3e5])
def test_the_liver_in_the_body_is_the_well_stirred_one(clint):
    """At steady state arterial blood holds rate / (Q_h E); from little to flow-limited."""
    body = physiology("human")
    model = clearing(body, clint)
    steady = model.simulate(
        Experiment().dose("dose", "1e6 mg", duration="1e5 h"), until="1e5 h", rtol=1e-11
    )

    unbound = DRUG["fu"] * clint / DRUG["Rb"]
    clearance = body.flows["liver"] * well_stirred(unbound, body.flows["liver"])
    arterial = float(steady["A_art"][-1]) / (0.25 * body.blood)
    assert arterial == pytest.approx(10.0 / clearance, rel=1e-6)


@pytest.mark.parametrize("species", SPECIES)
def test_a_part_of_an_oral_dose_passes_gut_and_liver(species):
    """AUC by mouth over AUC in a vein = Fa (1 - E); trapezoids of 3 min leave 1e-3."""
    body = physiology(species)
    clint = 2.0 * body.flows["liver"] * DRUG["Rb"] / DRUG["fu"]
    model = clearing(body, clint, intestine={"ka": "1 1/h", "k_empty": "4 1/h"})
    end = {"human": "400 h"}.get(species, "100 h")
    oral, _ = area(model, Experiment().dose("intestine.stomach", "1 mg"), end)
    vein, _ = area(model, Experiment().dose("dose", "1 mg", duration="0.5 h"), end)

    expected = fraction_absorbed(1.0) * (1.0 - 2.0 / 3.0)
    assert oral / vein == pytest.approx(expected, rel=1e-3)


def test_what_is_filtered_appears_in_urine():
    """Renal clearance from blood is fu GFR / Rb; with it alone a bolus leaves entirely by it."""
    body = physiology("human")
    model = whole_body(body, kidney={"filtered": 1.0}, **DRUG)
    run = model.simulate(Experiment().dose("A_ven", "10 mg"), until="6000 h", rtol=1e-10)

    assert float(run["excreted"][-1]) == pytest.approx(10.0, rel=1e-6)
    assert run.drift("drug") < 1e-9


def test_absorption_along_the_gut():
    for ka in (0.1, 1.0, 5.0):
        run = Intestine(ka=f"{ka} 1/h").simulate(
            Experiment().dose("stomach", "100 mg"), until="60 h", rtol=1e-11
        )
        absorbed = 100.0 - float(run["passed"][-1])
        assert absorbed == pytest.approx(100.0 * fraction_absorbed(ka), rel=1e-8)


def test_liver_models_keep_their_order_and_limits():
    """Well stirred extracts least; dispersion lies between and has both as its limits."""
    for unbound in (1.0, 50.0, 500.0):
        low, high = well_stirred(unbound, 90.0), parallel_tube(unbound, 90.0)
        assert low < dispersed(unbound, 90.0) < high
        assert dispersed(unbound, 90.0, 1e-4) == pytest.approx(high, rel=2e-3)
        assert dispersed(unbound, 90.0, 1e4) == pytest.approx(low, rel=2e-3)


def test_a_changed_body_still_closes_or_says_why():
    pregnant = physiology("human", 75.0).with_changes(flows={"kidney": 1.3}, gfr=11.0)
    assert sum(pregnant.flows[o] for o in (*SYSTEMIC, "rest", "liver")) == pytest.approx(
        pregnant.cardiac_output
    )
    with pytest.raises(DataError, match="more blood flow than the body has"):
        physiology("human").with_changes(flows={"brain": 3.0})
    with pytest.raises(UnknownName, match="brain"):
        physiology("human").with_changes(flows={"brian": 1.1})
    with pytest.raises(UnknownName):
        whole_body(physiology("rat"), Kp={"head": 2.0})
