"""A twin over a record: the same as live, scored, and replayed to the same decisions."""

from __future__ import annotations

import csv

import pytest
from click.testing import CliRunner

from galenic.app.cli.live import shadow
from galenic.clock import SECOND, to_iso
from galenic.errors import DataError, UnknownName
from galenic.records import open_site
from galenic.stages.twins.scoring import Scorer
from galenic.stages.twins.shadow import RecordRun, record_of
from galenic.twin.example import TankPlant, tank
from galenic.twin.level import Level
from galenic.twin.project import ConnectionSpec, Project, Site, TwinSpec
from galenic.twin.replay import replay

T0 = 1_800_000_000 * SECOND
MAPPING = {
    "time": "time",
    "columns": {
        "out": {"tag": "Tank.Out", "unit": "1"},
        "probe": {"tag": "Tank.Probe", "unit": "1"},
        "feed": {"tag": "Tank.Feed", "unit": "1"},
        "running": {"tag": "Tank.Running", "type": "bool"},
    },
}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """Ten minutes of the tank as a CSV file; its feed changes after five."""
    path = tmp_path_factory.mktemp("record") / "tank.csv"
    plant = TankPlant(T0)
    with path.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["time", "out", "probe", "feed", "running"])
        for second in range(600):
            if second == 300:
                plant.values["Tank.Feed"] = 3.0
            now = {s.tag: s.value for s in plant.advance(T0 + (second + 1) * SECOND)}
            tags = ("Tank.Out", "Tank.Probe", "Tank.Feed", "Tank.Running")
            rows.writerow([to_iso(plant.time), *(now[tag] for tag in tags)])
    return path


@pytest.fixture
def project(tmp_path):
    spec = TwinSpec("tank-1", tank(), {}, Level.TWIN)
    connection = ConnectionSpec("plc", "replay", {"mapping": MAPPING})
    return Project(Site("test", tmp_path), (connection,), (spec,))


def test_a_twin_over_a_record_follows_it_and_never_acts(project, record):
    found = RecordRun(project, record_of(project, str(record))).run()["tank-1"]

    facts = found.to_dict()
    assert facts["status"]["level"] == "shadow"
    assert facts["estimates"]["y0"]["value"] == pytest.approx(3.0, abs=0.05)
    assert facts["events"] > 4 * 600
    assert found.twin.acting.proposal


def test_its_forecasts_are_scored_against_persistence(project, record):
    run = RecordRun(project, record_of(project, str(record)), None, lambda: Scorer([30], 10, 0.6))

    rows = run.run()["tank-1"].to_dict()["scores"]

    (row,) = [row for row in rows if row["quantity"] == "y0"]
    assert row["outcomes"] > 40
    assert row["skill"] > 0.5  # the response to a change is the model's own
    assert row["inside 90 %"] > 0.5


def test_a_record_that_was_journalled_replays_to_the_same_decisions(project, record, tmp_path):
    with open_site(tmp_path / "kept", name="test") as store:
        RecordRun(project, record_of(project, str(record)), store).run()
        assert store.verify().ok

        spec = TwinSpec("tank-1", tank(), {}, Level.SHADOW)
        (found,) = replay(store, Project(project.site, project.connections, (spec,)))
        assert found.differences == []
        assert found.recorded_belief == found.belief

        with pytest.raises(DataError, match="has records of 'tank-1' already"):
            RecordRun(project, record_of(project, str(record)), store).run()


def test_a_file_without_samples_is_refused(project, tmp_path):
    empty = tmp_path / "empty.csv"
    empty.write_text("time,out,probe,feed,running\n")

    with pytest.raises(DataError, match="holds no sample"):
        RecordRun(project, record_of(project, str(empty))).run()


def test_a_file_that_is_not_there_is_refused(project):
    with pytest.raises(DataError, match="there is no file"):
        record_of(project, "nowhere.csv")


def test_a_csv_file_needs_a_mapping(record, tmp_path):
    bare = Project(Site("test", tmp_path), (), ())

    with pytest.raises(DataError, match="which columns"):
        record_of(bare, str(record))


PROJECT = """\
[site]
folder = "kept"

[[connection]]
name = "plc"
kind = "replay"
mapping = "columns.toml"

[[twin]]
id = "tank-1"
definition = "galenic.twin.example:watched_tank"
"""
COLUMNS = """\
time = "time"
[columns]
out = { tag = "Tank.Out", unit = "1" }
feed = { tag = "Tank.Feed", unit = "1" }
"""


@pytest.fixture
def shadowed(record, tmp_path, monkeypatch):
    """``galenic shadow`` with more options, called from another folder than the project's."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "columns.toml").write_text(COLUMNS)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def call(*more, project=PROJECT):
        path = tmp_path / "project" / "tank.toml"
        path.write_text(project)
        line = ["--project", "../project/tank.toml", "--data", str(record), *more]
        return CliRunner().invoke(shadow(), line, catch_exceptions=False)

    return call


def test_records_go_where_the_project_says(shadowed, tmp_path):
    kept = tmp_path / "project" / "kept"

    first = shadowed()

    assert first.exit_code == 0
    assert f"records: {kept}" in first.output
    with open_site(kept, readonly=True) as store:
        assert store.verify().ok
        assert store.get("twin-start", "tank-1")["definition"].endswith("watched_tank")
    with pytest.raises(DataError, match="has records of 'tank-1' already"):
        shadowed()


def test_records_go_where_the_call_says(shadowed, tmp_path):
    assert shadowed("--site", "mine").exit_code == 0

    assert (tmp_path / "here" / "mine").is_dir()
    assert not (tmp_path / "project" / "kept").exists()


@pytest.mark.parametrize(
    ("more", "project"),
    [(["--no-records"], PROJECT), ([], PROJECT.replace('folder = "kept"', 'name = "Tank"'))],
)
def test_no_records_are_kept_where_nobody_asks_for_them(shadowed, tmp_path, more, project):
    assert shadowed(*more, project=project).exit_code == 0

    made = {path.name for folder in ("here", "project") for path in (tmp_path / folder).iterdir()}
    assert made == {"tank.toml", "columns.toml"}


def test_a_connection_that_the_project_does_not_have_is_refused(shadowed):
    with pytest.raises(UnknownName, match="there is no connection 'plk'") as caught:
        shadowed("--connection", "plk")

    assert "did you mean 'plc'" in caught.value.hint
