"""Tissues behind a barrier, and blood that bypasses the liver, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from galenic import Experiment
from galenic.errors import DataError, UnknownName
from galenic.library.pbpk.liver import well_stirred
from galenic.library.pbpk.physiology import physiology
from galenic.library.pbpk.whole_body import BarrierTissue, whole_body

DRUG = {"fu": 0.2, "Rb": 0.8, "liver": {"CLint": "200 L/h"}}
KP = {"muscle": 2.0, "adipose": 5.0}


def levels(model, place="A_ven", until="24 h"):
    run = model.simulate(Experiment().dose(place, "10 mg"), until=until, every="0.5 h", rtol=1e-11,
                         atol=1e-15)  # fmt: skip
    assert run.drift("drug") < 1e-9
    return np.asarray(run["C"])[1:]


def test_two_spaces_empty_as_two_exponentials():
    """Rinsed by blood without drug, the tissue is a linear system of two; its exact solution."""
    V, Q, Kp, Rb, fu, PS, out, Ko = 2.0, 6.0, 3.0, 0.9, 0.25, 4.0, 0.3, 1.2
    tissue = BarrierTissue(
        V=f"{V} L", Q=f"{Q} L/h", Kp=Kp, Rb=Rb, fu=fu, PS=f"{PS} L/h", outside=out, K_outside=Ko
    )
    run = tissue.simulate(Experiment().dose("A", "10 mg"), until="6 h", every="1 h", rtol=1e-11)

    inside, outside = V * (Kp - out * Ko), V * out * Ko
    rate = np.array(
        [
            [-(Q * Rb + PS * fu) / outside, PS * fu / inside],
            [PS * fu / outside, -PS * fu / inside],
        ]
    )
    values, vectors = np.linalg.eig(rate)
    parts = np.linalg.solve(vectors, [10.0, 0.0])
    for k, hours in enumerate(run.times / 3600.0):
        expected = vectors @ (parts * np.exp(values * hours))
        found = [float(run["A"][k]), float(run["A_cell"][k])]
        assert found == pytest.approx(expected, rel=1e-7)


def test_without_a_barrier_only_the_flow_limits():
    """A permeability far above the flow gives the flow-limited body; error falls with 1 / PS."""
    body = physiology("human")
    free = levels(whole_body(body, Kp=KP, **DRUG))
    off = [
        np.max(np.abs(levels(whole_body(body, Kp=KP, barriers={"muscle": ps}, **DRUG)) / free - 1))
        for ps in ("1e5 L/h", "1e6 L/h")
    ]

    assert off[1] < 1e-4
    assert off[0] / off[1] == pytest.approx(10.0, rel=0.05)


def test_a_closed_barrier_leaves_the_space_outside():
    """With no permeability the tissue is one of partition outside * K_outside."""
    body = physiology("human")
    closed = whole_body(body, Kp=KP, barriers={"muscle": "0 L/h"}, **DRUG)
    small = whole_body(body, Kp=KP | {"muscle": 0.2}, **DRUG)

    assert levels(closed) == pytest.approx(levels(small), rel=1e-7)


def test_several_barriers_keep_the_balance_and_delay():
    body = physiology("human")
    slow = whole_body(
        body, Kp=KP, barriers={"muscle": "2 L/h", "adipose": "1 L/h", "brain": "0.1 L/h"}, **DRUG
    )
    oral = levels(slow, "intestine.stomach", "48 h")

    assert np.all(oral > 0)
    assert levels(slow)[0] > levels(whole_body(body, Kp=KP, **DRUG))[0]


def test_what_cannot_be_behind_a_barrier_is_named():
    body = physiology("human")
    with pytest.raises(UnknownName, match="liver"):
        whole_body(body, barriers={"liver": "1 L/h"})
    with pytest.raises(DataError, match=r"muscle: a partition of 0\.1"):
        whole_body(body, Kp={"muscle": 0.1}, barriers={"muscle": "1 L/h"})


def test_blood_that_bypasses_the_liver_is_not_cleared():
    """At steady state, clearance is the flow that passes the liver times its extraction."""
    healthy = physiology("human")
    shunt = 0.6
    through = healthy.flows["liver"] - shunt * healthy.portal
    body = healthy.with_changes(flows={"liver": through / healthy.flows["liver"]}, shunt=shunt)
    model = whole_body(body, **DRUG)
    steady = model.simulate(
        Experiment().dose("dose", "1e6 mg", duration="1e5 h"), until="1e5 h", rtol=1e-11
    )

    clearance = through * well_stirred(0.2 * 200 / 0.8, through)
    assert float(steady["A_art"][-1]) / (0.25 * body.blood) == pytest.approx(
        10.0 / clearance, rel=1e-6
    )
    assert body.hepatic_artery == pytest.approx(healthy.hepatic_artery, rel=1e-12)
    assert body.cardiac_output == healthy.cardiac_output
    levels(model)
