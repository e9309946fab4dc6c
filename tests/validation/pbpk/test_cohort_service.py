"""The services over cohorts and interactions."""

from __future__ import annotations

import numpy as np
import pytest

from galenic import Experiment
from galenic.errors import DataError
from galenic.library.pbpk.drugs import alfentanil
from galenic.library.pbpk.growth import ontogeny, person
from galenic.library.pbpk.physiology import physiology
from galenic.library.pbpk.tables import facts
from galenic.stages.clinical.services import cohort_exposure, interaction_risk

MEANS = """sex,covariate,kind,mean,sd,low,high
all,age,normal,45,12,18,85
all,weight,lognormal,78,14,45,150
all,height,normal,172,8,145,205
"""
PAIRS = "sex,one,other,correlation\nall,weight,height,0.45"


@pytest.mark.parametrize("drug", ["alfentanil", "vancomycin"])
def test_a_cohort_from_means(drug):
    result = cohort_exposure(
        drug=drug, dose="1 mg", means=MEANS, correlations=PAIRS, count=30, horizon="12 h",
        conditions="condition,share\nhealthy,0.5\ncirrhosis C,0.5",
    )  # fmt: skip

    groups, persons = result.tables
    assert sum(groups["persons"]) == len(persons["AUC"]) == 30
    assert result.values["AUC"].value == pytest.approx(np.median(persons["AUC"]))
    if drug == "alfentanil":
        ill, healthy = groups["median"]
        assert ill > 1.5 * healthy


def test_exposure_is_the_area_of_the_person():
    """A bolus falls faster than the plot's times follow: the area is integrated by the model."""
    rows = "sex,age,weight,height\n" + "\n".join(
        f"male,{40 + k * 1e-6},{73 + k * 1e-6},{176 + k * 1e-6}" for k in range(4)
    )
    result = cohort_exposure(
        drug="alfentanil", dose="1 mg", persons=rows, female=0.0, variation=0.0, count=2,
        horizon="48 h",
    )  # fmt: skip

    body, own = person(40, "male"), facts("alfentanil")
    usual = physiology("human").volumes["liver"]
    clint = own["intrinsic clearance of the liver"] * body.volumes["liver"] / usual
    clint *= ontogeny("CYP3A4", 40.0)
    model = alfentanil(body, liver={"CLint": f"{clint!r} L/h"})
    run = model.simulate(Experiment().dose("A_ven", "1 mg"), until="48 h", rtol=1e-9)
    assert result.values["AUC"].value == pytest.approx(float(run["AUC"][-1]), rel=1e-4)


def test_a_cohort_like_persons_that_are_given():
    rng = np.random.default_rng(1)
    rows = [f"male,{a},{w},{h}" for a, w, h in zip(
        rng.uniform(20, 60, 40), rng.normal(80, 10, 40), rng.normal(178, 6, 40), strict=True
    )]  # fmt: skip
    table = "\n".join(["sex,age,weight,height", *rows])
    result = cohort_exposure(
        drug="vancomycin", dose="1000 mg", persons=table, female=0.0, count=20, horizon="12 h"
    )

    assert set(result.tables[1]["sex"]) == {"male"}
    assert all(20 <= age <= 60 for age in result.tables[1]["age"])


def test_one_source_of_persons_is_needed():
    with pytest.raises(DataError, match="neither means nor persons"):
        cohort_exposure(drug="alfentanil", dose="1 mg", count=3)


def test_an_interaction_by_the_static_formulas():
    """The worked example of test_interaction.py: R3 0.21, ratio of exposure 0.23."""
    result = interaction_risk(
        level="0.16482 umol/L", fm=0.96, ki="12.5 umol/L", emax=7.35, ec50="1.64 umol/L",
        liver="0.1929 umol/L", gut="6.586 umol/L", passes_gut=0.57,
    )  # fmt: skip

    assert result.values["R3"].value == pytest.approx(0.21, abs=5.1e-3)
    assert result.values["AUC ratio"].value == pytest.approx(0.23, abs=5.1e-3)
    assert "beyond the limit: R3" in result.text
