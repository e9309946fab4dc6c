"""Interactions: static formulas against a published table, and dynamic ones against the static."""

from __future__ import annotations

import math

import numpy as np
import pytest

from galenic import Experiment
from galenic.engine.simulate import Simulator
from galenic.errors import DataError
from galenic.library.pbpk.interaction import (
    KDEG_GUT,
    KDEG_LIVER,
    Perpetrator,
    basic,
    enteric,
    exposure_ratio,
    hepatic_inlet,
)
from galenic.library.pbpk.physiology import physiology
from galenic.library.pbpk.turnover import DrugInteraction, Enzyme
from galenic.library.pbpk.whole_body import body_values

# The worked example of the R package ddir (fictional drug "examplinib"): 450 mg, 492.6 g/mol, Cmax
# 3530 ng/mL, fu 0.023, Rb 1, Fa 0.81, ka 0.00267 1/min; tables printed to two decimals.
MOLAR = 492.6
CMAX, FU = 3.53, 0.023
GUT = enteric(450.0, 0.00267 * 60, 0.81) / MOLAR * 1e3
LIVER = hepatic_inlet(CMAX, FU, dose=450.0, ka=0.00267 * 60, Fa=0.81) / MOLAR * 1e3
EXAMPLE = {  # Ki, Fg, fm: Ag, Ah, AUCR
    "CYP2C8": (11.0, 1.0, 0.61, 0.63, 0.98, 1.01),
    "CYP2C9": (0.60, 1.0, 0.91, 0.08, 0.76, 1.28),
    "CYP2C19": (0.25, 1.0, 0.87, 0.04, 0.56, 1.61),
}


@pytest.mark.parametrize("enzyme", EXAMPLE)
def test_a_published_table_of_inhibition(enzyme):
    """Half a unit of the last digit printed."""
    Ki, Fg, fm, gut, liver, ratio = EXAMPLE[enzyme]
    drug = Perpetrator(Ki=Ki)

    in_gut, in_liver = drug.remaining(GUT, KDEG_GUT), drug.remaining(LIVER, KDEG_LIVER)
    assert in_gut == pytest.approx(gut, abs=5.1e-3)
    assert in_liver == pytest.approx(liver, abs=5.1e-3)
    assert exposure_ratio(fm, liver=in_liver, gut=in_gut, Fg=Fg) == pytest.approx(ratio, abs=5.1e-3)


def test_a_published_table_of_induction_with_inhibition():
    """The same drug at CYP3A4: Ag .65, Ah .98, Cg 6.88, Ch 1.77, ratio for midazolam .23."""
    drug = Perpetrator(Ki=12.5, Emax=7.35, EC50=1.64)

    assert drug.reversible(GUT) == pytest.approx(0.65, abs=5.1e-3)
    assert drug.reversible(LIVER) == pytest.approx(0.98, abs=5.1e-3)
    assert drug.induced(GUT) == pytest.approx(6.88, abs=5.1e-3)
    assert drug.induced(LIVER) == pytest.approx(1.77, abs=5.1e-3)
    ratio = exposure_ratio(
        0.96,
        liver=drug.remaining(LIVER, KDEG_LIVER),
        gut=drug.remaining(GUT, KDEG_GUT),
        Fg=0.57,
    )
    assert ratio == pytest.approx(0.23, abs=5.1e-3)
    level = CMAX * FU / MOLAR * 1e3
    assert basic(drug, level)["R3"] == pytest.approx(0.21, abs=5.1e-3)


def test_basic_models_by_hand():
    """R1 = 1 + I / Ki; R2 = (kobs + kdeg) / kdeg at 50 I."""
    drug = Perpetrator(Ki=2.0, kinact=3.0, KI=4.0)
    found = basic(drug, 0.1, kdeg=0.02, gut=30.0)

    assert found["R1"] == pytest.approx(1.05)
    assert found["R1 gut"] == pytest.approx(16.0)
    assert found["R2"] == pytest.approx((3.0 * 5.0 / 9.0 + 0.02) / 0.02)
    with pytest.raises(DataError, match="only one of kinact and KI"):
        Perpetrator(kinact=1.0)
    with pytest.raises(DataError, match=r"fm is 1\.2"):
        exposure_ratio(1.2)


def test_an_enzyme_comes_back_as_it_turns_over():
    """Half of the enzyme gone: E = 1 - exp(-kdeg t) / 2."""
    run = Enzyme(E=0.5).simulate(until="100 h", every="10 h", rtol=1e-11)

    hours = run.times / 3600.0
    expected = 1.0 - 0.5 * np.exp(-KDEG_LIVER * hours)
    assert np.asarray(run["E"]) == pytest.approx(expected, rel=1e-9)
    assert math.log(2) / KDEG_LIVER == pytest.approx(35.9, abs=0.05)


BODY = physiology("human")
VICTIM = {"fu": 0.05, "Rb": 0.7, "liver": {"CLint": "300 L/h"},
          "intestine": {"ka": "2 1/h", "Fg": 0.6}}  # fmt: skip
OTHER = {"fu": 0.3, "Rb": 1.0, "liver": {"CLint": "20 L/h"}}
MECHANISMS = {
    "reversible": {"Ki": 0.2},
    "inactivation": {"kinact": 0.06, "KI": 0.5},
    "induction": {"Emax": 6.0, "EC50": 0.4},
    "all": {"Ki": 0.8, "kinact": 0.02, "KI": 0.5, "Emax": 3.0, "EC50": 0.4},
}
UNITS = {"Ki": "mg/L", "kinact": "1/h", "KI": "mg/L", "EC50": "mg/L", "Emax": ""}


def exposure(model, perpetrator, place, start="3000 h"):
    """Area under the victim's level, whose dose is given when the perpetrator is steady."""
    doses = Experiment().dose(f"victim.{place}", "1e-3 mg", at=start)
    if perpetrator:
        doses = doses.dose("perpetrator.dose", "4e5 mg", duration="4000 h")
    names = ["victim.metabolised", "victim.C", "victim.intestine.passed",
             "liver.perpetrator.value", "liver.E"]  # fmt: skip
    times = np.concatenate([[0.0], 3000.0 + np.linspace(0.0, 400.0, 8001)]) * 3600.0
    run = Simulator(model).run(doses, times=times, outputs=names, rtol=1e-10, atol=1e-16)
    return np.trapezoid(np.asarray(run["victim.C"])[1:], times[1:] / 3600.0), run


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_at_a_steady_perpetrator_dynamic_is_static(mechanism):
    """Oral exposure is Fa Fg dose / (fu CLint), so its ratio is the static one, for any flow."""
    numbers, fm = MECHANISMS[mechanism], 0.9
    enzyme = {name: f"{value} {UNITS[name]}" for name, value in numbers.items()} | {"fm": fm}
    model = DrugInteraction(
        victim=body_values(BODY, **VICTIM),
        perpetrator=body_values(BODY, **OTHER),
        liver=enzyme,
    )
    alone, _ = exposure(model, False, "intestine.stomach")
    both, run = exposure(model, True, "intestine.stomach")

    level = float(run["liver.perpetrator.value"][-1])
    remaining = Perpetrator(**numbers).remaining(level, KDEG_LIVER)
    assert float(run["liver.E"][-1]) == pytest.approx(
        remaining / Perpetrator(Ki=numbers.get("Ki")).reversible(level), rel=1e-6
    )
    assert both / alone == pytest.approx(exposure_ratio(fm, liver=remaining), rel=2e-4)
    (balance,) = [b for b in model.flatten().conserved if b.name == "victim.drug"]
    assert run.drift(balance) < 1e-9


def test_the_wall_of_the_gut_follows_its_static_term():
    """A steady activity X of the wall changes what passes to Fg / (Fg + X (1 - Fg))."""
    from galenic.library.pbpk.absorption import Intestine

    class Inhibited(Intestine):
        """The wall at a third of its activity."""

        def equations(m):
            yield m.activity.value == 1.0 / 3.0
            yield from super().equations()

    found = []
    for kind in (Intestine, Inhibited):
        run = kind(Fg=0.6).simulate(Experiment().dose("stomach", "1 mg"), until="60 h", rtol=1e-10)
        taken = 1.0 - float(run["passed"][-1])
        found.append((taken - float(run["consumed"][-1])) / taken)

    assert found[0] == pytest.approx(0.6, rel=1e-8)
    assert found[1] / found[0] == pytest.approx(
        exposure_ratio(0.0, gut=1.0 / 3.0, Fg=0.6), rel=1e-8
    )
