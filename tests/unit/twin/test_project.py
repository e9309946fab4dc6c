"""Project files: what they say, and where they are wrong."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from galenic.clock import SystemClock
from galenic.connect import registry
from galenic.errors import GalenicError
from galenic.twin.kinds import connector_of
from galenic.twin.level import Level
from galenic.twin.project import read_project

GOOD = """\
[site]
name = "Tank"
folder = "records"

[[connection]]
name = "plc"
kind = "opcua"
endpoint = "opc.tcp://127.0.0.1:48410/"

[[twin]]
id = "tank-1"
definition = "galenic.twin.example:tank"
level = "shadow"
targets = { "y0" = 3.0 }

[twin.values]
"x0" = 0.5

[[twin.binding]]
tag = "Tank.Out"
sd = 0.05
stale_after = "20 s"
plausible = [0, 9]
"""


ALARM = """
[[twin.alarm]]
name = 'outlet_high'
of = 'Tank.Out'
above = 2.5
deadband = 0.1
on_delay = '5 s'
cause = 'the feed is too strong'
consequence = 'the lot is lost'
action = 'lower the feed'
respond = '10 min'
severity = 'major'
suppressed_when = 'not Tank.Running'
"""


@pytest.fixture
def written(tmp_path):
    def write(old="", new=""):
        assert old in GOOD
        path = tmp_path / "tank.toml"
        path.write_text(GOOD.replace(old, new) if old else GOOD)
        return path

    return write


def test_a_project_says_where_its_tables_are_and_its_heads_go(written, tmp_path):
    site = read_project(written()).site
    assert ("embedded", None) == (site.store, site.heads)

    lines = 'store = "postgresql://db/plant?schema=line"\nheads = "away/heads.jsonl"\n'
    site = read_project(written("[site]\n", f"[site]\n{lines}")).site
    assert "postgresql://db/plant?schema=line" == site.store
    assert tmp_path / "away" / "heads.jsonl" == site.heads


def test_a_store_that_is_none_is_refused_at_its_line(written):
    with pytest.raises(GalenicError, match="has a password in it") as caught:
        read_project(written("[site]\n", '[site]\nstore = "postgresql://ann:secret@db/plant"\n'))

    assert "tank.toml:" in caught.value.where
    assert "secret" not in str(caught.value)


def test_a_project_is_read(written, tmp_path):
    project = read_project(written())
    (twin,) = project.twins

    binding = next(b for b in twin.definition.bindings if b.tag == "Tank.Out")
    assert project.site.folder == tmp_path / "records"
    assert (binding.sd, binding.stale_after, binding.plausible) == (0.05, 20.0, (0.0, 9.0))
    assert twin.level is Level.SHADOW
    assert twin.definition.targets["y0"] == 3.0
    assert twin.definition.system(twin.values).states[0].value == 0.5


def test_alarms_of_a_project_are_added_to_the_definition(written):
    project = read_project(written("plausible = [0, 9]", ALARM + "[twin.alarming]\nsettle = 1.0"))

    (definition,) = [twin.definition for twin in project.twins]
    (alarm,) = definition.alarms
    assert (alarm.on_delay, alarm.respond, alarm.stated_or_derived) == (5.0, 600.0, "medium")
    assert definition.alarming.settle == 1.0


def test_a_definition_in_a_file_beside_the_project(written, tmp_path):
    (tmp_path / "own.py").write_text("from galenic.twin.example import tank as mine\n")

    project = read_project(written("galenic.twin.example:tank", "own.py:mine"))

    assert project.twins[0].definition.name == "tank"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("[site]", "[sight]", 1, "did you mean 'site'"),
        ('folder = "records"', 'foldr = "records"', 3, "did you mean 'folder'"),
        ('name = "Tank"', "name = 3", 2, "expected: a str"),
        ('kind = "opcua"', 'kind = "opca"', 7, "did you mean 'opcua'"),
        ('example:tank"', 'example:tnak"', 12, "did you mean 'tank'"),
        ('level = "shadow"', 'level = "shaddow"', 13, "did you mean 'shadow'"),
        ('level = "shadow"', 'level = "twin"', 13, "a named person raises the level"),
        ('"x0" = 0.5', '"xo" = 0.5', 17, "'x0'"),
        ('"x0" = 0.5', '"x0" = "5 kg"', 17, "kg"),
        ('tag = "Tank.Out"', 'tag = "Tank.Out"\nunit = "kg"', 19, "kg"),
        ("sd = 0.05", "sdd = 0.05", 21, "did you mean 'sd'"),
        ("sd = 0.05", 'quantity = "y9"', 19, "did you mean 'y0'"),
        ('stale_after = "20 s"', 'stale_after = "20 m"', 22, "[m] to [s]"),
        ("plausible = [0, 9]", "plausible = [0]", 23, "two numbers"),
        ("sd = 0.05", "sd = ", 21, "not TOML"),
        ("plausible = [0, 9]", ALARM.replace("action = 'lower the feed'", ""), 24, "has no action"),
        ("plausible = [0, 9]", ALARM.replace("Tank.Out", "Tank.Oot"), 24, "'Tank.Out'"),
        ("plausible = [0, 9]", ALARM.replace("above = 2.5", "above = '3 kg'"), 24, "kg"),
        ("plausible = [0, 9]", ALARM.replace("above =", "abov ="), 27, "did you mean 'above'"),
        ("plausible = [0, 9]", ALARM.replace("respond = '10 min'", ""), 24, "no time to respond"),
    ],
)
def test_an_error_names_the_line_and_what_to_try(written, old, new, line, words):
    path = written(old, new)

    with pytest.raises(GalenicError) as caught:
        read_project(path)

    assert f"{path}:{line}" in str(caught.value)
    assert words in str(caught.value)


def test_a_missing_project_file_is_named(tmp_path):
    with pytest.raises(GalenicError, match=r"no\.toml"):
        read_project(tmp_path / "no.toml")


MAPPING = 'time = "time"\n[columns.out]\ntag = "Tank.Out"\n'
CERTIFIED = """\
kind = "opcua"
certificate = "keys/own.der"
key = "keys/own.pem"
trusted = ["keys/plc.der", "../shared.der"]"""


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The working directory is not the project's folder, which is named in a roundabout way."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there" / "keys").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")

    def project(old, new):
        path = tmp_path / "there" / "tank.toml"
        path.write_text(GOOD.replace(old, new))
        return read_project("../there/tank.toml")

    return project


async def test_a_watched_folder_and_its_mapping_are_beside_the_project(elsewhere, tmp_path):
    project = elsewhere(
        'kind = "opcua"\nendpoint = "opc.tcp://127.0.0.1:48410/"',
        'kind = "files"\nfolder = "in"\nmapping = "columns.toml"',
    )
    (spec,) = project.connections
    with pytest.raises(GalenicError) as caught:
        connector_of(spec, SystemClock())
    (tmp_path / "there" / "columns.toml").write_text(MAPPING)
    (tmp_path / "there" / "in").mkdir()
    (tmp_path / "there" / "in" / "a.csv").write_text("time,out\n2026-01-31T08:00:00Z,1.5\n")
    connector = connector_of(spec, SystemClock())
    await connector.open()
    (batch,) = [await anext(connector.subscribe(["Tank.Out"]))]
    await connector.close()

    assert f"there is no file '{tmp_path / 'there' / 'columns.toml'}'" in str(caught.value)
    assert "tank.toml:5, connection plc" in caught.value.where
    assert [sample.value for sample in batch] == [1.5]


def test_a_watched_folder_that_is_left_out_is_that_of_the_project(elsewhere, tmp_path):
    (tmp_path / "there" / "columns.toml").write_text(MAPPING)
    project = elsewhere(
        'kind = "opcua"\nendpoint = "opc.tcp://127.0.0.1:48410/"',
        'kind = "files"\nmapping = "columns.toml"',
    )

    assert connector_of(project.connections[0], SystemClock()).folder == tmp_path / "there"


def test_a_recorded_file_and_its_mapping_are_beside_the_project(elsewhere, tmp_path):
    (tmp_path / "there" / "columns.toml").write_text(MAPPING)
    project = elsewhere(
        'kind = "opcua"\nendpoint = "opc.tcp://127.0.0.1:48410/"',
        'kind = "replay"\nfile = "day.csv"\nmapping = "columns.toml"',
    )
    (spec,) = project.connections
    with pytest.raises(GalenicError) as caught:
        connector_of(spec, SystemClock())
    (tmp_path / "there" / "day.csv").write_text("time,out\n2026-01-31T08:00:00Z,2.5\n")

    assert [sample.value for sample in connector_of(spec, SystemClock()).record] == [2.5]
    assert f"there is no file '{tmp_path / 'there' / 'day.csv'}'" in str(caught.value)
    assert "relative to the folder" in caught.value.hint


def test_certificates_are_beside_the_project(elsewhere, tmp_path):
    project = elsewhere('kind = "opcua"', CERTIFIED)
    (spec,) = project.connections
    keys = tmp_path / "there" / "keys"
    missing = []
    for path in (keys / "own.der", keys / "own.pem", keys / "plc.der", tmp_path / "shared.der"):
        with pytest.raises(GalenicError) as caught:
            connector_of(spec, SystemClock())
        missing.append(f"there is no file '{path}'" in str(caught.value))
        path.write_bytes(b"content")
    security = connector_of(spec, SystemClock()).settings.security

    assert missing == [True] * 4
    assert security.certificate == keys / "own.der"
    assert security.trusted == (keys / "plc.der", tmp_path / "shared.der")


def test_records_and_scenario_are_beside_the_project(elsewhere, tmp_path):
    project = elsewhere("[site]", '[plant]\nscenario = "mine.toml"\n\n[site]')

    assert project.site.folder == tmp_path / "there" / "records"
    assert project.site.is_named
    assert project.plant["scenario"] == str(tmp_path / "there" / "mine.toml")
    assert not elsewhere('folder = "records"\n', "").site.is_named
    assert elsewhere("[site]", '[plant]\nscenario = "day"\n\n[site]').plant["scenario"] == "day"


def test_a_path_that_is_no_text_is_refused_with_its_line(elsewhere):
    project = elsewhere('kind = "opcua"', 'kind = "opcua"\ncertificate = 3')

    with pytest.raises(GalenicError) as caught:
        connector_of(project.connections[0], SystemClock())

    assert caught.value.where.endswith("tank.toml:5, connection plc, certificate")


def test_an_option_that_a_connection_does_not_know_is_refused(elsewhere):
    project = elsewhere('kind = "opcua"', 'kind = "opcua"\ntrustd = ["a.der"]')

    with pytest.raises(GalenicError) as caught:
        connector_of(project.connections[0], SystemClock())

    assert "tank.toml:5" in caught.value.where
    assert "did you mean 'trusted'" in caught.value.hint


def test_paths_of_an_outside_connector_are_beside_the_project(elsewhere, tmp_path, monkeypatch):
    class Balance:
        def __init__(self, table: Path, unit: str = "g", *, name: str = "") -> None:
            self.table, self.unit = table, unit

    point = SimpleNamespace(name="balance", load=lambda: Balance)
    monkeypatch.setattr(registry, "entry_points", lambda group, name="": [point])
    project = elsewhere(
        'kind = "opcua"\nendpoint = "opc.tcp://127.0.0.1:48410/"',
        'kind = "balance"\ntable = "weights.csv"\nunit = "kg"',
    )

    made = connector_of(project.connections[0], SystemClock())

    assert (made.table, made.unit) == (str(tmp_path / "there" / "weights.csv"), "kg")
