"""From a Sparkplug edge node through a broker to the host's consumer: latency, rate and loss.

    python benchmarks/mqtt_throughput.py [--broker HOST:PORT] [--tags 50] [--rate 10] [--for 20]

Edge node, broker and host run in three processes on this machine's loopback, unencrypted; every
sample is synced to the edge's disk before it is sent. Latency is from the source time at
publication to the batch in the consumer's hands. After that a burst of 100,000 samples in batches
of 1,000 is published as fast as the edge takes it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import platform
import tempfile
import time
import uuid
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

BURST, BATCH = 100_000, 1_000


async def publish(
    pipe: Connection, broker: str, group: str, tags: int, rate: float, duration: float
) -> None:
    from galenic.connect.connector import TagInfo
    from galenic.connect.mqtt.edge import EdgeNode
    from galenic.signals import Sample

    names = [f"T{i:03d}" for i in range(tags)]
    host, _, port = broker.rpartition(":")
    with tempfile.TemporaryDirectory() as folder:
        edge = EdgeNode(
            host, group, "edge", [TagInfo(name, "kN") for name in names], primary_host=group,
            outbox=Path(folder) / "outbox.db", tls=False, port=int(port),
        )  # fmt: skip
        async with edge:
            pipe.send("ready")
            while not pipe.poll():
                await asyncio.sleep(0.05)
            pipe.recv()
            due = time.monotonic()
            for cycle in range(int(duration * rate)):
                now = time.time_ns()
                await edge.publish(Sample(name, float(cycle), "kN", now, now) for name in names)
                due += 1 / rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            await edge.drain()
            pipe.send({"cpu": time.process_time()})
            while not pipe.poll():
                await asyncio.sleep(0.05)
            pipe.recv()
            start = time.time_ns()
            for first in range(0, BURST, BATCH):
                times = range(start + first, start + first + BATCH)
                await edge.publish(Sample(names[t % tags], -1.0, "kN", t, t) for t in times)
            pipe.send(time.time_ns() - start)
            while not pipe.poll():
                await asyncio.sleep(0.05)


def run_edge(pipe: Connection, *given: Any) -> None:
    asyncio.run(publish(pipe, *given))


async def listen(pipe: Connection, broker: str, group: str, expected: int) -> dict[str, float]:
    from galenic.connect.mqtt.host import SparkplugHost

    address, _, port = broker.rpartition(":")
    host = SparkplugHost(
        address, group, group, nodes=["edge"], root="edge", tls=False, port=int(port)
    )
    await host.open()
    batches = host.subscribe([info.tag for info in await host.browse()])
    await asyncio.sleep(1.0)
    pipe.send("go")
    started = time.process_time()
    seen: set[str] = set()
    latencies: list[int] = []
    while len(seen) < expected:
        try:
            async with asyncio.timeout(5):
                batch = await anext(batches)
        except TimeoutError:
            break
        now = time.time_ns()
        fresh = [sample for sample in batch if sample.value is not None]
        latencies += [now - sample.source_time for sample in fresh]
        seen.update(sample.key for sample in fresh)
    cpu = time.process_time() - started
    edge_cpu = pipe.recv()["cpu"]
    pipe.send("burst")
    begun = time.monotonic()
    burst: set[str] = set()
    while len(burst) < BURST:
        async with asyncio.timeout(30):
            burst.update(sample.key for sample in await anext(batches) if sample.value == -1.0)
    taken = time.monotonic() - begun
    stored = pipe.recv() / 1e9
    pipe.send("end")
    await host.close()
    p50, p99, worst = np.percentile(latencies, [50, 99, 100]) / 1e6
    return {
        "samples": len(seen), "lost": expected - len(seen), "p50_ms": p50, "p99_ms": p99,
        "max_ms": worst, "host_us_per_sample": cpu / expected * 1e6,
        "edge_us_per_sample": edge_cpu / expected * 1e6, "stored_per_s": BURST / stored,
        "delivered_per_s": BURST / taken,
    }  # fmt: skip


def measure(broker: str, tags: int, rate: float, duration: float) -> dict[str, float]:
    """Latency, rates and loss over one run."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    group = f"bench-{uuid.uuid4().hex[:8]}"
    edge = context.Process(target=run_edge, args=(there, broker, group, tags, rate, duration))
    edge.start()
    here.recv()
    result = asyncio.run(listen(here, broker, group, int(duration * rate) * tags))
    edge.join()
    return {key: round(value, 1) for key, value in result.items()}


def command() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", default="127.0.0.1:1883")
    parser.add_argument("--tags", type=int, default=50)
    parser.add_argument("--rate", type=float, default=10.0, help="updates of each tag per second")
    parser.add_argument("--for", dest="duration", type=float, default=20.0, help="seconds")
    options = parser.parse_args()
    facts = {"tags": options.tags, "rate": options.rate, "python": platform.python_version()}
    found = measure(options.broker, options.tags, options.rate, options.duration)
    print(json.dumps({**facts, **found}))


if __name__ == "__main__":
    command()
