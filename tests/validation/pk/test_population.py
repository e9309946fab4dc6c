"""Published populations: the individuals of reference case V11, and calibration of forecasts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from galenic import Experiment, Simulator
from galenic.clock import SECOND
from galenic.errors import UnknownName
from galenic.inference.evidence import Bundle, Observation
from galenic.inference.map import MAP
from galenic.library.pk.populations import (
    gentamicin_xuan_2003,
    infliximab_fasanmade_2009,
    population,
    source,
    vancomycin_goti_2018,
)
from galenic.signals import Action
from galenic.units import from_si

HOUR = 3600 * SECOND


def followed(estimator, events, until=None):
    """Events (hours, amount mg, infusion h) and (hours, level mg/L), in order."""
    belief = estimator.start(None, 0)
    for event in events:
        time = round(event[0] * HOUR)
        belief = estimator.predict(belief, time, {})
        if len(event) == 3:
            dose = Action("dose", event[1], "mg", time, time, "dose", event[2] * 3600.0)
            belief = estimator.act(belief, dose)
        else:
            belief = estimator.correct(belief, Bundle(time, (Observation("C", event[1] * 1e-3),)))
    return belief if until is None else estimator.predict(belief, round(until * HOUR), {})


def individual(estimator, belief, path):
    name = f"individual.{path}"
    entry = estimator.model.system.entry(name)
    return float(from_si(estimator.observe(belief, [name])[name][0], entry.unit))


def test_v11a_vancomycin():
    """Monolix: CL 1.72, Vc 59.8, Vp 41.6."""
    population = vancomycin_goti_2018()
    estimator = MAP.for_population(population, values={"CLcr": "34 mL/min", "weight": "62 kg"})
    events = [(0, 1900.0, 1.0), (12, 14.8), (22.2, 1750.0, 1.0), (37.5, 22.5)]

    belief = followed(estimator, events)

    assert individual(estimator, belief, "CL") == pytest.approx(1.7209, abs=5e-5)
    assert individual(estimator, belief, "V1") == pytest.approx(59.78, abs=5e-3)
    assert belief.quantities()["V2"][0] == pytest.approx(41.56, abs=5e-3)


def test_v11b_vancomycin_areas():
    """AUC0-24 337.90, AUC24-48 325.31 mg h/L; CL 2.9912 L/h."""
    estimator = MAP.for_population(
        vancomycin_goti_2018(), values={"CLcr": "65 mL/min", "weight": "70 kg"}
    )
    belief = followed(estimator, [(0, 2000.0, 2.0), (13, 12.0), (24.2, 1000.0, 2.0), (48, 9.5)])
    values = {name: f"{v} {u}" for name, (v, _, u) in belief.quantities().items()}
    own = {name: values[name] for name in ("CL", "V1", "V2")}
    doses = Experiment().dose("dose", "2000 mg", "0 h", "2 h").dose("dose", "1 g", "24.2 h", "2 h")

    run = Simulator(vancomycin_goti_2018().flatten()).run(
        doses, values={**own, "CLcr": "65 mL/min", "weight": "70 kg"},
        times=["24 h", "48 h"], rtol=1e-10,
    )  # fmt: skip

    assert belief.notes["eta"] == pytest.approx((0.08208, 0.06122, 0.06286), abs=1e-5)
    assert run["AUC"][0] == pytest.approx(337.90, abs=0.01)
    assert run["AUC"][1] - run["AUC"][0] == pytest.approx(325.31, abs=0.01)
    assert individual(estimator, belief, "CL") == pytest.approx(2.9912, abs=5e-5)


def test_v11d_gentamicin():
    estimator = MAP.for_population(
        gentamicin_xuan_2003(), values={"CLcr": "38 mL/min", "weight": "63 kg"}
    )

    belief = followed(estimator, [(0, 180.0, 0.5), (1, 9.0), (11, 2.0)], until=44.9)

    expected = (0.03701, 0.001447, 0.08905, -0.04839)
    assert belief.notes["eta"] == pytest.approx(expected, abs=1e-5)
    assert estimator.observe(belief, ["C"])["C"][0] * 1e3 == pytest.approx(0.4991, abs=5e-5)


def test_dialysis_changes_clearance_and_volume():
    values = vancomycin_goti_2018().for_subject({"dialysis": 1.0, "CLcr": "120 mL/min"}).values()

    assert values["CL"].value == pytest.approx(4.5 * 0.7)
    assert values["V1"].value == pytest.approx(58.4 * 79 / 70 * 0.5)


def test_populations_are_found_by_drug():
    assert population("gentamicin") is gentamicin_xuan_2003()
    assert "doi:" in source("vancomycin")
    with pytest.raises(UnknownName, match="vancomicin"):
        population("vancomicin")


# --- calibration -----------------------------------------------------------------------------

PATIENTS = 80
DOSES = [(0.0, 1.0), (12.0, 1.0), (24.0, 1.0), (36.0, 1.0)]
DRAWN = (26.0, 35.5)
TROUGH = 48.0


def simulated(cohort, i, amount):
    """True concentrations at the times of the levels and of the next trough [mg/L]."""
    doses = Experiment()
    for hours, length in DOSES:
        doses = doses.dose("dose", f"{amount} mg", f"{hours} h", f"{length} h")
    run = Simulator(cohort.population.system).run(
        doses, values=cohort[i], times=[f"{t} h" for t in (*DRAWN, TROUGH)], rtol=1e-9
    )
    return np.asarray(run["C"])


def study(patients=PATIENTS, draws=300):
    """Per virtual patient: true and measured trough, quantiles and mode of the forecast [mg/L]."""
    people, rng = vancomycin_goti_2018(), np.random.default_rng(2018)
    cohort = people.sample(patients, rng)
    rows = []
    for i in range(patients):
        covariates = dict(zip(("CLcr", "weight", "dialysis"), cohort.covariates[i], strict=True))
        amount = 250.0 * max(1, round(15 * covariates["weight"] / 250))
        true = simulated(cohort, i, amount)
        sd = people.residuals[0].sd(true * 1e-3, people.system.entry("C").unit) * 1e3
        seen = np.maximum(true + sd * rng.standard_normal(3), 0.0)
        units = {"CLcr": "mL/min", "weight": "kg", "dialysis": "1"}
        values = {k: float(from_si(v, units[k])) for k, v in covariates.items()}
        estimator = MAP.for_population(people, values=values)
        events = [(h, amount, length) for h, length in DOSES]
        events += list(zip(DRAWN, seen[:2], strict=True))
        belief = followed(estimator, sorted(events), TROUGH)
        members = estimator.members(belief, draws, rng)
        natural = np.array([estimator.model.natural(w) for w in members])
        names = belief.names
        volume = natural[:, names.index("V1")] * (values["weight"] / 70)
        forecast = natural[:, names.index("A1")] / volume * 1e3
        mode = estimator.observe(belief, ["C"])["C"][0] * 1e3
        rows.append((true[2], seen[2], *np.quantile(forecast, (0.05, 0.5, 0.95)), mode))
    return np.array(rows)


@pytest.mark.slow
def test_intervals_of_the_next_trough_hold_what_they_say():
    """90 % intervals of 80 virtual patients with two levels each; the mission asks 82 to 97 %."""
    rows = study()
    true, _, low, middle, high, mode = rows.T

    covered = np.mean((true >= low) & (true <= high))
    error = 2 * (mode - true) / (mode + true)
    print(f"coverage {covered:.3f}, rBias {100 * error.mean():.1f} %, "
          f"rRMSE {100 * np.sqrt(np.mean(error**2)):.1f} %, "
          f"P30 {np.mean(np.abs(mode / true - 1) < 0.3):.2f}, "
          f"median of draws / mode {np.median(middle / mode):.3f}")  # fmt: skip

    assert 0.82 <= covered <= 0.97
    assert abs(error.mean()) < 0.15


INFLIXIMAB = [  # V13: 5 mg/kg over 2 h at day 0, 14, 42; level at 2 h, 14, 42, 98 d; half-life [d]
    (77, 4.1, 0, 0, (106.963, 23.598, 16.317, 3.253), 12.863),
    (77, 4.1, 1, 0, (106.712, 16.429, 7.285, 0.694), 8.818),
    (60, 3.0, 0, 1, (107.174, 15.276, 7.344, 0.799), 9.366),
]


@pytest.mark.parametrize(
    ("weight", "albumin", "antibodies", "female", "levels", "half_life"), INFLIXIMAB
)
def test_infliximab_has_its_published_course(
    weight, albumin, antibodies, female, levels, half_life
):
    subject = infliximab_fasanmade_2009().for_subject(
        {"weight": weight, "albumin": albumin, "antibodies": antibodies, "female": female}
    )
    doses = Experiment()
    for day in (0, 14, 42):
        doses = doses.dose("dose", f"{5 * weight} mg", at=f"{day} d", duration="2 h")

    day = 86_400.0
    run = Simulator(infliximab_fasanmade_2009().model).run(
        doses, values=subject.values(), times=[7200.0, 14 * day, 42 * day, 98 * day, 120 * day],
        outputs=["C"], rtol=1e-9,
    )  # fmt: skip

    assert run["C"][:4] == pytest.approx(levels, abs=6e-4)
    terminal = math.log(run["C"][3] / run["C"][4]) / 22
    assert math.log(2) / terminal == pytest.approx(half_life, abs=6e-4)
