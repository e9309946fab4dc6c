"""Dose advice against closed forms and the published cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from galenic import Experiment
from galenic.clock import SECOND
from galenic.decision.dosing import (
    Course,
    Grid,
    Limit,
    Regimen,
    Rules,
    Target,
    advise,
    amount_for,
)
from galenic.decision.exposure import responses as responses_of
from galenic.decision.exposure import words
from galenic.errors import DataError, UnknownName
from galenic.inference.evidence import Bundle, Observation
from galenic.inference.map import MAP
from galenic.library.pk.compartments import MichaelisMenten, OneCompartment, TwoCompartment
from galenic.library.pk.populations import gentamicin_xuan_2003, vancomycin_goti_2018
from galenic.signals import Action

HOUR = 3600 * SECOND
MG = 1e-6


def dose(amount, hours, over):
    time = round(hours * HOUR)
    return Action("dose", amount, "mg", time, time, "dose", over * 3600.0)


def level(hours, value):
    return Bundle(round(hours * HOUR), (Observation("C", value * 1e-3),))


def followed(estimator, events, until):
    belief = estimator.start(None, 0)
    for event in events:
        time = event.time if isinstance(event, Bundle) else event.source_time
        belief = estimator.predict(belief, time, {})
        belief = (estimator.correct if isinstance(event, Bundle) else estimator.act)(belief, event)
    return estimator.predict(belief, round(until * HOUR), {})


def drawn(estimator, belief, n=200, seed=0):
    w = estimator.members(belief, n, np.random.default_rng(seed))
    return np.array([estimator.model.natural(row) for row in w])


def patient(clcr="65 mL/min", weight="70 kg", events=None, until=48.0):
    """Reference case V11b unless said otherwise."""
    if events is None:
        events = [dose(2000, 0, 2.0), level(13, 12.0), dose(1000, 24.2, 2.0), level(48, 9.5)]
    estimator = MAP.for_population(vancomycin_goti_2018(), values={"CLcr": clcr, "weight": weight})
    return estimator, followed(estimator, events, until)


def responses(system, belief, draws, grid, course=None):
    return responses_of(system, belief, draws, grid.intervals, grid.infusions, course)


GRID = Grid([f"{a} mg" for a in range(250, 2001, 250)], daily="4000 mg", rate="1000 mg/h")
AUC = Target("AUC24", 400, 600)


def test_next_dose_for_an_area_as_published():
    """Reference case V11b: 1411.6 mg over 2 h at 48 h for an AUC48-72 of 400 mg h/L."""
    estimator, belief = patient()
    grid = Grid(["1000 mg"], ["24 h"], ["2 h"])
    found = responses(estimator.model.system, belief, belief.point_vector, grid, Course("24 h"))

    amount = amount_for(found, grid.regimens()[0], "AUC24", 400 * 3.6)

    assert amount / MG == pytest.approx(1411.6, abs=0.05)


def test_next_dose_for_a_peak_as_published():
    """Reference case V11d: 237.59 mg of gentamicin over 0.5 h at 48 h for 12 mg/L at 49 h."""
    population = gentamicin_xuan_2003()
    estimator = MAP.for_population(population, values={"CLcr": "38 mL/min", "weight": "63 kg"})
    events = [dose(180, 0, 0.5), level(1, 9.0), level(11, 2.0)]
    belief = followed(estimator, events, 48.0)
    grid = Grid(["100 mg"], ["24 h"], ["30 min"])
    found = responses(estimator.model.system, belief, belief.point_vector, grid, Course("24 h"))

    amount = amount_for(found, grid.regimens()[0], "peak", 12e-3)

    assert belief.notes["eta"] == pytest.approx((0.03701, 0.001447, 0.08905, -0.04839), abs=2e-5)
    assert amount / MG == pytest.approx(237.59, abs=0.01)


@pytest.mark.parametrize("infusion", ["0 h", "1 h", "2 h"])
def test_superposed_courses_are_those_of_the_simulator(infusion):
    estimator, belief = patient()
    grid = Grid(["750 mg"], ["8 h"], [infusion])
    found = responses(estimator.model.system, belief, belief.point_vector, grid, Course("24 h"))
    regimen = grid.regimens()[0]
    place = "A1" if infusion == "0 h" else "dose"
    experiment = Experiment().dose(place, "750 mg", 0, infusion, every="8 h", count=3)
    values = {name: (v, u) for name, (v, _, u) in belief.quantities().items()}
    at = {name: f"{v} {u}" for name, (v, u) in values.items()}
    model = estimator.model.system
    from galenic import Simulator

    run = Simulator(model).run(
        experiment, values={**at, "CLcr": "65 mL/min", "weight": "70 kg"},
        times=[k * found.step for k in range(found.index(DAY) + 1)], rtol=1e-11,
    )  # fmt: skip
    ours = found.concentrations(regimen, DAY)[0]

    assert ours[:-1] == pytest.approx(run.si("C")[:-1], rel=1e-7)
    area = run.si("AUC")[-1] - run.si("AUC")[0]
    assert found.measure(regimen, "AUC24")[0] == pytest.approx(area, rel=1e-8)
    assert found.measure(regimen, "trough")[0] == pytest.approx(run.si("C")[-1], rel=1e-7)


DAY = 86_400.0


def test_steady_state_area_is_dose_over_clearance():
    system = OneCompartment(CL="3 L/h", V1="20 L").flatten()
    belief = at_rest(system)
    grid = Grid(["600 mg"], ["12 h", "36 h"], ["1 h"])
    found = responses(system, belief, belief.point_vector, grid, Course("20 d"))

    for regimen in grid.regimens():
        expected = regimen.daily / (3e-3 / 3600)
        assert found.measure(regimen, "AUC24")[0] == pytest.approx(expected, rel=1e-9)


def at_rest(system):
    from galenic.inference.belief import Gaussian

    return Gaussian.of(0, {entry.path: 0.0 for entry in system.states})


def test_the_best_regimen_meets_the_target_most_probably():
    estimator, belief = patient()
    draws = drawn(estimator, belief)

    advice = advise(
        estimator.model.system, belief, draws, GRID, [AUC], [Limit("AUC24", 650, 0.1)],
        course=Course("48 h"),
    )  # fmt: skip

    best = advice.best
    assert best is not None
    most = max((o for o in advice.options if o.allowed), key=lambda o: o.probability)
    assert best.probability > most.probability - most.error
    assert best.regimen.daily <= most.regimen.daily
    assert all(o.excess["AUC24"] <= 0.1 for o in advice.options if o.allowed)
    median, low, high = best.exposure["AUC24"]
    assert 400 * 3.6 < median < 600 * 3.6
    assert low < median < high
    assert best.regimen.daily / MG == pytest.approx(1500, abs=300)  # CL 2.99 L/h, AUC 490
    assert advice.spread < 0.35
    allowed = [o.allowed for o in advice.options]
    assert allowed == sorted(allowed, reverse=True)


def test_probability_counts_the_draws():
    estimator, belief = patient()
    draws = drawn(estimator, belief)
    grid = Grid(["1000 mg"], ["12 h"], ["1 h"])

    advice = advise(
        estimator.model.system, belief, draws, grid, [AUC, Target("trough", 10, 20)],
        rules=Rules(chance=0.0),
    )  # fmt: skip

    option, found = advice.options[0], advice.responses
    area, trough = (
        found.measure(option.regimen, m) / 3.6 ** (m == "AUC24") for m in ("AUC24", "trough")
    )
    met = (area >= 400) & (area <= 600) & (trough >= 10e-3) & (trough <= 20e-3)
    assert option.probability == pytest.approx(np.mean(met))
    assert option.error == pytest.approx(math.sqrt(np.mean(met) * (1 - np.mean(met)) / 200))


def test_too_uncertain_advice_is_refused():
    """Before any level the area of the second day is known to 30 %, more than is asked for."""
    estimator, belief = patient(events=[dose(1000, 0, 1.0)], until=12.0)
    draws, strict = drawn(estimator, belief), Rules(spread=0.25)

    advice = advise(estimator.model.system, belief, draws, GRID, [AUC], rules=strict)

    assert advice.best is None
    assert advice.options == ()
    assert "measure a level" in advice.reasons[0]


def test_outside_of_the_population_advice_is_refused():
    estimator, belief = patient(weight="250 kg")

    advice = advise(
        estimator.model.system, belief, drawn(estimator, belief), GRID, [AUC],
        doubts=["a level does not fit"],
    )  # fmt: skip

    assert advice.reasons[0] == "a level does not fit"
    assert advice.reasons[1] == "weight = 250 kg is outside of the population (35 to 180 kg)"


def test_regimens_that_are_all_toxic_or_useless_are_not_advised():
    estimator, belief = patient()
    draws, system = drawn(estimator, belief), estimator.model.system

    toxic = advise(system, belief, draws, GRID, [AUC], [Limit("trough", 0.1, 0.01)])
    useless = advise(system, belief, draws, Grid(["100 mg"]), [AUC])

    assert (toxic.best, useless.best) == (None, None)
    assert "toxicity" in toxic.reasons[0]
    assert "no regimen meets" in useless.reasons[0]
    assert toxic.options


def test_largest_daily_amount_and_rate_are_kept():
    for regimen in GRID.regimens():
        assert regimen.daily <= 4000 * MG * 1.0001
        assert regimen.amount / regimen.infusion <= 1000 * MG / 3600 * 1.0001


def test_wrong_questions_are_named():
    estimator, belief = patient()
    draws, system = drawn(estimator, belief, 2), estimator.model.system

    with pytest.raises(UnknownName, match="AUC25"):
        advise(system, belief, draws, GRID, [Target("AUC25", 1, 2)])
    with pytest.raises(DataError, match="not below"):
        advise(system, belief, draws, GRID, [Target("AUC24", 600, 400)])
    with pytest.raises(DataError, match="no target"):
        advise(system, belief, draws, GRID, [])
    with pytest.raises(DataError, match="0 regimens"):
        Grid(["5000 mg"], daily="4000 mg").regimens()
    with pytest.raises(DataError, match="no longer than"):
        Grid(["500 mg"], ["1 h"], ["2 h"]).regimens()
    with pytest.raises(DataError, match="common step"):
        responses(system, belief, draws, Grid(["1 g"], ["12 h"], [3601.0]))
    saturable = MichaelisMenten().flatten()
    with pytest.raises(DataError, match="not linear"):
        responses(saturable, at_rest(saturable), np.zeros((1, 2)), GRID)
    with pytest.raises(DataError, match="dose input"):
        plain = TwoCompartment().flatten()
        responses(plain, at_rest(plain), np.zeros((1, 3)), GRID, Course(dose="A1"))


def test_a_running_infusion_is_waited_for():
    estimator, belief = patient(events=[dose(1000, 0, 2.0)], until=1.0)

    with pytest.raises(DataError, match="still running"):
        responses(estimator.model.system, belief, belief.point_vector, GRID)


def test_regimens_are_said_in_words():
    assert words(Regimen(1e-3, 86_400.0, 0.0)) == "1000 mg every 24 h at once"
