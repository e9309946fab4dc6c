"""The EPCIS repository: capture, first question after a start, queries, memory, index on disk.

Three events per pallet of ten packs: commissioned, packed, shipped. Processor time, so that other
work on the machine does not count.
"""

from __future__ import annotations

import json
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from galenic.clock import SystemClock, to_iso
from galenic.connect.epcis.query import Query
from galenic.records import open_site
from galenic.stages.supply.index import FILE
from galenic.stages.supply.repository import Repository, _parsed

IN_DOCUMENT = 900
START = 1_800_000_000 * 10**9
PALLET = "urn:epc:id:sscc:4012345.0000000007"


def events(count: int) -> Iterator[dict[str, Any]]:
    """Events that happened one second after the other."""
    for n in range(count // 3):
        packs = [f"urn:epc:id:sgtin:4012345.011122.{n * 10 + i}" for i in range(10)]
        pallet = f"urn:epc:id:sscc:4012345.{n:010d}"
        kinds = (
            ("commissioning", {"type": "ObjectEvent", "epcList": packs, "action": "ADD"}),
            ("packing", {"type": "AggregationEvent", "parentID": pallet, "childEPCs": packs,
                         "action": "ADD"}),
            ("shipping", {"type": "ObjectEvent", "epcList": [pallet], "action": "OBSERVE"}),
        )  # fmt: skip
        for place, (step, more) in enumerate(kinds):
            yield {
                "eventTime": to_iso(START + (3 * n + place) * 10**9),
                "eventTimeZoneOffset": "+00:00", "bizStep": step,
                "readPoint": {"id": "urn:epc:id:sgln:4012345.00001.0"}, **more,
            }  # fmt: skip


def spent(work: Callable[[], Any]) -> float:
    """Processor time of a piece of work [s]."""
    before = time.process_time()
    work()
    return time.process_time() - before


def held(store: Any) -> float:
    """What Python keeps for index and state of all goods, without parsed events [bytes]."""
    _parsed.cache_clear()
    tracemalloc.start()
    repository = Repository(store, SystemClock())
    repository.state()
    _parsed.cache_clear()
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return float(kept)


def main(quick: bool = False) -> dict[str, dict[str, Any]]:
    """Figures by name."""
    count = 900 if quick else 9_000
    found: dict[str, dict[str, Any]] = {}

    def note(name: str, value: float, unit: str) -> None:
        found[name] = {"value": value, "unit": unit}

    with tempfile.TemporaryDirectory() as folder:
        site, every = Path(folder) / "site", list(events(count))
        store = open_site(site, name="bench")
        repository = Repository(store, SystemClock())
        documents = [
            json.dumps(every[i : i + IN_DOCUMENT]).encode() for i in range(0, count, IN_DOCUMENT)
        ]
        note(
            "capture of an event",
            spent(lambda: [repository.capture(d, "bench") for d in documents]) / count * 1e6, "us",
        )  # fmt: skip
        store.close()
        store = open_site(site, readonly=True)
        _parsed.cache_clear()
        again = Repository(store, SystemClock())
        start = spent(lambda: len(again))
        note("first question after a start", start * 1e3, "ms")
        note("first state of one pallet", spent(lambda: again.story(PALLET)) * 1e3, "ms")
        note("state of all goods, per event", spent(lambda: again.state()) / count * 1e6, "us")
        pallet = Query.of({"MATCH_anyEPC": [PALLET]})
        seen = Query.of({"EQ_action": ["OBSERVE"]})
        note("events of one pallet", spent(lambda: again.select(pallet)) * 1e3, "ms")
        whole = spent(lambda: again.select(seen))
        note("query of every event, per event", whole / count * 1e6, "us")
        note("memory of the state of all goods, per event", held(store) / count / 1024, "KiB")
        store.close()
        held_index = sum(f.stat().st_size for f in site.glob(f"{FILE}*"))
        note("index on disk, per event", held_index / count, "B")
    return found
