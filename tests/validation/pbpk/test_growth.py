"""Bodies of all ages, pregnancy, cirrhosis, failing kidneys: published values and balances."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from galenic import Experiment
from galenic.errors import DataError, UnknownName
from galenic.library.pbpk.conditions import cirrhosis, pregnant, renal_impairment, unbound
from galenic.library.pbpk.drugs import alfentanil
from galenic.library.pbpk.growth import ontogeny, person
from galenic.library.pbpk.physiology import SYSTEMIC, physiology
from galenic.library.pbpk.tables import facts

# Reference values of ICRP 89 as reprinted in Metrum's public voriconazole model [L, L/min].
BOY = {"adipose": 5.5, "bone": 2.43, "brain": 1.31, "heart": 0.085, "kidney": 0.11, "lung": 0.125,
       "muscle": 5.6, "spleen": 0.05}  # fmt: skip
MAN = {"adipose": 18.2, "bone": 10.5, "brain": 1.45, "heart": 0.33, "kidney": 0.31, "liver": 1.8,
       "lung": 0.5, "muscle": 29.0, "spleen": 0.15}  # fmt: skip


def closes(body):
    systemic = sum(body.flows[o] for o in (*SYSTEMIC, "rest", "liver"))
    assert systemic + body.shunt * body.portal == pytest.approx(body.cardiac_output, rel=1e-12)
    assert sum(body.volumes.values()) + body.blood == pytest.approx(body.weight, rel=1e-12)
    assert body.hepatic_artery > 0


@pytest.mark.parametrize(("age", "organs", "output"), [(5, BOY, 3.4), (30, MAN, 6.5)])
def test_reference_persons_are_the_published_ones(age, organs, output):
    body = person(age, "male")

    assert {organ: body.volumes[organ] for organ in organs} == pytest.approx(organs, rel=1e-9)
    assert body.cardiac_output / 60 == pytest.approx(output, rel=1e-9)
    closes(body)


@pytest.mark.parametrize("sex", ["male", "female"])
def test_bodies_of_all_ages_close_and_grow(sex):
    bodies = [person(age, sex) for age in np.linspace(0.0, 20.0, 81)]

    for body in bodies:
        closes(body)
    assert np.all(np.diff([b.volumes["liver"] for b in bodies]) >= 0)
    newborn, adult = bodies[0], bodies[-1]
    share = [b.flows["brain"] / b.cardiac_output for b in (newborn, adult)]
    assert share[0] > 2 * share[1]
    assert share[1] == pytest.approx(0.12, rel=1e-9)


@pytest.mark.parametrize(("weight", "height"), [(46.0, 185.0), (73.0, 190.0), (130.0, 176.0)])
def test_an_adult_is_lean_or_fat(weight, height):
    body, usual = person(40, "male", weight, height), person(40, "male")
    closes(body)
    assert body.volumes["brain"] == usual.volumes["brain"]
    assert (body.volumes["adipose"] > usual.volumes["adipose"]) == (weight > 73.0)


def test_kidneys_mature_as_published():
    """Rhodin 2009: half of the adult's at 47.7 weeks after the last period, by weight ^ 3/4."""
    half = person((47.7 - 40.0) * 7 / 365.25, "female", 4.5)
    adult = person(30, "male", 70.0)

    assert half.gfr / (4.5 / 70.0) ** 0.75 == pytest.approx(0.5 * 121.2 * 0.06, rel=1e-9)
    assert adult.gfr == pytest.approx(121.2 * 0.06, rel=1e-3)


def test_enzymes_mature_as_published():
    """Upreti and Wahlstrom 2016: at birth, halfway at the age of half maturation, adult."""
    assert ontogeny("CYP3A4", 0.0) == 0.11
    assert ontogeny("CYP3A4", 0.64) == pytest.approx((0.11 + 1.06) / 2)
    assert ontogeny("CYP2D6", 0.1) == pytest.approx((0.036 + 1.0) / 2)
    assert ontogeny("CYP3A4", 2.357, "gut") == pytest.approx((0.42 + 1.059) / 2)
    for enzyme in ("CYP2B6", "CYP2C8", "CYP2C9", "CYP2D6", "CYP3A4", "UGT1A1", "UGT1A4"):
        assert ontogeny(enzyme, 40.0) == pytest.approx(1.0, abs=0.08)
    with pytest.raises(UnknownName, match="CYP3A4"):
        ontogeny("CYP3A44", 1.0)


def test_pregnancy_follows_its_published_course():
    """Kapraun 2019, mean woman at week 30: the polynomials by hand, relative to week 0."""
    body = person(30, "female")
    late = pregnant(body, 30.0)

    output = 301.78 + 3.2512 * 30 + 0.15947 * 30**2 - 0.0047059 * 30**3
    assert late.cardiac_output / body.cardiac_output == pytest.approx(output / 301.78)
    filtered = 113.73 + 3.5784 * 30 - 0.067272 * 30**2
    assert late.gfr / body.gfr == pytest.approx(filtered / 113.73)
    assert late.weight - body.weight == pytest.approx(
        -0.010614 * 30 + 0.029161 * 30**2 - 5.0203e-4 * 30**3
    )
    assert late.hematocrit < body.hematocrit
    assert late.blood > 1.2 * body.blood
    for week in range(42):
        closes(pregnant(body, week))
    assert pregnant(body, 0.0).gfr == pytest.approx(body.gfr, rel=1e-12)
    with pytest.raises(DataError, match="week 50"):
        pregnant(body, 50.0)


def test_kidneys_that_fail_keep_the_balances():
    body = physiology("human")
    ill = renal_impairment(body, 1.8)
    closes(ill)
    assert ill.gfr == 1.8
    assert ill.flows["kidney"] / body.flows["kidney"] == pytest.approx(1.8 / body.gfr)


def test_cirrhosis_is_what_its_table_says():
    body = physiology("human")
    for grade, portal, arterial in (("A", 0.40, 1.3), ("B", 0.36, 2.3), ("C", 0.04, 3.4)):
        ill = cirrhosis(body, grade)
        closes(ill.body)
        assert (1 - ill.body.shunt) * ill.body.portal == pytest.approx(portal * body.portal)
        assert ill.body.hepatic_artery == pytest.approx(arterial * body.hepatic_artery)
        assert ill.body.flows["rest"] == pytest.approx(body.flows["rest"])
    assert ill.clearance("CYP3A4") == pytest.approx(0.28 * 0.4)
    assert unbound(0.2, 1.0) == pytest.approx(0.2)


def exposure(body, clearance, fu):
    """Area under total plasma of 1 mg in a vein, to infinity."""
    usual = facts("alfentanil")["intrinsic clearance of the liver"]
    model = alfentanil(body, fu=fu, liver={"CLint": f"{usual * clearance!r} L/h"})
    run = model.simulate(Experiment().dose("dose", "1 mg", duration="0.1 h"), until="400 h",
                         every="0.05 h", rtol=1e-9)  # fmt: skip
    assert run.drift("drug") < 1e-9
    return np.trapezoid(np.asarray(run["C"]), run.times / 3600.0)


def test_cirrhosis_raises_alfentanil_as_observed(shared_data):
    """Ferrier 1985, 2.6 times to infinity; ours 1.2, 2.4 and 2.9 for grades A, B and C."""
    with (shared_data / "osp-observed" / "alfentanil_observations.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["profile"] in ("7", "8")]
    areas = []
    for profile in ("7", "8"):
        points = [(float(r["time"]), float(r["value"])) for r in rows if r["profile"] == profile]
        hours, level = (np.array(x) for x in zip(*points, strict=True))
        tail = -np.polyfit(hours[-4:], np.log(level[-4:]), 1)[0]
        areas.append(np.trapezoid(level, hours) + level[-1] / tail)
    body = physiology("human")
    healthy = exposure(body, 1.0, 0.1)
    found = {}
    for grade in "ABC":
        ill = cirrhosis(body, grade)
        area = exposure(ill.body, ill.clearance("CYP3A4"), unbound(0.1, ill.aag))
        found[grade] = area / healthy

    assert found["A"] < found["B"] < found["C"]
    assert found["A"] < areas[1] / areas[0] < found["C"]


def test_what_cannot_be_a_person_is_refused():
    with pytest.raises(DataError, match="an age of -1"):
        person(-1, "male")
    with pytest.raises(DataError, match="leave no room"):
        person(0, "male", 0.3)
