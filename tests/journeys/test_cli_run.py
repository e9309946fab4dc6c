"""A project is run, asked and told from the command line, verified and replayed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PATIENCE = 90.0


def galenic(*line: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "galenic", *line], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def document(*line: str, code: int = 0) -> dict:
    return json.loads(galenic(*line, "--json", code=code).stdout)


class Running:
    """The project, up and running at five times real time until Ctrl-C."""

    def __init__(self, project: Path) -> None:
        line = [sys.executable, "-m", "galenic", "run", str(project), "--headless", "--speed", "5"]
        self.server = project.parent / "site" / "server.json"
        self.process = subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        until = time.monotonic() + PATIENCE
        while not self.server.exists() and self.process.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert self.server.exists(), self.process.communicate(timeout=5)
        time.sleep(6)

    def stop(self) -> str:
        """Press Ctrl-C; what it had printed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, err
        return out


@pytest.fixture(scope="module")
def server(project):
    made = Running(project)
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.communicate()


@pytest.fixture
def running(project, server):
    return project


def test_the_token_of_the_server_is_its_owners_alone(running):
    assert (running.parent / "site" / "server.json").stat().st_mode & 0o077 == 0


def test_a_running_twin_is_asked_and_told_through_the_server(running):
    at = ["--project", str(running)]

    status = document("twins", "status", "line-1", *at)
    assert status["values"]["level"]["value"] == "shadow"
    forecast = document("twins", "forecast", "line-1", "--horizon", "2 min", *at)
    assert forecast["plots"][0]["y"][0]["style"] == "predicted"

    galenic("twins", "note", "line-1", "seen by the journey", *at)
    refused = document("twins", "setpoint", "line-1", "FeederAPI.Setpont", "2", "why", *at, code=1)
    assert "FeederAPI.Setpoint" in refused["hint"]


def test_records_are_verified_while_the_server_runs(running):
    report = document("verify", str(running))

    assert report["ok"]
    assert report["rows"] > 50


def test_a_taken_address_and_a_site_in_use_are_clear_errors(running, free_port, tmp_path):
    taken = document("run", str(running), "--headless", code=1)
    assert "Address already in use" in taken["found"]

    other = running.with_name("other.toml")
    port = json.loads((running.parent / "site" / "server.json").read_text())["address"][-5:]
    other.write_text(running.read_text().replace(port.strip(":"), str(free_port)))
    in_use = document("run", str(other), "--headless", code=1)
    assert "open for writing by process" in in_use["found"]


def test_ctrl_c_stops_all_and_a_later_run_resumes_and_replays(project, server):
    said = server.stop()
    assert "password" in said
    assert "stopped" in said
    assert not server.server.exists()

    summary = document("run", str(project), "--headless", "--for", "40s", "--speed", "10")
    assert summary["twins"]["line-1"]["folded"] > 50
    replayed = document("replay", str(project))
    assert replayed["ok"], replayed
    head = "{index}:{hash}:{offset}:{journal}".format(**document("verify", str(project))["head"])
    assert document("verify", str(project), "--head", head)["against"]


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ('definition = "tablet-line"', 'definition = "tablet-lin"', "tablet-line"),
        ('kind = "opcua"', 'kind = "opuca"', "opcua"),
        ("[[twin]]", "[[twins]]", "twin"),
        ('level = "shadow"', 'level = "shaddow"', "shadow"),
    ],
)
def test_a_typo_in_a_project_names_the_line_and_suggests(example, tmp_path, old, new, hint):
    path = tmp_path / "typo.toml"
    path.write_text(example.replace(old, new, 1))

    facts = document("run", str(path), code=2)

    assert facts["where"].startswith(f"{path}:")
    assert hint in facts["hint"]
