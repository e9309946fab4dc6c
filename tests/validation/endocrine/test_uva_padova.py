"""The UVA/Padova model against simglucose, and what closed loops of it must keep."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from galenic import Experiment
from galenic.engine.simulate import Simulator
from galenic.errors import DataError
from galenic.library.endocrine.closed_loop import (
    BasalBolus,
    ClosedLoop,
    Meal,
    Sensor,
    eating,
    treat,
)
from galenic.library.endocrine.glycaemia import risk, summarise
from galenic.library.endocrine.uva_padova import TypeOneDiabetes, read_persons
from galenic.stages.clinical.services import insulin_day


@pytest.fixture(scope="module")
def simulator():
    return Simulator(TypeOneDiabetes())


@pytest.fixture(scope="module")
def persons(shared_data):
    with (shared_data / "uva-padova/vpatient_params.csv").open(encoding="utf-8") as file:
        return read_persons(file)


CASES = [  # reference values of simglucose 0.2.11 at 1 min, glucose under the skin [mg/dL]
    ("adult#001", 4, {0: 138.56, 120: 179.104, 180: 180.476, 240: 167.600, 360: 164.261,
                      480: 136.974}),
    ("adult#001", 0, {120: 181.943, 180: 195.849, 240: 196.103, 480: 178.686}),
    ("adolescent#001", 2, {0: 149.02, 120: 161.882, 180: 165.176, 240: 157.452, 360: 149.595,
                           480: 139.868}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "bolus", "expected"), CASES)
def test_a_meal_of_50_g_has_the_course_of_simglucose(simulator, persons, name, bolus, expected):
    person = persons[name]
    day = Experiment()
    for k in range(10):  # its step is one minute, its meal content that of the minute's end
        day = day.set("meal", "5000 mg/min", at=f"{60 + k} min")
        day = day.set("content", f"{5000 * (k + 1)} mg", at=f"{60 + k} min")
    day = day.set("meal", 0.0, at="70 min")
    day = day.set("insulin", person.basal + person.infusion(bolus), at="60 min")
    day = day.set("insulin", person.basal, at="61 min")

    run = simulator.run(
        day, values=person.values, times=[60.0 * t for t in expected], rtol=1e-8, outputs=["CGM"]
    )

    # simglucose's own solver agrees with this to 4 decimals; the cases are printed to 3
    assert run["CGM"] == pytest.approx(list(expected.values()), abs=2e-3)


def test_stepping_by_the_minute_is_the_same_course(simulator, persons):
    person = persons["adult#001"]

    class OneBolus:
        def insulin(self, time, shown, announced):
            return person.basal_units + (4.0 if time == 60 else 0.0)

    course = treat(person, [Meal(60, 50)], OneBolus(), minutes=240, interval=1, simulator=simulator)

    assert course.shown[[0, 120, 180, 240]] == pytest.approx(
        [138.56, 179.104, 180.476, 167.600], abs=2e-3
    )


def test_risk_is_that_of_the_reference_run(shared_data):
    table = np.genfromtxt(
        shared_data / "uva-padova/reference_sim_results.csv", delimiter=",", skip_header=1,
        usecols=(1, 5, 6, 7), filling_values=np.nan,
    )  # fmt: skip
    glucose, low, high, total = table[np.isfinite(table).all(axis=1)].T

    r = risk(glucose)

    assert np.where(r < 0, -r, 0) == pytest.approx(low, rel=1e-9)
    assert np.where(r > 0, r, 0) == pytest.approx(high, rel=1e-9)
    assert total == pytest.approx(low + high)


def test_all_persons_stay_at_their_basal_glucose(simulator, persons):
    for person in persons.values():
        run = simulator.run(values=person.values, times=[0.0, 3600.0], outputs=["G"])
        assert run["G"][1] == pytest.approx(run["G"][0], rel=1e-3), person.name
    assert len(persons) == 30


@pytest.mark.slow
def test_the_loop_keeps_more_in_range_than_no_meal_bolus(simulator, persons):
    person = persons["adult#001"]
    meals = [Meal(60, 60, announced=0.0)]
    told = {"sensor": Sensor(), "simulator": simulator, "minutes": 480}

    open_, closed = (
        treat(person, meals, rule, rng=np.random.default_rng(3), **told)
        for rule in (
            BasalBolus(person.basal_units, 10, 8.77), ClosedLoop(person.basal_units, 10, 8.77)
        )
    )  # fmt: skip

    assert closed.glycaemia.high < open_.glycaemia.high
    assert closed.glycaemia.low == 0.0


def test_food_is_eaten_at_the_rate_of_eating_and_nothing_is_lost():
    eaten = eating([Meal(3, 12), Meal(4, 10)], 20)

    assert eaten.sum() == pytest.approx(22000)
    assert eaten.max() == 5000
    assert eaten[:3].sum() == 0


def test_the_sensor_errs_with_the_memory_it_claims():
    sensor = Sensor()
    errors = sensor.errors(15 * 20_000, np.random.default_rng(0))[::15]

    e = sensor.gamma + sensor.delta * np.arcsinh((errors - sensor.xi) / sensor.lambda_)
    # e is first order with coefficient 0.7 and innovations of sd 0.7: sd 0.7 / sqrt(1 - 0.49)
    assert np.corrcoef(e[1:-1], e[2:])[0, 1] == pytest.approx(0.7, abs=0.02)
    assert e[10:].std() == pytest.approx(0.7 / np.sqrt(1 - 0.49), rel=0.03)


def test_shares_of_time_add_up():
    found = summarise([50, 60, 100, 150, 200, 300])

    assert found.low + found.inside + found.high == pytest.approx(100)
    assert (found.very_low, found.very_high) == pytest.approx((100 / 6, 100 / 6))


def test_a_table_that_is_none_of_persons_is_refused():
    with pytest.raises(DataError, match="no column x0_ 1"):
        read_persons(["Name,BW", "a,70"])


def test_a_day_as_a_service(shared_data):
    folder = shared_data / "uva-padova"

    def upload(name):
        content = (folder / name).read_bytes()
        return {"name": name, "content": base64.b64encode(content).decode()}

    result = insulin_day(
        persons=upload("vpatient_params.csv"), advice=upload("Quest.csv"),
        meals="time,carbohydrate\n1,40", names=["adult#001", "child#002"], duration="3 h",
    )  # fmt: skip

    table = result.tables[0]
    assert list(table["person"]) == ["adult#001", "child#002"]
    assert all(0 <= share <= 100 for share in table["70 to 180"])
