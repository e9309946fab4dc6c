"""The glucose twin on virtual persons: calibrated, better than the last value, order free."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

from galenic import Experiment
from galenic.clock import SECOND
from galenic.engine.simulate import Simulator
from galenic.library.endocrine.identifiable import IdentifiablePerson
from galenic.library.endocrine.uva_padova import TypeOneDiabetes
from galenic.signals import Action, Sample, Tick
from galenic.stages.clinical.glucose import PUMP, SENSOR, glucose
from galenic.twin.level import Level
from galenic.twin.twin import Twin
from galenic.units import from_si

sys.path.insert(0, str(Path(__file__).parent))
import glucose_study as study

T0 = study.START
VALUES = {"BW": "70 kg", "basal": "1 IU/h"}


def test_basal_insulin_holds_its_glucose():
    basal = Experiment().set("insulin", "0.7 IU/h", at="0 h")
    model = IdentifiablePerson(Gb="140 mg/dL", basal="0.7 IU/h")

    run = model.simulate(basal, until="24 h", every="6 h", outputs=["G", "onboard"])

    assert_allclose(run["G"], 140.0, rtol=1e-6)
    assert_allclose(run["onboard"], 0.0, atol=1e-6)


def test_a_meal_and_a_bolus_follow_the_published_equations():
    """Beside the equations in the paper's own units, by another solver."""
    model = IdentifiablePerson()
    SI, GEZI, CI, p2, VG = 7e-4, 0.003, 28.0 * 75, 0.0106, 3.4 * 75
    basal = 1e6 / 60  # uIU/min
    EGP = 130.0 * (GEZI + SI * basal / CI)

    def slopes(t, y):
        isc, ip, ieff, g, gs, d1, d2 = y
        return [
            (basal / CI - isc) / 60.0, (isc - ip) / 50.0, p2 * (SI * ip - ieff),
            -(GEZI + ieff) * g + EGP + 1000.0 * d2 / 45.0 / VG, (g - gs) / 10.0,
            -d1 / 45.0, (d1 - d2) / 45.0,
        ]  # fmt: skip

    at_rest = [basal / CI, basal / CI, SI * basal / CI, 130.0, 130.0, 0.0, 0.0]
    at_rest[0] += 4e6 / (60.0 * CI)  # a bolus of 4 IU into a depot of volume 60 min times CI
    at_rest[5] += 50.0
    times = np.array([0.0, 30, 60, 120, 240, 480])
    exact = solve_ivp(slopes, (0, 480), at_rest, "LSODA", times, rtol=1e-10, atol=1e-10).y

    doses = Experiment().dose("stomach", "50 g", at="0 min").dose("depot", "4 IU", at="0 min")
    run = Simulator(model).run(doses, times=60.0 * times, rtol=1e-9, outputs=["G", "Gs", "I"])

    # the grams of the model are thousands of the paper's milligrams; the dose at 0 is in row 0
    assert_allclose(run["G"], exact[3], rtol=1e-6)
    assert_allclose(run["Gs"], exact[4], rtol=1e-6)
    assert_allclose(run["I"], exact[1], rtol=1e-6)


@pytest.fixture(scope="module")
def seen(shared_data):
    simulator = Simulator(TypeOneDiabetes())
    persons = study.read(shared_data / "uva-padova")
    # none of them was used to set the noises
    names = ("adult#002", "adult#006", "adolescent#004", "adolescent#008", "child#002", "child#010")
    return [s for name in names for s in study.follow(persons[name], 3, simulator)]


@pytest.mark.slow
@pytest.mark.parametrize("ahead", study.AHEAD)
def test_forecasts_of_glucose_hold_what_they_say(seen, ahead):
    found = study.quality([s for s in seen if s.ahead == ahead])

    # six persons are the unit: three errors of their mean, and what the whole study shows (89-96 %)
    assert abs(found.coverage - 0.9) < 3 * found.coverage_error + 0.03
    assert found.rmse < 0.8 * found.held
    assert abs(found.bias) < 0.5 * found.rmse


def told() -> list:
    """Six hours of sensor values with a meal and a bolus, and the basal rate."""
    rng = np.random.default_rng(5)
    events = [Sample(PUMP, 1.0, "IU/h", T0, T0)]
    for k in range(73):
        now = T0 + 300 * k * SECOND
        value = 130 + 20 * np.sin(k / 12) + rng.normal(0, 3)
        events.append(Sample(SENSOR, value, "mg/dL", now, now))
    meal = T0 + 3600 * SECOND
    events.append(Action("stomach", 40.0, "g", meal, meal, "dose"))
    events.append(Action("depot", 3.0, "IU", meal, meal, "dose"))
    return events


def followed(events) -> Twin:
    twin = Twin(glucose(), "p", VALUES, start=T0, level=Level.SHADOW)
    for event in events:
        twin.accept(event)
    return twin


def test_the_belief_is_the_same_for_any_order_of_arrival():
    events = told()
    mixed = [events[i] for i in np.random.default_rng(1).permutation(len(events))]

    assert followed(mixed).belief.identity == followed(events).belief.identity


def test_a_bolus_too_many_is_foreseen():
    twin = followed(told())
    now = T0 + 6 * 3600 * SECOND
    as_is = twin.forecast(2 * 3600.0, 300.0, ["G"])

    twin.accept(Action("depot", 12.0, "IU", now, now, "dose"))
    found = twin.forecast(2 * 3600.0, 300.0, ["G"])

    assert from_si(as_is.mean[-1, 0], "mg/dL") > 90
    assert from_si(found.mean[-1, 0], "mg/dL") < 70


def test_the_alarm_of_a_low_glucose_ahead_has_its_limit_and_time():
    rule = next(rule for rule in glucose().alarms if rule.name == "low_ahead")

    assert (rule.on, rule.of, rule.below, rule.within) == ("forecast", "G", "70 mg/dL", 1800.0)


def test_a_silent_sensor_costs_the_health():
    twin = followed(told())
    now = T0 + (6 * 3600 + 30 * 60) * SECOND
    twin.accept(Tick(now))

    assert twin.health.state == "lost"
    assert any(SENSOR in reason for reason in map(str, twin.health.reasons))
