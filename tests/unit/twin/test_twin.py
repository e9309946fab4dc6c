"""The pure twin: events in, effects out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from galenic.clock import SECOND
from galenic.errors import DataError, UnitError, UnknownName
from galenic.signals import (
    Action,
    Command,
    Compute,
    Computed,
    Correction,
    Quality,
    Receipt,
    Record,
    Sample,
    Tick,
    Write,
)
from galenic.twin.binding import Binding
from galenic.twin.example import tank, watched_tank
from galenic.twin.level import Level
from galenic.twin.snapshot import restore
from galenic.twin.twin import Twin

T0 = 1_800_000_000 * SECOND


def at(seconds: float) -> int:
    return T0 + round(seconds * SECOND)


def sample(tag, seconds, value, received=None, **fields) -> Sample:
    received = at(seconds if received is None else received)
    return Sample(tag, value, fields.pop("unit", ""), at(seconds), received, **fields)


def command(name, seconds, who="Ann", reason="test", **arguments) -> Command:
    return Command(name, at(seconds), who, reason, arguments)


def made(definition=None, level=Level.SHADOW, **options) -> Twin:
    return Twin(definition or watched_tank(), "tank-1", start=T0, level=level, **options)


def records(effects, what) -> list[Record]:
    return [e for e in effects if isinstance(e, Record) and e.what == what]


def writes(effects, tag=None) -> list[Write]:
    return [e for e in effects if isinstance(e, Write) and (tag is None or e.tag == tag)]


def healthy(twin, until, start=1, out=1.0, step=1) -> list:
    """Running plant at steady state: every second the truth, and a tick."""
    effects = twin.accept(sample("Tank.Feed", 0.2, out)) if start == 1 else []
    for t in range(start, until + 1, step):
        for tag, value in (("Tank.Out", out), ("Tank.Probe", out), ("Tank.Running", True)):
            effects += twin.accept(sample(tag, t, value))
        effects += twin.accept(Tick(at(t)))
    return effects


def acting_twin(definition=None) -> Twin:
    twin = made(definition or tank())
    healthy(twin, 30)
    twin.accept(command("level", 30.5, level="twin"))
    twin.accept(sample("Tank.Remote", 30.6, True))
    return twin


def test_the_belief_follows_the_samples():
    twin = made()

    healthy(twin, 60)

    assert twin.belief.time == at(60)
    assert twin.belief.mean("x1") == pytest.approx(1.0, abs=0.05)
    assert twin.health.state == "good"


def test_samples_of_one_time_are_one_correction():
    together, apart = made(), made()
    for tag, value in (("Tank.Out", 1.0), ("Tank.Probe", 2.0)):
        together.accept(sample(tag, 5, value))
    apart.accept(sample("Tank.Probe", 5, 2.0))
    assert apart.belief.time == at(5)
    apart.accept(sample("Tank.Out", 5, 1.0))

    assert together.belief.identity == apart.belief.identity
    assert len(together.belief.innovations) == 2


def test_a_tick_commits_nothing():
    twin, other = made(), made()
    for t in (3, 9):
        twin.accept(sample("Tank.Out", t, 1.0))
        other.accept(sample("Tank.Out", t, 1.0))
        for k in range(5):
            twin.accept(Tick(at(t + 0.1 * k)))
            twin.forecast(horizon=20.0)

    assert twin.belief.identity == other.belief.identity


def test_duplicates_are_counted_and_ignored():
    twin = made()
    twin.accept(sample("Tank.Out", 1, 1.0, source_key="a"))
    before = twin.belief.identity

    twin.accept(sample("Tank.Out", 1, 1.0, source_key="a"))
    twin.accept(sample("Tank.Out", 1, 1.0, source_key="b"))

    assert twin.belief.identity == before
    assert twin.counters["Tank.Out"].duplicates == 2


def test_two_values_at_one_time_are_both_kept_and_alarmed():
    twin = made()
    twin.accept(sample("Tank.Out", 1, 1.0))

    effects = twin.accept(sample("Tank.Out", 1, 1.1))

    assert records(effects, "integrity")
    assert len(twin.fold.entries) == 2
    assert [a.key for a in twin.alarms.standing()] == ["integrity:Tank.Out"]


def test_data_older_than_the_lateness_is_flagged_and_not_folded():
    twin = made()
    healthy(twin, 100)
    before = twin.belief.identity

    effects = twin.accept(sample("Tank.Out", 30, 5.0, received=100, source_key="late"))

    assert records(effects, "late")
    assert twin.belief.identity == before
    assert twin.counters["Tank.Out"].late == 1


def test_a_time_stamp_from_the_future_never_moves_the_watermark():
    twin = made()
    twin.accept(sample("Tank.Out", 10, 1.0))

    effects = twin.accept(sample("Tank.Out", 5000, 1.1, received=11))

    assert twin.fold.watermark == at(11)
    assert [e.key for e in effects] == ["clock-ahead:Tank.Out"]
    assert twin.latest["Tank.Out"].uncertain


def test_keys_of_samples_are_forgotten_after_some_latenesses(monkeypatch):
    monkeypatch.setattr("galenic.twin.remembered.MANY_KEYS", 10)
    lateness = 5
    rules = replace(watched_tank().fold, lateness=float(lateness))
    twin = Twin(replace(watched_tank(), fold=rules), "t", start=T0, level=Level.SHADOW)
    most = 0
    for t in range(1, 100):
        twin.accept(sample("Tank.Out", t, 1.0))
        twin.accept(Tick(at(t)))
        most = max(most, len(twin._seen))

    assert 4 * lateness <= most <= 5 * lateness + 1


def crowd(monkeypatch, most, lateness=100.0, tags=3):
    """A twin that may keep few keys, with tags that say nothing to the belief."""
    monkeypatch.setattr("galenic.twin.remembered.MOST_KEYS", most)
    plain = watched_tank()
    bindings = (*plain.bindings, *(Binding(f"Load.T{i}", connection="plc") for i in range(tags)))
    rules = replace(plain.fold, lateness=lateness)
    return made(replace(plain, fold=rules, bindings=bindings))


def turn(twin, t, tags=3):
    """A second of a plant: one observation, some watched tags, a tick."""
    samples = [sample("Tank.Out", t, 1.0 + t % 7 / 100)]
    samples += [sample(f"Load.T{i}", t, float(t)) for i in range(tags)]
    return [effect for event in (*samples, Tick(at(t))) for effect in twin.accept(event)]


def test_keys_beyond_the_most_are_forgotten_with_an_alarm_and_the_belief_stays(monkeypatch):
    twin, free = crowd(monkeypatch, 200), made(crowd(monkeypatch, 200).definition)
    told = []
    for t in range(1, 101):
        told += [e for e in turn(twin, t) if getattr(e, "key", "") == "keys:tank-1"]
        assert len(twin._seen) <= 200 + 4 * 10  # looked at every ten seconds
    for t in range(1, 101):
        turn(free, t)
    before = twin.belief.identity

    twin.accept(sample("Tank.Out", 5, 1.05))  # within the lateness: still known
    twin.accept(sample("Load.T0", 5, 5.0))

    assert "older than" in told[0].text
    assert "count as new" in told[0].text
    assert twin.counters["Tank.Out"].duplicates == 1
    assert twin.counters["Load.T0"].duplicates == 0
    assert twin.belief.identity == before == free.belief.identity


def test_keys_that_the_belief_needs_are_kept_beyond_the_most(monkeypatch):
    twin = crowd(monkeypatch, 20, tags=0)
    told = []
    for t in range(1, 41):
        told += [e for e in turn(twin, t, tags=0) if getattr(e, "key", "") == "keys:tank-1"]

    assert len(twin._seen) == 40
    assert "are kept" in told[0].text


def test_crowded_keys_go_with_the_late_ones_first_and_the_alarm_ends(monkeypatch):
    twin = crowd(monkeypatch, 60, lateness=10.0)
    told = []
    for t in range(1, 61):
        told += [e for e in turn(twin, t) if getattr(e, "key", "") == "keys:tank-1"]
    assert [a.active for a in twin.alarms.standing() if a.key == "keys:tank-1"] == [True]
    horizon = twin.fold.horizon
    assert "told as late" in told[0].text
    assert {tag for time, tag in twin._seen.values() if time > horizon} >= {"Tank.Out", "Load.T0"}

    monkeypatch.setattr("galenic.twin.remembered.MANY_KEYS", 10)
    again = restore(twin.definition, twin.snapshot())
    for t in range(65, 200, 5):
        for one in (twin, again):
            one.accept(sample("Tank.Out", t, 1.0))
            one.accept(Tick(at(t)))

    assert list(again._seen) == list(twin._seen)
    assert [a.active for a in twin.alarms.standing() if a.key == "keys:tank-1"] == [False]


def test_a_clock_that_jumps_back_does_nothing_twice():
    twin = made()
    twin.accept(Tick(at(100)))

    effects = twin.accept(Tick(at(40)))

    assert twin.now == at(100)
    assert [e.key for e in effects] == ["clock-back"]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"value": float("nan")}, "not a number"),
        ({"value": None}, "no value"),
        ({"value": 50.0}, "outside"),
        ({"value": 1.0, "quality": Quality.BAD}, "bad quality"),
        ({"value": "high"}, "text"),
        ({"value": 1.0, "unit": "kg"}, "kg"),
    ],
)
def test_unusable_samples_are_kept_and_marked(bad, why):
    twin = made()
    fields = dict(bad)

    twin.accept(sample("Tank.Out", 1, fields.pop("value"), **fields))

    assert twin.counters["Tank.Out"].rejected == 1
    assert why in twin.alarms.standing()[0].text
    assert not twin.fold.entries


def test_uncertain_samples_count_less():
    sure, unsure = made(), made()
    sure.accept(sample("Tank.Out", 1, 1.0))
    unsure.accept(sample("Tank.Out", 1, 1.0, quality=Quality.UNCERTAIN))

    assert unsure.belief.sd("x1") > sure.belief.sd("x1")


def test_a_laboratory_value_of_the_past_and_its_correction_rewind():
    """The end is the same as if the corrected value had come at once."""
    corrected, direct = made(), made()
    for twin, value in ((corrected, 3.0), (direct, 1.2)):
        healthy(twin, 40)
        twin.accept(sample("Lab.Out", 20, value, received=40, source_key="lab-1"))
        healthy(twin, 50, start=41)

    effects = corrected.accept(Correction("lab-1", 1.2, "1", at(50), "Ann", "misread"))

    assert records(effects, "correction")
    assert corrected.belief.identity == direct.belief.identity


def test_a_correction_may_arrive_before_what_it_corrects():
    early, late = made(), made()
    fix = Correction("lab-1", 1.2, "1", at(30), "Ann", "misread")
    lab = sample("Lab.Out", 20, 3.0, received=40, source_key="lab-1")
    for twin, events in ((early, (fix, lab)), (late, (lab, fix))):
        healthy(twin, 40)
        for event in events:
            twin.accept(event)

    assert early.belief.identity == late.belief.identity


def test_a_withdrawn_sample_leaves_no_trace():
    twin, clean = made(), made()
    healthy(twin, 20)
    healthy(clean, 20)
    twin.accept(sample("Lab.Out", 10, 4.0, received=20, source_key="lab-1"))
    twin.accept(Correction("lab-1", None, "1", at(20), "Ann", "wrong bottle"))

    assert twin.belief.identity == clean.belief.identity


def test_a_late_action_rewinds_and_its_amendment_too():
    twin, direct = made(), made()
    healthy(twin, 30)
    healthy(direct, 30)
    dose = Action("u0", 9.0, "s", at(10), at(30), "dose", source_key="d1")
    twin.accept(dose)
    twin.accept(Action("u0", 4.0, "s", at(12), at(31), "dose", source_key="d2", amends="d1"))
    direct.accept(Action("u0", 4.0, "s", at(12), at(30), "dose", source_key="d3"))

    assert np.array_equal(twin.belief.mean_vector, direct.belief.mean_vector)


def test_an_action_in_the_wrong_unit_is_refused():
    effects = made().accept(Action("u0", 4.0, "kg", at(1), at(1)))

    assert "converts" in records(effects, "refused")[0].detail["expected"]


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (Action("u0", 4.0, "kg", 0, 0, "dose"), "converts to"),
        (Action("u0", -1.0, "s", 0, 0, "dose"), "0 or more"),
        (Action("x0", 1.0, "1", 0, 0, "dose", 10.0), "a dose through an input"),
        (Action("u0", 1.0, "s", 0, 0, "dose", -10.0), ">= 0 s"),
    ],
)
def test_a_dose_that_cannot_be_is_refused_at_the_door(action, expected):
    twin = made()

    effects = twin.accept(replace(action, source_time=at(1), received_time=at(1)))

    assert expected in records(effects, "refused")[0].detail["expected"]
    assert not twin.fold.entries


def test_a_sensor_that_lies_lowers_the_level_and_says_why():
    twin = acting_twin(replace(tank(), controller=None))
    assert twin.level is Level.TWIN

    effects = healthy(twin, 60, start=31, out=6.0)

    assert twin.level is Level.SHADOW
    lowered = records(effects, "level")[0]
    assert lowered.who == "health"
    assert "Tank.Out" in lowered.reason


def test_silence_lowers_the_level_and_stops_the_heartbeat():
    twin = acting_twin()
    effects = [e for t in range(31, 80) for e in twin.accept(Tick(at(t)))]

    beats = [e.time for e in writes(effects, "Tank.Beat")]
    assert twin.level is Level.SHADOW
    assert max(beats) < at(45)
    assert "no measurement arrives" in twin.health.words


def test_health_never_raises_the_level():
    twin = acting_twin(replace(tank(), controller=None))
    healthy(twin, 60, start=31, out=6.0)
    assert twin.level is Level.SHADOW

    twin.accept(sample("Tank.Feed", 60.5, 1.0))
    healthy(twin, 200, start=61, out=1.0)

    assert twin.health.state == "good"
    assert twin.level is Level.SHADOW


def test_a_frozen_sensor_is_named():
    bindings = [
        replace(b, frozen_after=15.0) if b.tag == "Tank.Out" else b for b in tank().bindings
    ]
    twin = made(replace(watched_tank(), bindings=tuple(bindings)))

    healthy(twin, 40)

    assert any(r.what == "frozen" and r.tag == "Tank.Out" for r in twin.health.reasons)


def test_a_bypassed_sensor_says_nothing_until_the_bypass_ends():
    twin = made()
    healthy(twin, 10)
    twin.accept(command("bypass", 10.5, tag="Tank.Out", minutes=0.5))

    healthy(twin, 30, start=11, out=8.0)
    assert all(i.quantity != "y0" for i in twin.belief.innovations)
    healthy(twin, 45, start=31, out=1.0)

    assert any(i.quantity == "y0" for i in twin.belief.innovations)


@pytest.mark.parametrize("missing", [{"who": ""}, {"reason": " "}])
def test_a_level_changes_only_by_a_person_with_a_reason(missing):
    twin = made()

    effects = twin.accept(command("level", 1, level="twin", **missing))

    assert twin.level is Level.SHADOW
    assert records(effects, "refused")


def test_the_model_level_takes_no_automatic_data():
    twin = made(level=Level.MODEL)

    twin.accept(sample("Tank.Out", 1, 1.0))
    twin.accept(sample("Lab.Out", 2, 1.0))

    assert [entry.tag for entry in twin.fold.entries] == ["Lab.Out"]


def test_taking_over_writes_heartbeat_and_remote():
    twin = made(tank())
    healthy(twin, 30)

    effects = twin.accept(command("level", 30.5, level="twin"))

    assert [w.tag for w in writes(effects)] == ["Tank.Beat", "Tank.Remote"]
    assert records(effects, "level")[0].who == "Ann"


def test_the_plant_gone_local_lowers_the_level():
    twin = acting_twin()
    twin.accept(Tick(at(31)))
    twin.accept(sample("Tank.Remote", 33, False))

    effects = twin.accept(Tick(at(34)))

    assert twin.level is Level.SHADOW
    assert "local at the plant" in records(effects, "level")[0].reason


def computed_by(twin, effects, result=None, error=""):
    task = next(e for e in effects if isinstance(e, Compute)).task
    return twin.accept(Computed(task, twin.now, result, error))


def test_a_proposal_becomes_a_write_limited_in_rate():
    twin = acting_twin()
    effects = twin.accept(Tick(at(31)))
    effects = computed_by(twin, effects, {"inputs": {"u0": 8.0}})
    twin.accept(Receipt(writes(effects)[0].key, "Tank.Feed", "done", at(31.1), 8.0))
    healthy(twin, 32, start=32)
    again = twin.accept(Tick(at(36.5)))

    effects2 = computed_by(twin, again, {"inputs": {"u0": 0.0}})

    assert writes(effects)[0].value == 8.0
    # 60 per minute for the 5.5 s since the last write, from the value read back
    assert writes(effects2)[0].value == pytest.approx(8.0 - 5.5)
    assert writes(effects2)[0].expected == 8.0


def test_a_receipt_makes_the_input_take_effect():
    twin = acting_twin()
    effects = computed_by(twin, twin.accept(Tick(at(31))), {"inputs": {"u0": 8.0}})
    twin.accept(Receipt(writes(effects)[0].key, "Tank.Feed", "done", at(31.5), 8.0))

    assert twin.fold.state.inputs["u0"] == 8.0


@pytest.mark.parametrize(
    ("value", "event", "why"),
    [
        (11.0, None, "outside 0 to 10"),
        (2.0, sample("Tank.Running", 30.9, False), "not running"),
        (float("nan"), None, "not a number"),
    ],
)
def test_the_guard_refuses_and_says_what_was_not_performed(value, event, why):
    twin = acting_twin()
    effects = twin.accept(Tick(at(31)))
    if event:
        twin.accept(event)

    effects = computed_by(twin, effects, {"inputs": {"u0": value}})

    assert not writes(effects)
    assert why in records(effects, "refused")[0].reason


def test_in_shadow_a_proposal_is_advice():
    twin = made(tank())
    effects = healthy(twin, 10)

    effects = computed_by(twin, effects, {"inputs": {"u0": 2.0}})

    assert effects == []
    assert twin.recommend()["verdicts"][0]["outcome"] == "advice"


def test_timeouts_hold_the_last_action_and_then_stop_writing():
    twin = acting_twin()
    effects = []
    for t in range(31, 80):
        now = healthy(twin, t, start=t)
        if any(isinstance(e, Compute) for e in now):
            effects += computed_by(twin, now, error="deadline of 5 s passed")

    assert not writes(effects, "Tank.Feed")
    assert twin.acting.timeouts >= 3
    assert twin.level is Level.SHADOW


def test_a_write_that_needs_approval_waits_for_a_person():
    guard = tank().guard
    rules = tuple(replace(r, approval=True, expires=60.0) for r in guard.rules)
    twin = acting_twin(replace(watched_tank(), guard=replace(guard, rules=rules)))
    healthy(twin, 31, start=31)
    asked = twin.accept(command("setpoint", 31.2, tag="Tank.Feed", value=3.0))
    assert not writes(asked)

    key = next(iter(twin.recommend()["waiting"]))
    effects = twin.accept(command("approve", 31.5, who="Bob", key=key))

    assert writes(effects)[0].value == 3.0
    assert writes(effects)[0].who == "Bob"


def test_failed_writes_lower_the_level():
    twin = acting_twin(replace(tank(), controller=None))
    for t in (31, 32, 33):
        healthy(twin, t, start=t)
        effects = twin.accept(command("setpoint", t + 0.5, tag="Tank.Feed", value=3.0 + t / 10))
        key = writes(effects)[0].key
        twin.accept(Receipt(key, "Tank.Feed", "failed", at(t + 0.6), None, "BadNotWritable"))

    assert twin.level is Level.SHADOW


def test_snapshot_and_restore_go_on_bit_for_bit():
    twin = acting_twin()
    healthy(twin, 45, start=31)

    other = restore(tank(), twin.snapshot())
    effects, others = healthy(twin, 60, start=46), healthy(other, 60, start=46)

    assert twin.belief.identity == other.belief.identity
    assert [e.to_dict() for e in effects if not isinstance(e, Compute)] == [
        e.to_dict() for e in others if not isinstance(e, Compute)
    ]
    assert twin.status() == other.status()


def test_a_snapshot_keeps_keys_of_any_text():
    twin = made()
    for i, key in enumerate(['a"b', "\\", "\n\x00\u2028", "ü\U0001f600", "\ud800", "[1, 2]"]):
        twin.accept(sample("Tank.Out", i + 1, 1.0, source_key=key))

    again = restore(twin.definition, twin.snapshot())

    assert len(again._seen) == 6
    assert list(again._seen.items()) == list(twin._seen.items())


def test_a_snapshot_of_another_version_is_refused():
    data = made().snapshot()

    with pytest.raises(DataError, match="another version"):
        restore(replace(watched_tank(), version="2"), data)


def test_evolution_carries_the_belief_over_and_is_recorded():
    twin = made()
    healthy(twin, 30)
    before = twin.belief

    effects = twin.evolve(replace(watched_tank(), version="2"), who="Ann", reason="new model")

    record = records(effects, "evolve")[0]
    assert record.detail["kept"] == ["x0", "x1"]
    assert record.detail["before"] != record.detail["after"]
    assert np.array_equal(twin.belief.mean_vector, before.mean_vector)
    assert np.array_equal(twin.belief.covariance, before.covariance)
    healthy(twin, 40, start=31)
    assert twin.belief.time == at(40)


def test_an_evolution_that_does_not_fit_changes_nothing():
    twin = made()
    healthy(twin, 10)
    before = twin.belief.identity

    effects = twin.accept(command("evolve", 11, values={"nosuch": 1.0}))

    assert records(effects, "refused")
    assert twin.belief.identity == before


def test_what_if_shows_the_difference_and_changes_nothing():
    twin = made()
    healthy(twin, 30)
    before = twin.belief.identity

    result = twin.what_if({"Tank.Feed": 3.0}, horizon=200.0)

    assert result.alternative.mean[-1, 0] > result.running.mean[-1, 0] + 1.0
    assert result.to_dict()["differences"]["y0"]["change"] > 1.0
    assert twin.belief.identity == before


def test_lots_are_followed_by_the_mass_that_moves():
    twin = made()
    twin.accept(sample("Tank.Feed", 0.5, 2.0))
    twin.accept(sample("Tank.Lot", 1, "A"))
    twin.accept(sample("Tank.Lot", 101, "B"))
    twin.accept(sample("Tank.Out", 111, 1.0))

    lots = twin.lots()["Tank.Lot"]

    # 220 kg moved; 20 kg of B in two tanks of 10 kg each: 1 - e^-2 (1 + 2)
    assert lots["B"] == pytest.approx(1 - np.exp(-2.0) * 3.0, abs=1e-9)
    assert sum(lots.values()) == pytest.approx(1.0)


def test_nothing_moves_while_the_line_stands():
    """The set point stays at 2 kg/s through a stop of 50 s: those 100 kg were never fed."""
    stopped, running = made(), made()
    for twin in (stopped, running):
        twin.accept(sample("Tank.Feed", 0.5, 2.0))
        twin.accept(sample("Tank.Lot", 1, "A"))
    stopped.accept(sample("Tank.Running", 20, False))
    stopped.accept(sample("Tank.Running", 70, True))
    stopped.accept(sample("Tank.Out", 120, 1.0))
    running.accept(sample("Tank.Out", 70, 1.0))

    moved = stopped.fold.state.track.mass

    assert moved == pytest.approx(running.fold.state.track.mass, rel=1e-12)
    assert moved == pytest.approx(2.0 * 69.5)


@pytest.mark.parametrize(
    ("binding", "error", "words"),
    [
        (Binding("A", "y1", sd=1.0), UnknownName, "did you mean 'y0'"),
        (Binding("A", "y0", unit="kg", sd=1.0), UnitError, "kg"),
        (Binding("A", "y0"), DataError, "needs its noise"),
        (Binding("A", "y0", sd=1.0, direction="out"), DataError, "cannot be written"),
        (Binding("A", "y0", sd=1.0, direction="inn"), UnknownName, "'in'"),
        (Binding("Tank.Out", "y0", sd=1.0), DataError, "two bindings"),
    ],
)
def test_wrong_bindings_are_refused_when_the_twin_is_defined(binding, error, words):
    definition = replace(watched_tank(), bindings=(*watched_tank().bindings, binding))

    with pytest.raises(error) as caught:
        definition.check()

    assert words in str(caught.value)


def test_inputs_set_before_the_twin_began_hold_from_its_beginning():
    """A setpoint that has stood for hours is the newest known, in whatever order it comes."""
    one, two = made(), made()
    old = [sample("Tank.Feed", t, v, received=0) for t, v in ((-3600, 5.0), (-60, 2.0))]
    for twin, events in ((one, old), (two, old[::-1])):
        for event in events:
            twin.accept(event)
        twin.accept(sample("Tank.Out", 5, 1.0))

    assert one.fold.state.inputs["u0"] == 2.0
    assert one.belief.identity == two.belief.identity


def test_of_two_values_of_an_input_at_one_time_the_one_received_later_holds():
    """A device that stamps with its cycle and was written to within it."""
    one, two = made(), made()
    values = [sample("Tank.Feed", 5, v, received=r) for v, r in ((9.0, 5.1), (1.0, 5.4))]
    for twin, events in ((one, values), (two, values[::-1])):
        for event in events:
            effects = twin.accept(event)
        assert not records(effects, "integrity")

    assert one.fold.state.inputs["u0"] == two.fold.state.inputs["u0"] == 1.0


def test_moves_are_written_in_an_order_that_the_journal_keeps():
    """A result that has been through JSON with sorted keys gives the same writes."""
    twin = acting_twin()
    effects = twin.accept(Tick(at(31)))
    result = {"inputs": {"u0": 2.0}, "reasons": ["z", "a"]}

    effects = computed_by(twin, effects, result)

    assert writes(effects)[0].reason == "z; a"
