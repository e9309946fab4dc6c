"""A solid that dissolves along the gut, against the closed form of its linear limit and bounds."""

from __future__ import annotations

import numpy as np
import pytest

from galenic import Experiment
from galenic.library.pbpk.absorption import DissolvingIntestine, fraction_absorbed
from galenic.library.pbpk.physiology import physiology
from galenic.library.pbpk.whole_body import whole_body

PLENTY = "1e12 mg/L"


def absorbed(until="200 h", **values):
    model = DissolvingIntestine(**values)
    run = model.simulate(Experiment().dose("solid_stomach", "100 mg"), until=until, rtol=1e-11,
                         atol=1e-15)  # fmt: skip
    assert run.drift("drug in the intestine") < 1e-9
    return 1.0 - float(run["passed"][-1]) / 100.0, run


def in_plenty_of_fluid(ka, dissolve, empty=4.0, transit=199 / 60, segments=7):
    """Share absorbed of the linear chain: probabilities to dissolve, move and be absorbed."""
    on = segments / transit
    solid = empty / (empty + dissolve)
    dissolved, taken = 1.0 - solid, 0.0
    for _ in range(segments):
        dissolved += solid * dissolve / (on + dissolve)
        solid *= on / (on + dissolve)
        taken += dissolved * ka / (on + ka)
        dissolved *= on / (on + ka)
    return taken


@pytest.mark.parametrize(("ka", "dissolve"), [(0.5, 0.3), (2.0, 1.0), (5.0, 20.0)])
def test_in_plenty_of_fluid_the_share_absorbed_has_a_closed_form(ka, dissolve):
    share, _ = absorbed(ka=f"{ka} 1/h", k_dissolve=f"{dissolve} 1/h", solubility=PLENTY)

    assert share == pytest.approx(in_plenty_of_fluid(ka, dissolve), rel=1e-7)


def test_what_dissolves_at_once_is_a_solution():
    share, _ = absorbed(ka="1 1/h", k_dissolve="1e6 1/h", solubility=PLENTY)

    assert share == pytest.approx(fraction_absorbed(1.0), rel=1e-5)


def test_solubility_bounds_level_and_rate():
    """Solid in the first segment: no segment exceeds the solubility S, no rate ka S V."""
    ka, S, V = 2.0, 20.0, 0.105
    model = DissolvingIntestine(ka=f"{ka} 1/h", k_dissolve="1e3 1/h", solubility=f"{S} mg/L")
    run = model.simulate(
        Experiment().dose("solid[0]", "100 mg"), until="6 h", every="1 min", rtol=1e-10, atol=1e-12
    )
    level = np.array([np.asarray(run[f"x[{i}]"]) for i in range(7)]) / (V / 7)
    rate = np.asarray(run["absorbed.value"])

    assert level.max() <= S * (1 + 1e-6)
    assert level.max() == pytest.approx(S, rel=0.02)
    assert rate.max() <= ka * S * V * (1 + 1e-6)
    assert rate.max() > 0.8 * ka * S * V
    free, _ = absorbed(ka=f"{ka} 1/h", k_dissolve="1e3 1/h", solubility=PLENTY)
    assert np.trapezoid(rate, run.times / 3600.0) / 100.0 < 0.5 * free


def test_a_solid_in_the_whole_body_keeps_the_balance():
    """A small dose that dissolves fast comes up like a solution; a slow one later and lower."""
    body = physiology("human")
    levels = []
    for rate in ("1e5 1/h", "0.5 1/h"):
        model = whole_body(
            body, lumen=DissolvingIntestine, liver={"CLint": "100 L/h"},
            intestine={"ka": "2 1/h", "k_dissolve": rate},
        )  # fmt: skip
        run = model.simulate(Experiment().dose("intestine.solid_stomach", "1 mg"), until="24 h",
                             every="0.25 h", rtol=1e-10, atol=1e-15)  # fmt: skip
        assert run.drift("drug") < 1e-9
        levels.append(np.asarray(run["C"]))
    solution = whole_body(body, liver={"CLint": "100 L/h"}, intestine={"ka": "2 1/h"})
    run = solution.simulate(Experiment().dose("intestine.stomach", "1 mg"), until="24 h",
                            every="0.25 h", rtol=1e-10, atol=1e-15)  # fmt: skip

    assert levels[0][2:] == pytest.approx(np.asarray(run["C"])[2:], rel=1e-3)
    assert levels[1].max() < 0.8 * levels[0].max()
    assert np.argmax(levels[1]) > np.argmax(levels[0])
