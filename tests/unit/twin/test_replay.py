"""Replay with the recorded definition, whatever has become of its source."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from dataclasses import replace

import pytest

from galenic.app.cli import main
from galenic.clock import SECOND
from galenic.connect.memory import MemoryConnector
from galenic.errors import DataError
from galenic.records import Checkpoint, open_site
from galenic.signals import Command, Compute, Computed, Receipt, Tick, Write
from galenic.twin import resume
from galenic.twin.earlier import EarlierDefinition
from galenic.twin.example import TankPlant, tank
from galenic.twin.kept import KEPT, Versions, keep_evolved
from galenic.twin.pace import PlantClock
from galenic.twin.project import ConnectionSpec, Project, Site, TwinSpec, read_project
from galenic.twin.replay import needs_source, replay
from galenic.twin.runner import Runner
from galenic.twin.workers import InlineWorkers
from galenic.twin.writer import intended

T0 = 1_800_000_000 * SECOND
SPEED = 30.0

OWN = """\
from dataclasses import replace

from galenic.inference.estimator import Noise
from galenic.inference.kalman import EKF
from galenic.twin.definition import Estimation
from galenic.twin.example import BINDINGS, GUARD, tank, transition

SD = 0.02
NOISE = Noise(process={"x0": 0.02, "x1": 0.02}, start={"x0": 0.5, "x1": 0.5})
HIGHEST = 10.0
STEP = 10.0


def estimator(system, noise):
    return EKF(transition(), noise, step=STEP, bounds=False)


def linear(system, noise, step):
    return EKF(transition(), noise, step=step, bounds=False)


def made():
    bindings = tuple(replace(b, sd=SD) if b.tag == "Tank.Out" else b for b in BINDINGS)
    rules = tuple(replace(r, high=HIGHEST) if r.tag == "Tank.Feed" else r for r in GUARD.rules)
    guard = replace(GUARD, rules=rules)
    return replace(tank(), bindings=bindings, noise=NOISE, guard=guard, estimator=estimator)


def declared():
    return replace(made(), estimator=Estimation(linear, {"step": STEP}))
"""
PROJECT = """\
[site]
folder = "site"

[[connection]]
name = "plc"
kind = "memory"

[[twin]]
id = "tank-1"
definition = "own.py:made"
"""
MORE_NOISE = ('"x0": 0.02, "x1": 0.02', '"x0": 0.2, "x1": 0.2')


class Recorder:
    """Journals, applies and enters each event by itself; writes and computes at once."""

    def __init__(self, store, spec, plant, now):
        back = resume.bring_back(store, spec, now)
        self.store, self.plant = store, plant
        self.twin, self.decisions = back.twin, back.decisions
        with store.transaction() as tx:
            for record in back.records:
                tx.ledger(record)

    def take(self, event, now):
        id = self.twin.id
        with self.store.transaction() as tx:
            self.decisions.position = tx.applied(id, tx.journal([event], now), now)
            effects = resume.accepted(self.twin, event)
            for effect in effects:
                if resume.decides(effect):
                    self.decisions.add(effect)
                    tx.ledger(intended(id, effect) if isinstance(effect, Write) else effect)
                    keep_evolved(tx, id, effect)
            tx.put(resume.DECISIONS, id, self.decisions.to_dict())
        for effect in effects:
            if isinstance(effect, Write):
                held = self.plant.write(effect.tag, effect.value, "", now).read_back
                self.take(Receipt(effect.key, effect.tag, "done", now, held), now)
            elif isinstance(effect, Compute):
                outcome = InlineWorkers().run(effect)
                self.take(Computed(effect.task, now, outcome.result, outcome.error), now)

    def end(self, now):
        point = Checkpoint(self.twin.id, self.decisions.position, now, self.twin.snapshot())
        facts = {"position": point.position, "belief": self.twin.belief.identity, "time": now}
        with self.store.transaction() as tx:
            tx.checkpoint(point)
            tx.put(resume.BELIEFS, self.twin.id, facts)


class Bench:
    """A folder with a project, its definition and its records, and what is done to them."""

    def __init__(self, folder, text=OWN, project=PROJECT):
        self.folder = folder
        self.own, self.project = folder / "own.py", folder / "tank.toml"
        self.records = folder / "site"
        self.own.write_text(text)
        self.project.write_text(project)

    def edit(self, *pairs):
        """Change the source of the definition."""
        text = self.own.read_text()
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        self.own.write_text(text)

    def run(self, *commands, start=T0, project=None):
        """Half a minute of the tank with commands (name, arguments) on the way; the twin."""
        return asyncio.run(self._run(commands, start, project or read_project(self.project)))

    async def _run(self, commands, start, project):
        clock = PlantClock(SPEED, start)
        plc = MemoryConnector(plant=TankPlant(start), clock=clock, period=1.0, name="plc")
        runner = Runner(project, clock=clock, connectors={"plc": plc}, workers=InlineWorkers(),
                        speed=SPEED)  # fmt: skip
        await runner.start()
        for n, (name, arguments) in enumerate(commands):
            await clock.sleep_until(start + (15 + n) * SECOND)
            await runner.command("tank-1", name, "Ann", f"try {n}", **arguments)
        await clock.sleep_until(start + 45 * SECOND)
        await runner.stop()
        return runner.twin("tank-1")

    def record(self, *commands, start=T0, project=None, length=30):
        """The same by the second and without a runner's threads: the same record every time."""
        (spec,) = (project or read_project(self.project)).twins
        plant = TankPlant(start)
        with open_site(self.records) as store:
            recorder = Recorder(store, spec, plant, start)
            for second in range(1, length):
                now = start + second * SECOND
                for sample in plant.advance(now):
                    recorder.take(sample, now)
                recorder.take(Tick(now), now)
                if second >= 12 and commands:
                    (name, arguments), *commands = commands
                    recorder.take(Command(name, now, "Ann", f"try {second}", arguments), now)
            recorder.end(now)
        return recorder.twin

    def replay(self, **options):
        with open_site(self.records, readonly=True) as store:
            return replay(store, folder=self.folder, **options)

    def start(self):
        with open_site(self.records, readonly=True) as store:
            return store.get(resume.STARTS, "tank-1")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A twin that has taken over and written, recorded with the definition as it stands."""
    site = Bench(tmp_path_factory.mktemp("recorded"))
    twin = site.record(("level", {"level": "twin"}))
    assert twin.acting.written
    return site


@pytest.fixture
def site(recorded, tmp_path):
    """A copy of it, whose source may be changed."""
    shutil.copytree(recorded.folder, tmp_path, dirs_exist_ok=True)
    return Bench(tmp_path)


def test_a_changed_source_does_not_keep_a_record_from_replaying(site):
    site.edit(("SD = 0.02", "SD = 0.5"), MORE_NOISE, ("HIGHEST = 10.0", "HIGHEST = 1.0"))

    (found,) = site.replay()

    assert found.differences == []
    assert found.head == found.recorded_head
    assert found.recorded_belief == found.belief != ""
    assert found.definition == "recorded"
    assert found.decisions > 3


def test_a_changed_binding_is_no_change_of_the_estimator_beside_it(site):
    site.edit(("SD = 0.02", "SD = 0.5"), MORE_NOISE)

    assert site.replay()[0].code == []


def test_the_source_can_be_asked_for_and_is_told_apart(site):
    site.edit(("SD = 0.02", "SD = 0.5"), MORE_NOISE, ("HIGHEST = 10.0", "HIGHEST = 1.0"))

    (found,) = site.replay(project=read_project(site.project), source=True)

    assert found.notes == ["the source is not as recorded: bindings, guard, noise"]
    assert found.definition == "source"
    assert not found.ok


def test_the_command_needs_no_definition_in_the_source(site, capsys):
    site.edit(("def made():", "def forgotten():"))

    code = main(["replay", str(site.project), "--json"])

    said = json.loads(capsys.readouterr().out)
    assert code == 0
    assert said["twins"][0]["definition"] == "recorded"
    assert main(["replay", str(site.records)]) == 0


def test_a_changed_project_file_keeps_no_record_from_replaying(site, capsys):
    """Another bound sensor noise, another rule, and a definition that does not exist."""
    changed = PROJECT.replace("own.py:made", "nosuch") + "fold = { lateness = 5 }\n"
    site.project.write_text(changed + '[[twin.binding]]\ntag = "Tank.Out"\nsd = 0.7\n')

    code = main(["replay", str(site.project)])

    assert code == 0
    assert "the same" in capsys.readouterr().out


def test_a_file_that_no_longer_loads_is_a_clear_error(site):
    site.edit(("STEP = 10.0", "STEP = 10.0 +"))

    with pytest.raises(DataError, match=r"own\.py' cannot be loaded: SyntaxError"):
        site.replay()


def test_changed_code_of_the_estimator_is_named_and_replayed(site, capsys):
    site.edit(("step=STEP, bounds=False)", "step=2.0 * STEP / 2.0, bounds=False)"))

    (found,) = site.replay()

    (words,) = found.code
    assert words.startswith("the code of own.py:estimator has changed since (recorded ")
    assert found.differences == []  # twice the step and half of it is the same step
    assert main(["replay", str(site.project)]) == 0
    assert "results may differ" in capsys.readouterr().out


def test_changed_code_that_decides_otherwise_is_found(site):
    site.edit(("STEP = 10.0", "STEP = 0.3"))

    (found,) = site.replay()

    assert found.code
    assert "the belief differs from the recorded one" in found.differences


def test_a_missing_function_is_named(site):
    site.edit(("def estimator(", "def renamed("), ("estimator=estimator", "estimator=renamed"))

    with pytest.raises(DataError, match=r"estimator own\.py:estimator cannot be found") as caught:
        site.replay()

    assert caught.value.where == "twin tank-1"
    assert "put it back" in caught.value.hint


def test_settings_of_a_declared_estimator_are_those_of_the_record(tmp_path):
    site = Bench(tmp_path, project=PROJECT.replace("own.py:made", "own.py:declared"))
    site.record()
    site.edit(("STEP = 10.0", "STEP = 0.3"))

    (found,) = site.replay()

    assert found.differences == []
    assert found.code == []


def test_a_restart_with_a_changed_definition_leaves_the_old_life_replayable(site):
    first = site.start()
    site.edit(("SD = 0.02", "SD = 0.5"))
    site.record(start=T0 + 100 * SECOND)

    lives = site.replay()

    assert [life.differences for life in lives] == [[], []]
    assert lives[0].decisions > 3
    assert site.start()["identity"] != first["identity"]
    with open_site(site.records, readonly=True) as store:
        (entry,) = [e for e in store.ledger_read(kinds=("start",)) if "anew" in e.reason]
        assert "(bindings)" in entry.reason
        assert store.verify().ok


def test_a_restart_with_changed_code_goes_on_and_keeps_both_versions(site):
    site.edit(("step=STEP, bounds=False)", "step=2.0 * STEP / 2.0, bounds=False)"))
    site.record(start=T0 + 100 * SECOND)

    (found,) = site.replay()

    start = site.start()
    with open_site(site.records, readonly=True) as store:
        assert len(Versions(store, "tank-1").all(start["identity"])) == 2
    assert found.differences == []
    assert len(found.code) == 1  # the first part was recorded with other code


def test_each_version_of_an_evolution_is_kept(tmp_path, monkeypatch):
    """Evolved twice by name and once in its values; then the source of both names is gone."""
    monkeypatch.chdir(tmp_path)
    second = OWN.replace("SD = 0.02", "SD = 0.04").replace('"x0": 0.02', '"x0": 0.05')
    (tmp_path / "second.py").write_text(second)
    (tmp_path / "third.py").write_text(second.replace("SD = 0.04", "SD = 0.08"))
    site = Bench(tmp_path)
    evolved = site.run(
        ("evolve", {"definition": "second.py:made"}),
        ("evolve", {"values": {"x0": 1.5}}),
        ("evolve", {"definition": "third.py:made"}),
    )
    for name in ("second.py", "third.py"):
        text = (tmp_path / name).read_text().replace("def made(", "def gone(")
        (tmp_path / name).write_text(text)

    (found,) = site.replay()

    assert found.differences == []
    with open_site(site.records, readonly=True) as store:
        assert len(store.list(KEPT, "tank-1|")) == 4
        assert len(list(store.ledger_read(kinds=("evolve",)))) == 3
    text = (tmp_path / "third.py").read_text()
    (tmp_path / "third.py").write_text(text.replace("def estimator(", "def lost("))
    with pytest.raises(DataError, match=r"estimator third\.py:estimator cannot be found"):
        site.replay()
    (tmp_path / "third.py").write_text(text)
    again = site.run(start=evolved.now + 10 * SECOND)
    assert again.definition.identity(again.values) == evolved.definition.identity(evolved.values)
    assert [life.differences for life in site.replay()] == [[]]


def test_a_crash_after_an_evolution_comes_back_with_the_kept_version(tmp_path, monkeypatch):
    """No checkpoint is left, so the journal is gone through again; the name leads nowhere now."""
    monkeypatch.chdir(tmp_path)
    second = tmp_path / "second.py"
    second.write_text(OWN.replace("SD = 0.02", "SD = 0.04"))
    site = Bench(tmp_path)
    evolved = site.record(("evolve", {"definition": "second.py:made"}))
    second.write_text(OWN.replace("def made(", "def gone("))
    with sqlite3.connect(site.records / "site.sqlite") as database:
        database.execute("DELETE FROM checkpoints")
    database.close()

    with open_site(site.records) as store:
        spec = read_project(site.project).twins[0]
        back = resume.bring_back(store, spec, evolved.now)

    assert back.twin.belief.identity == evolved.belief.identity
    assert [record.what for record in back.records] == ["start"]


def project_of(definition, folder) -> Project:
    spec = TwinSpec("tank-1", definition)
    return Project(Site("test", folder), (ConnectionSpec("plc", "memory"),), (spec,))


def test_what_cannot_be_recorded_says_so_and_is_replayed_from_the_source(tmp_path, caplog):
    plain = tank().estimator
    project = project_of(
        replace(tank(), estimator=lambda system, noise: plain(system, noise)), tmp_path / "site"
    )
    site = Bench(tmp_path)
    site.record(project=project)

    (found,) = site.replay(project=project)

    assert "cannot be found by name" in caplog.text
    assert found.differences == []
    assert found.definition == "source"
    assert "cannot be found by name" in found.notes[0]
    with pytest.raises(DataError, match="not in the records"):
        site.replay()


@pytest.fixture
def earlier(tmp_path, monkeypatch):
    """A site as it was recorded before definitions were kept: no artefact, the former identity."""
    project = project_of(tank(), tmp_path / "site")
    monkeypatch.setattr(resume, "as_recorded", lambda d: (EarlierDefinition.of(d), "not yet"))
    site = Bench(tmp_path)
    site.record(("evolve", {"values": {"x0": 1.5}}), project=project)
    monkeypatch.undo()
    with open_site(site.records) as store, store.transaction() as tx:
        start = tx.get(resume.STARTS, "tank-1")
        tx.put(resume.STARTS, "tank-1", {k: start[k] for k in start if k[:3] not in ("kep", "not")})
    return site, project


def test_an_earlier_site_replays_with_the_unchanged_source(earlier):
    site, project = earlier
    with open_site(site.records, readonly=True) as store:
        assert needs_source(store)

    (found,) = site.replay(project=project)

    assert found.differences == []
    assert found.notes == [
        "the definition is from the source: it was recorded before definitions were"
    ]


def test_an_earlier_site_opens_and_goes_on_as_it_began(earlier):
    site, project = earlier
    begin = site.start()
    site.record(start=T0 + 100 * SECOND, project=project)

    assert site.start() == begin
    assert site.replay(project=project)[0].differences == []


def test_an_earlier_site_says_that_its_source_has_changed(earlier):
    site, project = earlier
    noise = replace(tank().noise, process={"x0": 0.5})
    other = project_of(replace(tank(), noise=noise), project.site.folder)

    with pytest.raises(DataError, match="before definitions were") as caught:
        site.replay(project=other)

    assert "--source" in caught.value.hint
