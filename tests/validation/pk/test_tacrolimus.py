"""Tacrolimus against the printed averages of case V14."""

from __future__ import annotations

import numpy as np
import pytest

from galenic import Experiment
from galenic.library.patient.genes import phenotype
from galenic.library.pk.tacrolimus import Tacrolimus, tacrolimus_storset_2014

CASES = [
    ("*3/*3", 0.0, 0.36, 0.513769, 18.4359),
    ("*1/*3", 10.0, 0.33, 0.275819, 9.6105),
]


def individual(diplotype, prednisolone, hematocrit):
    """Values of a typical person of 60 kg fat-free mass."""
    expresser = float(phenotype("CYP3A5", diplotype).is_expresser)
    covariates = {
        "FFM": 60.0, "CYP3A5_expresser": expresser, "hematocrit": hematocrit,
        "prednisolone": f"{prednisolone} mg/d",
    }  # fmt: skip
    return tacrolimus_storset_2014().for_subject(covariates).values()


@pytest.mark.parametrize(("diplotype", "prednisolone", "hematocrit", "plasma", "blood"), CASES)
def test_averages_at_steady_state_are_those_of_case_v14(
    diplotype, prednisolone, hematocrit, plasma, blood
):
    """5 mg every 12 h for 40 days; the slowest half-life is two days."""
    doses = Experiment().dose("absorption.depot", "5 mg", every="12 h", count=80)
    values = individual(diplotype, prednisolone, hematocrit)

    found = Tacrolimus().simulate(doses, times=["948 h", "960 h"], values=values, rtol=1e-10)

    area = np.asarray(found["body.AUC"])
    average = (area[-1] - area[-2]) / 12.0 * 1000.0  # mg h/L over 12 h, in ug/L
    assert average == pytest.approx(plasma, rel=5e-6)  # six digits are printed
    bound = 418.0 * hematocrit / (average + 3.8)
    assert average * (1 + bound) == pytest.approx(blood, rel=5e-6)


@pytest.mark.parametrize("hematocrit", [0.25, 0.36])
def test_whole_blood_follows_hematocrit_and_plasma_does_not(hematocrit):
    values = {"hematocrit": hematocrit}
    doses = Experiment().dose("absorption.depot", "5 mg")

    found = Tacrolimus().simulate(doses, until="24 h", every="1 h", values=values)

    plasma = 1000 * np.asarray(found["body.C"])
    expected = plasma * (1 + 418 * hematocrit / (plasma + 3.8))
    assert np.asarray(found["Cwb"]) == pytest.approx(expected, rel=1e-9)
    usual = Tacrolimus().simulate(doses, until="24 h", every="1 h")
    assert np.asarray(usual["body.C"]) == pytest.approx(np.asarray(found["body.C"]), rel=1e-9)


def test_the_population_has_the_published_covariance():
    expected = [[0.14842, 0.08385, 0.13809], [0.08385, 0.25612, 0.0], [0.13809, 0.0, 0.33429]]

    assert tacrolimus_storset_2014().omega == pytest.approx(np.array(expected))
