"""Kill a process that writes records, again and again, and count what is lost or done twice.

A child takes samples, intends and performs writes on a plant (a file that it syncs), seals, puts
segments together, backs up, and moves the site to PostgreSQL and back where a server answers
(GALENIC_POSTGRES). It is killed (SIGKILL) at random moments of random kinds of work, also between
*intended* and *done*. After every kill: all records verify, every acknowledged sample is there
once, no write was performed twice, and the next child resolves what was left open.

    python benchmarks/kills.py [--kills 100] [--seed 1] [--folder DIR]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

from galenic.records import open_site
from galenic.records.backup import MANIFEST, back_up, restore
from galenic.records.ledger import pending_intentions
from galenic.records.moving import move_site
from galenic.records.places import DATABASE
from galenic.records.shelving import compact
from galenic.records.site import SiteStore
from galenic.signals import Record, Sample

SECOND = 1_000_000_000
BATCH = 50
SPAN = 1000 * SECOND
FOREVER = 2**62
WORK = ("write", "seal", "write", "volume", "compact", "write", "seal", "backup", "seal", "move")


def say(word: str, **facts: Any) -> None:
    print(json.dumps({"say": word, **facts}), flush=True)


class Child:
    """What is killed."""

    def __init__(self, folder: Path, places: list[str]) -> None:
        self.folder = folder
        self.places = itertools.cycle(places)
        self.store = self.opened()
        self.plant = os.open(folder.parent / "plant", os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self.reconcile()
        self.next = next_sample(self.store)

    def opened(self) -> SiteStore:
        begin = time.perf_counter()
        store = open_site(self.folder)
        place = "embedded" if store.place.endswith(DATABASE) else "PostgreSQL"
        say("open", took=time.perf_counter() - begin, place=place)
        return store

    def reconcile(self) -> None:
        """Ask the plant what became of intentions; nothing is repeated."""
        performed = set(performed_at(self.folder))
        for entry in pending_intentions(self.store.ledger_read()):
            key = entry.detail["key"]
            with self.store.transaction() as tx:
                outcome = "done" if key in performed else "failed"
                tx.ledger(Record(outcome, 1, "plant", {"key": key}, reason="restarted"))

    def run(self, start: int) -> None:
        for turn in itertools.count(start):
            self.take()
            kind = WORK[turn % len(WORK)]
            say("begin", work=kind)
            getattr(self, kind)(turn)
            say("end", work=kind)

    def take(self) -> None:
        first = self.next
        samples = [
            Sample(f"T{i % 5}", float(i), "kg", i * SECOND, i) for i in range(first, first + BATCH)
        ]
        with self.store.transaction() as tx:
            tx.take(samples, first)
        self.next += BATCH
        say("taken", until=self.next)

    def write(self, turn: int) -> None:
        key = f"w-{uuid.uuid4().hex}"
        with self.store.transaction() as tx:
            tx.ledger(Record("intended", 1, "plant", {"key": key}))
        os.write(self.plant, f"{key}\n".encode())
        os.fsync(self.plant)
        with self.store.transaction() as tx:
            tx.ledger(Record("done", 1, "plant", {"key": key}))

    def seal(self, turn: int) -> None:
        self.store.seal((self.next - 20) * SECOND, self.next)

    def volume(self, turn: int) -> None:
        self.store.seal_journal(FOREVER, 1, 300)

    def compact(self, turn: int) -> None:
        compact(self.store, self.next // 1000 * SPAN, 1, SPAN)

    def backup(self, turn: int) -> None:
        back_up(self.store, self.folder.parent / "backups" / f"{turn}-{self.next}")

    def move(self, turn: int) -> None:
        self.store.close()
        place = next(place for place in self.places if place != self.store.place)
        if place not in str(self.store.place):
            move_site(self.folder, place)
        self.store = self.opened()


def next_sample(store: SiteStore) -> int:
    latest = store.latest()
    return max((int(sample.value or 0) + 1 for sample in latest.values()), default=0)


def performed_at(folder: Path) -> list[str]:
    path = folder.parent / "plant"
    return path.read_text().split() if path.is_file() else []


def places() -> list[str]:
    """Where the site moves between; only the folder, where no server answers."""
    address = os.environ.get("GALENIC_POSTGRES", "postgresql://127.0.0.1:5432/postgres")
    try:
        import psycopg

        psycopg.connect(address, connect_timeout=3).close()
    except Exception:
        return ["embedded"]
    return [f"{address}?schema=galenic_kills_{uuid.uuid4().hex[:12]}", "embedded"]


def dropped(place: str) -> None:
    if "schema=" in place:
        import psycopg

        address, _, name = place.partition("?schema=")
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


class Driver:
    """Starts, kills, and looks at what is left."""

    def __init__(self, folder: Path, seed: int, sites: list[str]) -> None:
        self.folder = folder / "site"
        self.sites = sites
        self.moments = random.Random(seed)
        self.acknowledged = 0
        self.during: Counter[str] = Counter()
        self.opens: dict[str, list[float]] = {}
        self.starts: list[float] = []
        self.faults: list[str] = []

    def kill_one(self, number: int) -> None:
        begin = time.perf_counter()
        command = [sys.executable, __file__, "--child", str(self.folder), str(number * 3)]
        environment = {**os.environ, "GALENIC_KILLS": json.dumps(self.sites)}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        first = [process.stdout.readline() for _ in range(2)]  # open, taken
        self.starts.append(time.perf_counter() - begin)
        time.sleep(self.moments.uniform(0.0, 0.6) ** 2 * 4)
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0].splitlines()
        if process.returncode != -signal.SIGKILL:
            self.faults.append(f"child {number} ended by itself: {process.returncode}")
        self.heard([*first, *rest])

    def heard(self, lines: list[str]) -> None:
        work = "start"
        for line in lines:
            try:
                facts = json.loads(line)
            except ValueError:
                continue  # the last line can be cut
            if facts["say"] == "open":
                self.opens.setdefault(facts["place"], []).append(facts["took"])
            elif facts["say"] == "taken":
                self.acknowledged = max(self.acknowledged, facts["until"])
            work = facts["work"] if facts["say"] == "begin" else "take"
        self.during[work] += 1

    def look(self) -> None:
        """Everything that must hold of what a kill left."""
        with open_site(self.folder, readonly=True) as store:
            report = store.verify()
            if not report.ok:
                self.faults.append(report.text)
            tags = [f"T{i}" for i in range(5)]
            table = store.history(tags, -FOREVER, FOREVER, versions="all")
            stored = sorted(table["value"].to_pylist())
            journalled = [s.value for _, s in store.journal_read(kinds=["sample"])]
            entries = list(store.ledger_read(kinds=["intended", "done", "failed"]))
        if stored != [float(i) for i in range(len(stored))]:
            self.faults.append("history has gaps or doubles")
        if journalled != stored:
            self.faults.append("the journal is not the history")
        if len(stored) < self.acknowledged:
            self.faults.append(f"{self.acknowledged - len(stored)} acknowledged samples are lost")
        performed = Counter(performed_at(self.folder))
        intended = Counter(e.detail["key"] for e in entries if e.kind == "intended")
        closed = Counter(e.detail["key"] for e in entries if e.kind != "intended")
        if any(count > 1 for each in (performed, intended, closed) for count in each.values()):
            self.faults.append("a write was performed, intended or closed twice")
        if set(performed) - set(intended):
            self.faults.append("a write was performed without an intention")
        if len(set(intended) - set(closed)) > 1:
            self.faults.append("an older intention was left open")

    def backups(self) -> int:
        """Restore every backup that was finished; how many."""
        found = sorted((self.folder.parent / "backups").glob(f"*/{MANIFEST}"))
        finished = [path.parent for path in found if not path.parent.name.endswith("unfinished")]
        for path in finished:
            target = self.folder.parent / "restored" / path.name
            restore(path, target)
        return len(finished)


def fill(folder: Path, rows: int) -> None:
    """Record packs without sealing any, and wait to be killed with the log full."""
    store = open_site(folder)
    for first in range(0, rows, 5000):
        times = range(first, first + 5000)
        samples = [Sample(f"T{i % 1000}", i * 0.37 % 100, "kg", i * SECOND, i) for i in times]
        with store.transaction() as tx:
            tx.take(samples, first)
    say("filled")
    signal.pause()


def large(folder: Path, rows: int) -> float:
    """How long [s] a site with so many unsealed samples takes to open after a kill, and to commit.

    In this process, in which all code is loaded already: that is measured by `import_time`.
    """
    command = [sys.executable, __file__, "--fill", str(folder), str(rows)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    begin = time.perf_counter()
    with open_site(folder) as store:
        with store.transaction() as tx:
            tx.take([Sample("T0", 1.0, "kg", rows * SECOND, rows)], rows)
        took = time.perf_counter() - begin
        assert store.head().offset == rows + 1
    return took


def measure(kills: int, seed: int, folder: Path) -> dict[str, Any]:
    sites = places()
    driver = Driver(folder, seed, sites)
    try:
        for number in range(kills):
            driver.kill_one(number)
            driver.look()
        restored = driver.backups()
    finally:
        dropped(sites[0])
    return {
        "kills": kills,
        "while": dict(driver.during),
        "acknowledged samples": driver.acknowledged,
        "writes": len(performed_at(driver.folder)),
        "backups restored": restored,
        "faults": driver.faults,
        "longest opening, s": {place: round(max(took), 2) for place, took in driver.opens.items()},
        "longest start to first commit, s": round(max(driver.starts), 2),
    }


def main(quick: bool = False) -> dict[str, dict[str, Any]]:
    """Figures for the table of all benchmarks."""
    with tempfile.TemporaryDirectory() as place:
        found = measure(8 if quick else 30, 1, Path(place))
        opened = large(Path(place) / "large", 100_000 if quick else 2_000_000)
    openings = {
        f"longest opening, {place}": {"value": took, "unit": "s", "limit": 5.0}
        for place, took in found["longest opening, s"].items()
    }
    return {
        "faults": {"value": len(found["faults"]), "unit": "of any kind", "limit": 0},
        **openings,
        "opening and commit, unsealed samples": {"value": opened, "unit": "s", "limit": 5.0},
    }


def command() -> None:
    if sys.argv[1:2] == ["--fill"]:
        fill(Path(sys.argv[2]), int(sys.argv[3]))
    if sys.argv[1:2] == ["--child"]:
        Child(Path(sys.argv[2]), json.loads(os.environ["GALENIC_KILLS"])).run(int(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = measure(options.kills, options.seed, Path(place))
        found["opening and commit, 2,000,000 unsealed samples, s"] = round(
            large(Path(place) / "large", 2_000_000), 3
        )
    for key, value in found.items():
        print(f"{key}: {value}")


if __name__ == "__main__":
    command()
