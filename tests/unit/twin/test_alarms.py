"""Declared alarms of a twin: delays, deadbands, quality, suppression, forecasts, late data."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from galenic.app.permissions import Caller
from galenic.app.session import Session
from galenic.clock import SECOND, ManualClock, to_iso
from galenic.connect.memory import MemoryConnector
from galenic.errors import DataError, NotPermitted
from galenic.records import open_site
from galenic.signals import Alert, Command, Compute, Computed, Quality, Sample, Tick
from galenic.twin.alarm.rule import AlarmRule, AlarmRules, derived_priority
from galenic.twin.alarms import journalled
from galenic.twin.example import TankPlant, watched_tank
from galenic.twin.level import Level
from galenic.twin.project import ConnectionSpec, Project, Site, TwinSpec
from galenic.twin.runner import Runner
from galenic.twin.snapshot import restore
from galenic.twin.twin import Twin
from galenic.twin.workers import InlineWorkers

T0 = 1_800_000_000 * SECOND
WORDS = {"cause": "the feed is too strong", "consequence": "lots are lost", "action": "lower it"}


def at(seconds: float) -> int:
    return T0 + round(seconds * SECOND)


def rule(name="high", of="Tank.Out", **fields) -> AlarmRule:
    if "below" not in fields and fields.get("on") != "quality":
        fields.setdefault("above", 2.0)
    return AlarmRule(name, of, **{**WORDS, "respond": 600.0, **fields})


def made(*rules, alarming=None, **fields) -> Twin:
    rules_of = alarming or AlarmRules(settle=0.0)
    definition = replace(watched_tank(), alarms=rules, alarming=rules_of, **fields)
    definition.check()
    return Twin(definition, "tank-1", start=T0, level=Level.SHADOW)


def say(twin, seconds, value, tag="Tank.Out", quality=Quality.GOOD, received=None) -> list:
    told = at(seconds if received is None else received)
    return twin.accept(Sample(tag, value, "", at(seconds), told, quality))


def tick(twin, seconds) -> list[Alert]:
    effects = twin.accept(Tick(at(seconds)))
    own = {rule.name for rule in twin.definition.alarms}
    return [e for e in effects if isinstance(e, Alert) and e.key in own]


def ask(twin, name, seconds, key="high", **arguments) -> list:
    given = {"key": key, **arguments}
    return twin.accept(Command(name, at(seconds), "Ann", "as told", given))


def state(twin, key="high") -> str:
    return next((a.state for a in twin.alarms.rules() if a.key == key), "normal")


def words(alerts) -> list[tuple[float, str]]:
    return [((a.time - T0) / SECOND, a.state) for a in alerts]


def test_delays_and_deadband_keep_it_from_chattering():
    twin = made(rule(deadband=0.5, on_delay=5.0, off_delay=3.0))
    values = {1: 2.1, 2: 2.1, 3: 1.4, 10: 2.2, 14: 2.3, 16: 1.8, 20: 1.4, 22: 1.6, 30: 1.4}
    alerts = []

    for second in range(1, 41):
        if second in values:
            say(twin, second, values[second])
        alerts += tick(twin, second)

    assert words(alerts) == [(15.0, "unacknowledged"), (23.0, "returned, unacknowledged")]


def test_the_end_of_a_delay_has_its_own_time_however_late_it_is_looked_at():
    twin = made(rule(on_delay=5.0))
    say(twin, 1, 3.0)

    alerts = tick(twin, 50)

    assert words(alerts) == [(6.0, "unacknowledged")]
    assert alerts[0].detail["told"] == at(50)


def test_bad_quality_never_ends_an_alarm_and_is_an_alarm_of_its_own():
    twin = made(rule(off_delay=5.0), rule("blind", on="quality"))
    say(twin, 1, 3.0)
    say(twin, 2, 1.0)  # over, if it stays so
    say(twin, 3, None, quality=Quality.BAD)

    seen = words(tick(twin, 9)), state(twin), state(twin, "blind")
    say(twin, 10, 1.0)
    tick(twin, 16)

    assert seen[1:] == ("unacknowledged", "unacknowledged")
    assert state(twin) == state(twin, "blind") == "returned, unacknowledged"


def test_a_tag_that_falls_silent_is_stale_at_its_own_time():
    twin = made(rule("blind", on="quality"))  # Tank.Out: stale after 10 s
    say(twin, 1, 1.0)

    assert words(tick(twin, 30)) == [(11.0, "unacknowledged")]


def test_a_latched_alarm_is_acknowledged_and_then_reset():
    twin = made(rule(latching=True))
    say(twin, 1, 3.0)
    say(twin, 2, 1.0)
    tick(twin, 3)
    early = ask(twin, "reset", 4)

    ask(twin, "acknowledge", 5)
    seen = state(twin)
    ask(twin, "reset", 6)

    assert early[0].what == "refused"
    assert seen == "latched, acknowledged"
    assert state(twin) == "normal"


def test_a_shelved_alarm_is_recorded_and_comes_back_by_itself():
    twin = made(rule())
    tick(twin, 1)
    ask(twin, "shelve", 2, minutes=1.0)
    say(twin, 5, 3.0)
    quiet = tick(twin, 6)
    shelved = twin.alarms.standing()[0]
    say(twin, 55, 3.0)
    loud = tick(twin, 63)

    assert [(a.state, a.active, a.silent) for a in quiet] == [("shelved", True, True)]
    assert (shelved.by, shelved.why, shelved.until) == ("Ann", "as told", at(62))
    assert [(*words([a])[0], a.silent) for a in loud] == [(62.0, "unacknowledged", False)]


def test_shelving_has_a_limit_and_an_end():
    twin = made(rule(), alarming=AlarmRules(most_shelved=600.0))
    tick(twin, 1)

    effects = ask(twin, "shelve", 2, minutes=11.0)

    assert "at most 10 min" in effects[0].detail["expected"]


def test_logic_suppresses_by_design_over_tags_and_other_alarms():
    """A stopped tank and a blind probe say nothing about the outlet."""
    twin = made(
        rule(suppressed_when="not Tank.Running or blind"),
        rule("blind", "Tank.Probe", above=50.0),
    )
    say(twin, 1, False, "Tank.Running")
    say(twin, 1, 3.0)
    stopped = tick(twin, 2), state(twin)
    say(twin, 3, True, "Tank.Running")
    running = tick(twin, 4), state(twin)
    say(twin, 5, 60.0, "Tank.Probe")
    tick(twin, 6)

    assert stopped[1] == "suppressed by design"
    assert all(alert.silent for alert in stopped[0])
    assert running[1] == "unacknowledged"
    assert (state(twin), state(twin, "blind")) == ("suppressed by design", "unacknowledged")


def test_an_unknown_value_suppresses_nothing():
    twin = made(rule(suppressed_when="not Tank.Running"))
    say(twin, 1, 3.0)
    tick(twin, 2)

    assert state(twin) == "unacknowledged"


def test_out_of_service_is_kept_until_somebody_returns_it():
    twin = made(rule())
    tick(twin, 1)
    ask(twin, "out-of-service", 2)
    say(twin, 3, 3.0)
    tick(twin, 50_000)
    out = state(twin)
    ask(twin, "in-service", 50_001)

    assert out == "out of service"
    assert state(twin) == "unacknowledged"


def test_an_estimate_is_looked_at_when_nothing_is_measured():
    """The first tank fills while only its feed is known: the estimate passes 2 at 20 ln 2 s."""
    twin = made(
        rule(of="x0", on="estimated"), alarming=AlarmRules(settle=0.0, look=1.0)
    )  # 1 - exp(-t / 20) of 4
    say(twin, 0.5, 4.0, "Tank.Feed")
    alerts = [alert for second in range(1, 40) for alert in tick(twin, second)]

    assert words(alerts) == [(15.0, "unacknowledged")]  # 0.5 + 13.86 s, looked at every second
    assert alerts[0].detail["model"].startswith("tank 1 ")


def test_a_forecast_carries_its_probability_and_its_model():
    twin = made(rule(of="x0", on="forecast", above=3.0, within=60.0, probability=0.9))
    say(twin, 1, 4.0, "Tank.Feed")
    effects = twin.accept(Tick(at(2)))
    task = next(e for e in effects if isinstance(e, Compute) and e.function.endswith("exceedance"))
    found = InlineWorkers().run(task)
    alerts = twin.accept(Computed(task.task, at(3), found.result, found.error))

    assert found.result["chances"]["high"] > 0.9  # 4 (1 - exp(-60 / 20)) = 3.8
    assert [a.state for a in alerts] == ["unacknowledged"]
    assert alerts[0].detail["probability"] == found.result["chances"]["high"]
    assert "within 1 min" in alerts[0].text


def test_a_residual_says_that_the_model_and_the_tag_have_parted():
    twin = made(rule(of="Tank.Probe", on="residual", above=4.0))
    for second in range(1, 30):
        say(twin, second, 0.0, "Tank.Probe")
        tick(twin, second)
    before, alerts = state(twin), []
    for second in range(30, 60):
        say(twin, second, 0.25, "Tank.Probe")
        alerts += tick(twin, second)

    assert before == "normal"
    assert alerts[0].state == "unacknowledged"
    assert alerts[0].detail["probability"] > 0.999  # beyond 4 sd of a standard normal


def test_late_data_take_back_what_was_told_and_nothing_old_is_annunciated():
    twin = made(rule(on_delay=5.0), alarming=AlarmRules(settle=0.0, annunciate=10.0))
    say(twin, 1, 3.0)
    told = tick(twin, 8)
    say(twin, 9, 3.0)
    say(twin, 4, 1.0, received=30)  # it was over before its delay was

    late = tick(twin, 31)

    assert words(told) == [(6.0, "unacknowledged")]
    assert [(*words([a])[0], a.withdrawn, a.silent) for a in late] == [
        (14.0, "unacknowledged", False, True),
        (6.0, "unacknowledged", True, True),
    ]
    assert journalled("tank-1", late[1]).detail["withdrawn"] is True


def test_a_restart_annunciates_nothing_again():
    twin = made(rule(), rule("other", "Tank.Probe"))
    say(twin, 1, 3.0)
    say(twin, 1, 3.0, "Tank.Probe")
    tick(twin, 2)
    ask(twin, "acknowledge", 3)

    back = restore(twin.definition, twin.snapshot())
    again = tick(back, 4)

    assert again == []
    assert (state(back), state(back, "other")) == ("acknowledged", "unacknowledged")
    assert back.snapshot() == twin_after(twin, 4).snapshot()


def twin_after(twin, seconds) -> Twin:
    tick(twin, seconds)
    return twin


class Still(ManualClock):
    """A clock that only the test moves; who sleeps is not woken."""

    async def sleep_until(self, ns: int) -> None:
        await asyncio.Event().wait()


def test_every_transition_is_in_the_ledger(tmp_path):
    """What a running twin tells, a person answers, and what is silent."""

    async def run() -> None:
        definition = replace(watched_tank(), alarms=(rule(),), alarming=AlarmRules(settle=0.0))
        project = Project(
            Site("test", tmp_path),
            (ConnectionSpec("plc", "memory"),),
            (TwinSpec("tank-1", definition),),
        )
        clock = Still(T0)
        plc = MemoryConnector(TankPlant(T0).tags(), name="plc", clock=clock)
        runner = Runner(project, clock=clock, connectors={"plc": plc}, workers=InlineWorkers())
        await runner.start()
        for second, value in ((1, 3.0), (2, 1.0)):
            clock.advance(SECOND)
            moment = at(second)
            await runner.submit(Sample("Tank.Out", value, "", moment, moment), "tank-1")
            await runner.submit(Tick(moment), "tank-1")
        session = Session(runner.store, runner)
        ann, eve = Caller("Ann", ("operator",)), Caller("Eve", ("engineer",))

        async def call(who, name, **arguments):
            job = await asyncio.to_thread(session.call, f"twins.{name}", arguments, who)
            return job.outcome()

        (listed,) = (await call(ann, "alarms")).tables
        assert (listed["alarm"], listed["action"]) == (["high"], ["lower it"])
        await call(ann, "acknowledge_all", twin="tank-1", reason="feed lowered")
        with pytest.raises(NotPermitted, match="operator does not allow"):
            await call(ann, "out_of_service", twin="tank-1", key="high", reason="probe is cleaned")
        await call(eve, "out_of_service", twin="tank-1", key="high", reason="probe is cleaned")
        (rules,) = (await call(ann, "alarm_rules", twin="tank-1")).tables
        assert rules["state"] == ["out of service"]
        judged = await call(ann, "alarm_performance", start=to_iso(at(0)), stop=to_iso(at(3600)))
        assert judged.values["annunciated"].value == 1
        (history,) = (await call(ann, "alarm_history", alarm="high")).tables
        assert history["who"] == ["Eve", "Ann", "", ""]
        await runner.stop()

    asyncio.run(run())
    with open_site(tmp_path, readonly=True) as store:
        told = [e for e in store.ledger_read(kinds=("alarm",)) if e.detail["alarm"] == "high"]
    assert [(e.detail["state"], e.who, e.reason) for e in told] == [
        ("unacknowledged", "", ""),
        ("returned, unacknowledged", "", ""),
        ("normal", "Ann", "feed lowered"),
        ("out of service", "Eve", "probe is cleaned"),
    ]
    assert [e.detail["time"] for e in told] == [at(1), at(2), at(2), at(2)]


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_arrival_ends_in_the_same_alarms(seed):
    rules = (
        rule(on_delay=3.0, off_delay=2.0, deadband=0.3, suppressed_when="not Tank.Running"),
        rule("estimate", "x0", on="estimated", above=1.0, latching=True),
        rule("blind", on="quality"),
        rule("residual", "Tank.Probe", on="residual", above=3.0),
    )
    dice = random.Random(seed)
    samples = [
        Sample("Tank.Out", dice.uniform(1, 3), "", at(s), at(s), dice.choice((0, 0, 0, 1, 2)))
        for s in range(1, 55)
    ]
    samples += [
        Sample("Tank.Probe", dice.gauss(1, 0.3), "", at(s + 0.5), at(s)) for s in range(1, 55, 2)
    ]
    samples += [Sample("Tank.Running", bool(s % 20), "", at(s), at(s)) for s in (2, 20, 25, 40, 43)]
    shuffled = dice.sample(samples, len(samples))

    books = [_book(made(*rules), order) for order in (samples, shuffled)]

    assert books[0] == books[1]
    assert len(books[0].history) > 5


def _book(twin, samples):
    for sample in samples:
        twin.accept(sample)
    twin.accept(Tick(at(56)))
    return twin.alarms.book


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"action": " "}, "has no action"),
        ({"cause": ""}, "has no cause"),
        ({"above": None}, "0 setpoints"),
        ({"below": 1.0, "above": 2.0}, "2 setpoints"),
        ({"name": "a-b"}, "called 'a-b'"),
        ({"respond": 0.0}, "respond"),
        ({"suppressed_when": "high"}, "suppress one another"),
        ({"on": "quality", "above": 1.0}, "1 setpoints"),
        ({"deadband": -1.0}, "deadband"),
    ],
)
def test_an_alarm_that_nobody_can_act_on_is_refused(fields, words):
    with pytest.raises(DataError, match=words):
        made(rule(**fields))


def test_the_priority_follows_from_consequence_and_time_or_is_stated():
    assert derived_priority("severe", 60.0) == "critical"
    assert derived_priority("severe", 1800.0) == "medium"
    assert rule(severity="minor").stated_or_derived == "low"
    assert rule(severity="minor", priority="high").stated_or_derived == "high"


def test_alarms_are_no_part_of_what_a_twin_is():
    """A setpoint of an alarm can be changed and the twin goes on from where it was."""
    twin = made(rule())
    say(twin, 1, 3.0)
    tick(twin, 2)
    changed = replace(twin.definition, alarms=(rule(above=5.0), rule("new", above=1.0)))

    back = restore(changed, twin.snapshot())
    say(back, 3, 3.0)
    tick(back, 4)

    assert state(back) == "returned, unacknowledged"
    assert state(back, "new") == "unacknowledged"
