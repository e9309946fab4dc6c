"""The whole line in process: conservation, residence time, delays, determinism."""

from __future__ import annotations

import time

import numpy as np
import pytest

from galenic.clock import SECOND
from galenic.connect.memory import MemoryConnector
from galenic.errors import DataError, UnknownName
from galenic.signals import Quality
from galenic.stages.manufacturing.plant import LineParameters, TabletLine, score
from galenic.stages.manufacturing.plant.disturbances import NirBias, NirOutage
from galenic.stages.manufacturing.plant.scenarios import Scenario

MINUTE = 60 * SECOND


def remote(line: TabletLine) -> TabletLine:
    line.write("Line.Remote", True, "", line.now)
    return line


def beat_to(line: TabletLine, seconds: int) -> list:
    """Run on with a heartbeat every 5 s."""
    samples = []
    for count in range(seconds // 5):
        line.write("Line.Heartbeat", count + 1, "", line.now)
        samples += line.advance(line.now + 5 * SECOND)
    return samples


def test_the_same_seed_gives_the_same_samples():
    first = TabletLine("day", 7, start=0).advance(20 * MINUTE)
    second = TabletLine("day", 7, start=0)
    pieces = [s for k in range(1, 201) for s in second.advance(k * 6 * SECOND)]

    assert first == pieces


def test_another_seed_gives_other_samples():
    first = TabletLine("calm", 1, start=0).advance(MINUTE)

    assert first != TabletLine("calm", 2, start=0).advance(MINUTE)


def test_control_does_not_change_the_noise_it_meets():
    """What the excipient feeder suffers is the same whatever is done to the API feeder."""
    left_alone, steered = TabletLine("calm", 3, start=0), remote(TabletLine("calm", 3, start=0))
    steered.write("FeederAPI.Setpoint", 3.0, "kg/h", 0)
    beat_to(steered, 60)
    left_alone.advance(MINUTE)

    assert steered.record()["FlowAPI"][-1] > 1.3 * left_alone.record()["FlowAPI"][-1]
    assert np.array_equal(steered.record()["FlowEXC"], left_alone.record()["FlowEXC"])


def test_no_powder_is_lost_or_made():
    line = TabletLine("day", 2, start=0)
    line.advance(30 * MINUTE)
    line.write("Line.Running", False, "", line.now)
    line.advance(35 * MINUTE)
    line.write("Line.Running", True, "", line.now)
    line.advance(45 * MINUTE)

    truth = line.truth()
    out = truth["True.MassGood"] + truth["True.MassWaste"] + truth["True.MassHeld"]
    assert truth["True.MassWaste"] > 0.0
    assert out == pytest.approx(truth["True.MassIn"], rel=1e-9)
    assert abs(score(line.record()).balance) < 1e-9


def test_residence_time_of_the_line_is_that_of_its_hold_up():
    """A step of content at constant flow: mean = mass/flow; variances of the mixed parts add."""
    even = LineParameters().quiet().with_values(api__ff_min=0.56e-3, excipient__ff_min=5.7e-3)
    line = remote(TabletLine("calm", 1, start=0, parameters=even))
    beat_to(line, 20)
    line.write("FeederAPI.Setpoint", 2.2, "kg/h", line.now)
    line.write("FeederEXC.Setpoint", 17.8, "kg/h", line.now)
    beat_to(line, 380)

    content = line.record()["ContentTablet"][21:]
    response = (content - 10.0) / 1.0
    t = np.arange(1, len(response) + 1) - 0.5
    mean = float(np.sum(1 - response))
    variance = float(2 * np.sum(t * (1 - response)) - mean**2)
    p, flow = line.parameters.mixing, 20 / 3600
    drive = 0.8 + 0.5
    blender, heap, chamber = p.blender_mass / flow, p.heap / flow, p.frame / 2 / flow
    expected = (p.blender_mass + p.chute + p.hopper + p.frame) / flow + drive
    assert mean == pytest.approx(expected, rel=0.02)
    assert variance == pytest.approx(blender**2 / 5 + heap**2 + 2 * chamber**2, rel=0.08)


def test_nir_results_carry_the_time_of_measurement_and_arrive_later():
    samples = TabletLine("calm", 1, start=0).advance(MINUTE)

    nir = [s for s in samples if s.tag == "NIR.Content"]
    assert {s.received_time - s.source_time for s in nir} == {8 * SECOND}
    assert [s.source_time // SECOND for s in nir[:3]] == [2, 4, 6]


def test_nir_shows_what_passed_it_when_it_measured():
    quiet = LineParameters().quiet()
    line = remote(TabletLine("calm", 1, start=0, parameters=quiet))
    line.write("FeederAPI.Setpoint", 3.0, "kg/h", 0)
    samples = beat_to(line, 60)

    nir = [s for s in samples if s.tag == "NIR.Content"]
    truth = line.record()["ContentBlend"]
    for sample in nir:
        second = sample.source_time // SECOND
        assert sample.value == pytest.approx(truth[second - 1 : second + 1].mean(), abs=0.05)


def test_tester_results_arrive_twenty_seconds_after_the_sample_hardness_at_times():
    samples = TabletLine("calm", 1, start=0).advance(11 * MINUTE)

    weights = [s for s in samples if s.tag == "Tester.Weight"]
    hardness = [s for s in samples if s.tag == "Tester.Hardness"]
    assert [s.source_time // SECOND for s in weights[:3]] == [60, 120, 180]
    assert {s.received_time - s.source_time for s in weights} == {20 * SECOND}
    assert [s.source_time // SECOND for s in hardness] == [60, 360]


def test_samples_come_in_the_order_of_their_arrival():
    samples = TabletLine("day", 1, start=0).advance(5 * MINUTE)

    arrivals = [s.received_time for s in samples]
    assert arrivals == sorted(arrivals)


def test_every_tag_is_reported_with_its_unit_within_seven_minutes():
    line = TabletLine("calm", 1, start=0)
    units = {info.tag: info.unit for info in line.tags()}

    seen = {s.tag: s.unit for s in line.advance(7 * MINUTE)}

    assert seen == units


def test_truth_has_a_value_for_each_of_its_tags():
    line = TabletLine("calm", 1, start=0)
    line.advance(10 * SECOND)

    assert set(line.truth()) == {info.tag for info in line.truth_tags()}
    assert [s.value for s in line.truth_samples()] == list(line.truth().values())
    assert not {info.tag for info in line.truth_tags()} & {info.tag for info in line.tags()}


def test_refill_pulses_leave_the_limits_under_local_control():
    line = TabletLine("calm", 1, start=0)
    line.advance(60 * MINUTE)

    assert 1.0 < score(line.record()).content_out_all < 15.0


def test_nir_bias_and_outage_touch_only_the_nir():
    events = (NirBias(at=30.0, bias=0.01), NirOutage(at=60.0, duration=20.0))
    line = TabletLine(Scenario("test", events), 1, start=0, parameters=LineParameters().quiet())
    samples = [s for s in line.advance(120 * SECOND) if s.tag == "NIR.Content"]

    at = {s.source_time // SECOND: s for s in samples}
    assert at[28].value == pytest.approx(10.0, abs=0.05)
    assert at[40].value == pytest.approx(11.0, abs=0.05)
    assert at[70].quality == Quality.BAD
    assert at[70].value == at[58].value
    assert at[90].quality == Quality.GOOD
    assert line.truth()["True.NirError"] == pytest.approx(1.0)


def test_content_outside_the_limits_diverts_for_a_while():
    line = remote(TabletLine("calm", 1, start=0))
    line.write("FeederAPI.Setpoint", 3.0, "kg/h", 0)
    beat_to(line, 120)

    diverted = line.record()["Diverted"]
    assert diverted[-1] == 1.0
    assert diverted[:40].sum() == 0.0
    assert line.truth()["True.MassWaste"] > 0.0


def test_an_empty_hopper_stops_the_press_before_it_runs_dry():
    line = remote(TabletLine("calm", 1, start=0))
    line.write("FeederAPI.Setpoint", 0.0, "kg/h", 0)
    line.write("FeederEXC.Setpoint", 0.0, "kg/h", 0)
    line.write("Press.TurretSpeed", 100.0, "rpm", 0)
    samples = beat_to(line, 600)

    rates = [s.value for s in samples if s.tag == "Press.Rate"]
    assert rates[-1] == 0.0
    assert line.truth()["True.HopperLevel"] >= 0.0
    assert line.truth()["True.TabletWeight"] > 200.0


def test_the_first_call_sets_the_clock_when_no_start_was_given():
    line = TabletLine("calm", 1)

    first = line.advance(1_000 * SECOND)
    later = line.advance(1_002 * SECOND)

    assert {s.source_time for s in first} == {1_000 * SECOND}
    assert max(s.source_time for s in later) == 1_002 * SECOND


def test_a_memory_connector_drives_it():
    line = TabletLine("calm", 1, start=0)
    connector = MemoryConnector(plant=line)

    samples = connector.advance(10 * SECOND)

    assert {s.tag for s in samples} >= {"Press.MainForce", "NIR.Content"}


def test_it_runs_at_many_times_real_time():
    """Aim 500 on a free core; a quarter of it is asked here, where cores are shared."""
    line = TabletLine("day", 1, start=0)
    before = time.process_time()
    line.advance(10 * MINUTE)

    assert 600.0 / (time.process_time() - before) > 125.0


def test_wrong_set_up_is_refused_by_name():
    with pytest.raises(UnknownName, match="dya"):
        TabletLine("dya")
    with pytest.raises(DataError, match="no local control"):
        TabletLine("day", control="mpc")
    with pytest.raises(DataError, match="step"):
        TabletLine("day", dt=0.3)
    with pytest.raises(UnknownName) as caught:
        LineParameters().with_values(press__stifness=1e8)
    assert "press__stiffness" in str(caught.value)
