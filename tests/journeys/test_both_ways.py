"""Over OPC UA in three processes, or in one process: the same samples, the same belief."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from galenic.clock import SECOND
from galenic.records import open_site
from galenic.signals import Sample
from galenic.stages.manufacturing.plant import TabletLine
from galenic.stages.manufacturing.twin import tablet_line
from galenic.twin.drive import Drive
from galenic.twin.level import Level
from galenic.twin.snapshot import restore
from galenic.twin.twin import Twin

QUANTITIES = (
    "api.W", "excipient.W", "hopper.M", "feed_frame.x[1]", "nir.bias", "press.rho_bulk",
)  # fmt: skip


@pytest.mark.slow
def test_five_minutes_over_opc_ua_agree_with_the_plant_in_process(project):
    line = [sys.executable, "-m", "galenic", "run", str(project)]
    line += ["--headless", "--for", "5 min", "--speed", "4", "--json"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    start = int(facts["plant"]["start"])
    with open_site(project.parent / "site", readonly=True) as store:
        live = restore(tablet_line(), store.checkpoint("line-1").data)
        received = [s for _, s in store.journal_read(kinds=["sample"]) if isinstance(s, Sample)]

    plant = TabletLine("day", 1, start=start)
    drive = Drive(Twin(tablet_line(), "line-1", start=start - SECOND, level=Level.SHADOW), plant)
    made: dict[tuple[str, int], object] = {}
    advance = plant.advance

    def watched(until: int) -> list[Sample]:
        samples = advance(until)
        made.update({(s.tag, s.source_time // 1000): s.value for s in samples})
        return samples

    plant.advance = watched
    drive.run(live.belief.time)

    begun = min(s.source_time for s in received if s.tag == "FeederAPI.Weight")
    same = [
        (s, made[s.tag, s.source_time // 1000])
        for s in received
        if s.tag == "FeederAPI.Weight" and (s.tag, s.source_time // 1000) in made
    ]
    assert len(same) >= 0.98 * (live.belief.time - begun) / SECOND
    assert all(sample.value == value for sample, value in same)
    here = drive.twin.estimator.predict(drive.twin.belief, live.belief.time, {})
    for name in QUANTITIES:
        apart = abs(live.belief.point(name) - here.point(name))
        # The first seconds and the newest readings may be missing on one side.
        assert apart < 2 * live.belief.sd(name), name
