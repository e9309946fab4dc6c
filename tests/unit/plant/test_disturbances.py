"""What can go wrong: each disturbance does what its name says, and only that."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from galenic.clock import SECOND
from galenic.connect.connector import FAILED
from galenic.errors import DataError, UnknownName
from galenic.stages.manufacturing.plant import (
    NAMED,
    LineParameters,
    Scenario,
    TabletLine,
    find_scenario,
    read_scenario,
)
from galenic.stages.manufacturing.plant.disturbances import (
    KINDS,
    Bridging,
    ClockShift,
    CommunicationLoss,
    DensityDrift,
    FeederWear,
    Freeze,
    LotChange,
    Mirror,
    Refill,
    RefillBand,
    Rerun,
    Skew,
    StuckTester,
    Vibration,
)

MINUTE = 60 * SECOND


def run(seconds: int, *events, quiet: bool = False):
    parameters = LineParameters().quiet() if quiet else None
    line = TabletLine(Scenario("test", events), 1, start=0, parameters=parameters)
    return line, line.advance(seconds * SECOND)


def of(samples, tag):
    return [s for s in samples if s.tag == tag]


def test_a_stuck_tester_sends_its_last_values_with_new_stamps():
    _, samples = run(600, StuckTester(at=150.0, duration=240.0))

    weights = {s.source_time // SECOND: s.value for s in of(samples, "Tester.Weight")}
    assert {weights[t] for t in (180, 240, 300, 360)} == {weights[120]}
    assert weights[60] != weights[120]
    assert weights[420] != weights[120]


def test_a_frozen_plant_shows_the_same_while_it_goes_on():
    line, samples = run(120, Freeze(at=30.0, duration=60.0))

    flows = {s.source_time // SECOND: s.value for s in of(samples, "FeederAPI.Flow")}
    assert len({flows[t] for t in range(30, 90)}) == 1
    assert len({flows[t] for t in range(90, 120)}) > 20
    assert len(set(line.record()["FlowAPI"][30:90])) > 50


def test_a_mirror_reports_deviations_upside_down():
    plain = of(run(120)[1], "NIR.Content")
    lying = of(run(120, Mirror(at=0.0, tags="NIR.*", about=10.0))[1], "NIR.Content")

    assert [s.value for s in lying] == pytest.approx([20.0 - s.value for s in plain])


def test_a_skewed_sensor_is_wrong_by_a_factor_and_nothing_else_is():
    plain = run(30)[1]
    skewed = run(30, Skew(at=0.0, tags="Press.MainForce", factor=1.1))[1]

    forces = zip(of(plain, "Press.MainForce"), of(skewed, "Press.MainForce"), strict=True)
    assert all(b.value == pytest.approx(1.1 * a.value) for a, b in forces)
    assert of(plain, "Press.PreForce") == of(skewed, "Press.PreForce")


def test_a_rerun_tells_what_was_true_before():
    plain = {s.source_time: s.value for s in of(run(120)[1], "Press.MainForce")}
    again = of(run(120, Rerun(at=10.0, lag=60.0))[1], "Press.MainForce")

    at = {s.source_time: s.value for s in again}
    assert at[100 * SECOND] == plain[40 * SECOND]
    assert at[5 * SECOND] == plain[5 * SECOND]


def test_during_a_loss_of_communication_nothing_comes_and_nothing_gets_in():
    line, samples = run(50, CommunicationLoss(at=20.0, duration=60.0))
    result = line.write("Line.Remote", True, "", line.now)
    after = line.advance(100 * SECOND)

    assert max(s.source_time for s in samples) == 19 * SECOND
    assert result.outcome == FAILED
    assert not line.plc.remote
    assert min(s.received_time for s in after) == 80 * SECOND
    assert line.write("Line.Remote", True, "", line.now).outcome != FAILED


def test_a_buffered_loss_delivers_afterwards_marked_as_historical():
    _, samples = run(100, CommunicationLoss(at=20.0, duration=60.0, buffered=True))

    late = [s for s in of(samples, "Press.MainForce") if s.historical]
    assert [s.source_time // SECOND for s in late] == list(range(20, 80))
    assert {s.received_time for s in late} == {80 * SECOND}


@pytest.mark.parametrize("shift", [-3600.0, 600.0])
def test_a_clock_shift_moves_the_stamps_of_the_source_only(shift):
    _, samples = run(60, ClockShift(at=30.0, duration=20.0, shift=shift))

    offsets = {
        s.received_time // SECOND: (s.source_time - s.received_time) / SECOND
        for s in of(samples, "Press.MainForce")
    }
    assert offsets[29] == 0.0
    assert offsets[30] == offsets[49] == shift
    assert offsets[50] == 0.0


def test_a_bridge_starves_the_feeder_until_it_breaks():
    event = Bridging(at=30.0, duration=20.0, depth=0.4, onset=0.0, release=0.0)
    line, _ = run(120, event, quiet=True)

    flow = line.record()["FlowAPI"]
    assert flow[31] == pytest.approx(0.6 * flow[29], rel=0.03)
    assert flow[52] > flow[29]


def test_a_bridge_grows_and_crumbles():
    line, _ = run(200, Bridging(at=30.0, duration=60.0, depth=0.4), quiet=True)

    factor = line.record()["FeedFactorAPI"] / line.record()["FeedFactorAPI"][29]
    assert factor[35] == pytest.approx(1 - 0.4 * 5 / 15, abs=0.01)
    assert factor[60] == pytest.approx(0.6, abs=0.01)
    assert factor[91] == pytest.approx(1.0, abs=0.02)


def test_wear_lowers_the_feed_factor_and_the_controller_makes_up_for_it():
    worn = run(300, FeederWear(at=0.0, per_hour=0.6), quiet=True)[0].record()
    new = run(300, quiet=True)[0].record()

    assert worn["FeedFactorAPI"][-1] == pytest.approx(0.95 * new["FeedFactorAPI"][-1], rel=2e-3)
    assert worn["FlowAPI"][-1] == pytest.approx(new["FlowAPI"][-1], rel=0.01)


def test_vibration_makes_the_balance_noisy():
    _, samples = run(120, Vibration(at=60.0, duration=60.0, factor=15.0))

    weights = [s.value for s in of(samples, "FeederEXC.Weight")]
    jumps = [abs(b - a + 0.005) for a, b in pairwise(weights)]
    assert sum(jumps[60:119]) > 5 * sum(jumps[:59])


def test_a_new_lot_arrives_with_the_next_refill_and_is_traced_to_the_tablets():
    line, samples = run(900, LotChange(at=60.0, density=-0.05), Refill(at=61.0, feeder="EXC"))

    lots = [s.value for s in of(samples, "Line.Lot")]
    truth = line.record()
    assert (lots[0], lots[-1]) == ("EXC-2041", "EXC-2042")
    assert truth["NewLot"][100] == 0.0
    assert 20.0 < truth["NewLot"][-1] < 90.0
    assert truth["FillDensity"][-1] < truth["FillDensity"][60]
    assert truth["Hardening"][-1] > truth["Hardening"][60]


def test_density_drift_makes_tablets_lighter_where_nobody_corrects():
    events = (DensityDrift(at=0.0, change=-0.10, over=60.0), Refill(at=70.0, feeder="EXC"))
    line = TabletLine(Scenario("test", events), 1, start=0, parameters=LineParameters().quiet())
    line.write("Line.Remote", True, "", 0)
    line.write("Press.FillDepth", line.plc.recipe.fill_depth, "mm", 0)
    for count in range(60):
        line.write("Line.Heartbeat", count, "", line.now)
        line.advance(line.now + 10 * SECOND)

    weight = line.record()["TabletWeight"]
    assert weight[50] == pytest.approx(250.0, rel=0.01)
    assert weight[-1] < 0.97 * weight[50]
    assert line.record()["MainForce"][-1] < 0.88 * line.record()["MainForce"][50]


def test_a_refill_band_changes_when_refills_happen_and_ends():
    line, _ = run(300, RefillBand(at=0.0, duration=250.0, low=0.75, high=0.9))

    assert line.record()["WeightAPI"][:200].max() > 0.85
    assert line.feeders["API"].p == line.parameters.api


@pytest.mark.parametrize("name", NAMED)
def test_every_named_scenario_plays(name):
    line = TabletLine(name, 4, start=0)
    line.advance(45 * SECOND)

    assert line.scenario.meaning
    assert [vars(e) for e in find_scenario(name, 4).disturbances] == [
        vars(e) for e in find_scenario(name, 4).disturbances
    ]


def test_the_seed_moves_the_disturbances_of_a_named_scenario():
    first, second = find_scenario("day", 1), find_scenario("day", 2)

    assert [e.at for e in first.disturbances] != [e.at for e in second.disturbances]


def test_a_scenario_file_is_read_with_its_units(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\n[[disturbance]]\nkind = "bridging"\nat = "2 min"\nfeeder = "EXC"\n'
        'duration = "30 s"\ndepth = 0.2\n'
    )

    (event,) = read_scenario(path).disturbances

    assert event == Bridging(at=120.0, duration=30.0, feeder="EXC", depth=0.2)
    assert TabletLine(str(path), start=0).scenario.name == "mine"


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ('kind = "briding"\nat = 1', UnknownName, "bridging"),
        ('kind = "bridging"\nat = 1\ndeph = 0.1', UnknownName, "depth"),
        ('kind = "bridging"\nat = 1\nfeeder = "EXP"', UnknownName, "EXC"),
        ('kind = "bridging"', DataError, "has no start"),
        ("at = 1", DataError, "has no kind"),
        ("kind = ", DataError, "cannot be read"),
    ],
)
def test_a_wrong_scenario_file_is_refused_with_its_place(tmp_path, text, error, says):
    path = tmp_path / "wrong.toml"
    path.write_text(f"[[disturbance]]\n{text}\n")

    with pytest.raises(error) as caught:
        read_scenario(path)

    assert says in str(caught.value)
    assert "wrong.toml" in str(caught.value)


def test_every_kind_of_disturbance_is_documented():
    page = Path(__file__).parents[3] / "docs" / "reference" / "virtual-plant.md"
    text = page.read_text(encoding="utf-8")

    assert [kind for kind in (*KINDS, *NAMED) if f"`{kind}`" not in text] == []
