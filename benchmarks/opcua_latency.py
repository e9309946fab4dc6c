"""From a value at an OPC UA server to a sample at its consumer: latency and loss.

    python benchmarks/opcua_latency.py [--tags 50] [--rate 10] [--for 20]

Server and client run in two processes on this machine's loopback, unencrypted. Latency is from
the server's clock at publication (the source time) to the batch in the consumer's hands.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import platform
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

SECOND = 1_000_000_000


async def serve(pipe: Connection, tags: int, rate: float, duration: float) -> None:
    from galenic.connect.connector import TagInfo
    from galenic.connect.opcua.server import TagServer
    from galenic.signals import Sample

    names = [f"Plant.T{i:03d}" for i in range(tags)]
    async with TagServer([TagInfo(name, "kN") for name in names]) as server:
        pipe.send(server.endpoint)
        while not pipe.poll():
            await asyncio.sleep(0.05)
        cycles = int(duration * rate)
        due = time.monotonic()
        for cycle in range(cycles):
            now = time.time_ns()
            await server.publish(Sample(name, float(cycle), "kN", now, now) for name in names)
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await asyncio.sleep(2.0)
        pipe.send({"cpu": time.process_time()})


def run_server(pipe: Connection, tags: int, rate: float, duration: float) -> None:
    asyncio.run(serve(pipe, tags, rate, duration))


async def listen(pipe: Connection, endpoint: str, expected: int) -> dict[str, float]:
    from galenic.connect.opcua.client import OpcUaConnector

    client = OpcUaConnector(endpoint, "None", publishing=0.1, sampling=0.1)
    await client.open()
    names = [info.tag for info in await client.browse()]
    batches = client.subscribe(names)
    latencies: list[int] = []
    seen: set[str] = set()
    started = time.process_time()
    initial = len(names)
    while len(seen) < expected:
        try:
            async with asyncio.timeout(5):
                batch = await anext(batches)
        except TimeoutError:
            break
        now = time.time_ns()
        if initial:
            initial -= len(batch)
            if initial <= 0:
                pipe.send("go")
            continue
        latencies += [now - sample.source_time for sample in batch]
        seen.update(sample.key for sample in batch)
    cpu = time.process_time() - started
    await client.close()
    p50, p99, worst = np.percentile(latencies, [50, 99, 100]) / 1e6
    return {
        "samples": len(seen), "lost": expected - len(seen), "p50_ms": p50, "p99_ms": p99,
        "max_ms": worst, "client_us_per_sample": cpu / max(1, len(seen)) * 1e6,
    }  # fmt: skip


def measure(tags: int, rate: float, duration: float) -> dict[str, float]:
    """Latency and loss over one run."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    server = context.Process(target=run_server, args=(there, tags, rate, duration))
    server.start()
    expected = int(duration * rate) * tags
    result = asyncio.run(listen(here, here.recv(), expected))
    server_cpu = here.recv()["cpu"]
    server.join()
    result["server_us_per_sample"] = server_cpu / expected * 1e6
    return {key: round(value, 1) for key, value in result.items()}


def main(quick: bool = False) -> dict[str, dict[str, Any]]:
    """Figures for the table of all benchmarks: 50 tags at 10 Hz."""
    found = measure(50, 10.0, 5.0 if quick else 20.0)
    return {
        "lost of 50 tags at 10 Hz": {"value": found["lost"], "unit": "samples", "limit": 0},
        "latency p50": {"value": found["p50_ms"], "unit": "ms"},
        "latency p99": {"value": found["p99_ms"], "unit": "ms", "limit": 1000},
        "client": {"value": found["client_us_per_sample"], "unit": "us/sample"},
        "server": {"value": found["server_us_per_sample"], "unit": "us/sample"},
    }


def command() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tags", type=int, default=50)
    parser.add_argument("--rate", type=float, default=10.0, help="updates of each tag per second")
    parser.add_argument("--for", dest="duration", type=float, default=20.0, help="seconds")
    options = parser.parse_args()
    facts = {"tags": options.tags, "rate": options.rate, "python": platform.python_version()}
    print(json.dumps({**facts, **measure(options.tags, options.rate, options.duration)}))


if __name__ == "__main__":
    command()
