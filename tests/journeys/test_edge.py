"""An edge site that acts on its plant, hours without its centre, and kills of every process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import argon2
import pytest

from galenic.clock import SECOND
from galenic.records import open_site
from galenic.records.grants import Scope
from galenic.records.ledger import pending_intentions
from galenic.records.people import People

PATIENCE = 120.0
HOURS = 2.0

MACHINE = Path(__file__).with_name("edge_machine.py")


class Edge:
    """The edge machine, with its plant; it says how it is every 50 ms."""

    def __init__(self, folder: Path, access: dict[str, str]) -> None:
        self.log = (folder.parent / "edge.log").open("a")
        command = [sys.executable, str(MACHINE), str(folder), json.dumps(access)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)

    def until(self, condition) -> dict:
        """The first thing it says that fits."""
        limit = time.monotonic() + PATIENCE
        for line in self.process.stdout:
            facts = json.loads(line)
            if condition(facts):
                return facts
            assert time.monotonic() < limit, facts
        raise AssertionError(Path(self.log.name).read_text())

    def kill(self, number=signal.SIGKILL) -> str:
        self.process.send_signal(number)
        said = self.process.communicate(timeout=PATIENCE)[0]
        self.log.close()
        return said


class Centre:
    """A site that runs alone, and takes the records of the edge."""

    def __init__(self, project: Path) -> None:
        self.log = (project.parent / "centre.log").open("a")
        server = project.parent / "centre" / "server.json"
        server.unlink(missing_ok=True)
        command = [sys.executable, "-m", "galenic", "run", str(project), "--headless"]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        limit = time.monotonic() + PATIENCE
        while not server.exists():
            assert self.process.poll() is None and time.monotonic() < limit, self.log.name
            time.sleep(0.05)

    def kill(self, number=signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait(timeout=PATIENCE)
        self.log.close()


@pytest.fixture
def started():
    """What was started, killed at the end whatever happened."""
    made = []
    yield made
    for one in made:
        if one.process.poll() is None:
            one.kill()


def token_of(folder: Path) -> str:
    """A new site at the centre that knows the edge; the edge's token."""
    with open_site(folder, name="centre") as store:
        people = People(store, hasher=argon2.PasswordHasher(1, 8, 1))
        people.add("edge", None, ["service"], by="test")
        return people.tokens.make("edge", "edge", Scope(access="act"), 9, by="test")[1]


def everything(store):
    tags = ["Tank.Out", "Tank.Probe", "Tank.Feed", "Tank.Lot", "Tank.Running", "Tank.Remote"]
    return (
        list(map(repr, store.journal_rows())),
        [entry.hash for entry in store.ledger_read()],
        store.history(tags, 0, 2**62, versions="all").to_pylist(),
        [repr(signal) for _, signal in store.applied_read("tank")],
        store.head(),
    )


@pytest.mark.slow
def test_after_hours_alone_and_kills_of_every_process_the_centre_has_the_same_record(
    tmp_path, free_port, started
):
    """Two hours at 200 times real time at most; parts of 300 rows, killed between them."""
    token, project = tmp_path / "token", tmp_path / "centre.toml"
    token.write_text(token_of(tmp_path / "centre"))
    address = f"127.0.0.1:{free_port}"
    project.write_text(f'[site]\nname = "centre"\nfolder = "centre"\naddress = "{address}"\n')
    access = {"to": f"http://{address}", "token": str(token)}

    def begin(made):
        started.append(made)
        return made

    centre, edge = begin(Centre(project)), begin(Edge(tmp_path / "edge", access))
    before = edge.until(lambda facts: facts["rows"] > 0 and not facts["problem"])
    centre.kill()
    half = before["time"] + round(HOURS / 2 * 3600) * SECOND
    edge.until(lambda facts: facts["time"] > half)
    edge.kill()
    edge = begin(Edge(tmp_path / "edge", access))
    back = edge.until(lambda facts: facts["time"] > before["time"] + HOURS * 3600 * SECOND)
    assert "not reached" in back["problem"]
    for victim in ("edge", "centre", "edge", "centre"):
        if centre.process.poll() is not None:
            centre = begin(Centre(project))
        if edge.process.poll() is not None:
            edge = begin(Edge(tmp_path / "edge", access))
        rows = edge.until(lambda facts: True)["rows"]
        edge.until(lambda facts, old=rows: facts["rows"] > old and facts["behind"] > 0)
        (edge if victim == "edge" else centre).kill()
    centre = begin(Centre(project))
    edge.until(lambda facts: not facts["problem"])
    end = json.loads(edge.kill(signal.SIGTERM).splitlines()[-1])
    centre.kill(signal.SIGINT)

    assert end["failure"] == "None", end
    with open_site(tmp_path / "edge", readonly=True) as own:
        (copy,) = (tmp_path / "centre" / "replicas").iterdir()
        with open_site(copy, readonly=True) as replica:
            assert everything(replica) == everything(own)
            report = replica.verify(own.head())
            assert report.ok, report.text
        rows = own.history(["Tank.Out"], 0, 2**62, versions="all")["time"].to_pylist()
        done = [entry.time for entry in own.ledger_read(kinds=["done"])]
        intended = Counter(e.detail["key"] for e in own.ledger_read(kinds=["intended"]))
        performed = Counter(e.detail["key"] for e in own.ledger_read(kinds=["done"]))
        waiting = pending_intentions(own.ledger_read())
    assert rows == sorted(set(rows))
    gaps = [b - a for a, b in pairwise(rows) if b - a > SECOND]
    assert len(gaps) <= 3, gaps  # the plant is part of the edge machine that was killed thrice
    assert sum(before["time"] < time < back["time"] for time in done) > 100  # it acted alone
    assert max(intended.values()) == max(performed.values()) == 1
    assert (set(performed) <= set(intended), waiting) == (True, [])
