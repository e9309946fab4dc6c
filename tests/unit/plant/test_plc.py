"""Remote and local: who may write, limits, and a fallback without a bump."""

from __future__ import annotations

import math

import pytest

from galenic.clock import SECOND
from galenic.connect.connector import (
    BAD_NOT_WRITABLE,
    BAD_OUT_OF_RANGE,
    BAD_TYPE_MISMATCH,
    DONE,
    FAILED,
)
from galenic.errors import UnknownName
from galenic.stages.manufacturing.plant import TabletLine


@pytest.fixture
def line() -> TabletLine:
    line = TabletLine("calm", 1, start=0)
    line.advance(30 * SECOND)
    return line


def active(line: TabletLine) -> dict[str, float]:
    return {tag: register.active for tag, register in line.plc.registers.items()}


def run_with_beats(line: TabletLine, seconds: int) -> None:
    for _ in range(seconds):
        line.write("Line.Heartbeat", line.plc.heartbeat + 1, "", line.now)
        line.advance(line.now + SECOND)


def test_a_write_in_local_is_refused_and_reported(line):
    before = active(line)["Press.MainGap"]

    result = line.write("Press.MainGap", 4.0, "mm", line.now)
    line.advance(line.now + 5 * SECOND)

    assert (result.outcome, result.status) == (FAILED, BAD_NOT_WRITABLE)
    assert "Line.Remote" in result.detail
    assert result.read_back == before
    assert active(line)["Press.MainGap"] == before
    assert [tag for _, tag, _ in line.plc.refused] == ["Press.MainGap"]


@pytest.mark.parametrize(
    ("tag", "value", "unit", "status"),
    [
        ("FeederAPI.Setpoint", 5.1, "kg/h", BAD_OUT_OF_RANGE),
        ("FeederAPI.Setpoint", -0.1, "kg/h", BAD_OUT_OF_RANGE),
        ("FeederAPI.Setpoint", math.nan, "kg/h", BAD_TYPE_MISMATCH),
        ("FeederAPI.Setpoint", 2.0, "mm", BAD_TYPE_MISMATCH),
        ("FeederAPI.Setpoint", "two", "", BAD_TYPE_MISMATCH),
        ("Press.MainForce", 8.0, "kN", BAD_NOT_WRITABLE),
    ],
)
def test_what_cannot_be_is_refused_also_in_remote(line, tag, value, unit, status):
    line.write("Line.Remote", True, "", line.now)

    result = line.write(tag, value, unit, line.now)

    assert (result.outcome, result.status) == (FAILED, status)


def test_a_value_in_another_unit_is_converted(line):
    line.write("Line.Remote", True, "", line.now)

    result = line.write("FeederAPI.Setpoint", 36.0, "g/min", line.now)

    assert result.outcome == DONE
    assert result.read_back == pytest.approx(2.16)


def test_an_unknown_tag_is_named_with_a_close_one(line):
    with pytest.raises(UnknownName) as caught:
        line.write("FeederAPI.Setpont", 2.0, "kg/h", line.now)

    assert "FeederAPI.Setpoint" in str(caught.value)


def test_a_step_in_a_set_point_reaches_the_machine_as_a_ramp(line):
    line.write("Line.Remote", True, "", line.now)
    line.write("Blender.Speed", 300.0, "rpm", line.now)
    run_with_beats(line, 4)

    assert line.plc.registers["Blender.Speed"].target == 300.0
    assert active(line)["Blender.Speed"] == pytest.approx(270.0, abs=1.1)

    run_with_beats(line, 8)

    assert active(line)["Blender.Speed"] == 300.0


def test_loops_stay_local_until_their_set_point_is_written(line):
    line.write("Line.Remote", True, "", line.now)
    run_with_beats(line, 60)
    by_loop = active(line)["Press.FillDepth"]
    line.write("Press.FillDepth", 9.5, "mm", line.now)
    run_with_beats(line, 60)

    assert by_loop != line.plc.recipe.fill_depth
    assert active(line)["Press.FillDepth"] == 9.5
    assert not line.plc.registers["Press.TurretSpeed"].is_owned


def test_a_silent_remote_side_is_replaced_by_local_control_without_a_bump(line):
    line.write("Line.Remote", True, "", line.now)
    wanted = {"FeederAPI.Setpoint": 2.4, "Press.FillDepth": 9.9, "Press.TurretSpeed": 72.0}
    units = {info.tag: info.unit for info in line.tags()}
    for tag, value in wanted.items():
        line.write(tag, value, units[tag], line.now)
    run_with_beats(line, 30)
    assert {tag: active(line)[tag] for tag in wanted} == wanted

    last, steps = active(line), {tag: 0.0 for tag in wanted}
    was_remote = []
    for _ in range(120):
        line.advance(line.now + SECOND)
        now = active(line)
        steps = {tag: max(steps[tag], abs(now[tag] - last[tag])) for tag in wanted}
        last = now
        was_remote.append(line.plc.remote)

    # The last beat came one second before the first of these seconds.
    assert was_remote.index(False) + 2 == 11
    assert line.plc.fallbacks == 1
    assert steps["FeederAPI.Setpoint"] <= 0.02 + 1e-9
    assert steps["Press.FillDepth"] <= line.plc.force_move + 1e-9
    assert steps["Press.TurretSpeed"] <= 0.6
    assert last["FeederAPI.Setpoint"] == pytest.approx(2.0)
    assert line.write("FeederAPI.Setpoint", 2.1, "kg/h", line.now).outcome == FAILED


def test_a_count_that_stands_still_is_silence(line):
    line.write("Line.Remote", True, "", line.now)
    for _ in range(12):
        line.write("Line.Heartbeat", 5, "", line.now)
        line.advance(line.now + SECOND)

    assert not line.plc.remote


def test_material_that_the_remote_side_diverts_is_diverted_on_after_its_silence(line):
    line.write("Line.Remote", True, "", line.now)
    line.write("Diverter.Command", True, "", line.now)
    line.advance(line.now + 30 * SECOND)

    assert not line.plc.remote
    assert line.truth()["True.Diverted"] == 1.0

    line.advance(line.now + 260 * SECOND)

    assert line.truth()["True.Diverted"] == 0.0


def test_ratio_control_lets_the_excipient_follow_the_api():
    plain = TabletLine("day", 1, start=0)
    ratio = TabletLine("day", 1, start=0, control="ratio")
    for line in (plain, ratio):
        line.advance(300 * SECOND)

    wanted = 9.0 * ratio.feeders["API"].shown_flow * 3600
    assert ratio.plc.registers["FeederEXC.Setpoint"].active == pytest.approx(wanted, rel=0.01)
    assert plain.plc.registers["FeederEXC.Setpoint"].active == 18.0
