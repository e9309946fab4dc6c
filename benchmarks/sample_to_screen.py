"""One sample from an OPC UA server to a screen: 50 tags at 10 Hz through a whole running site.

    python benchmarks/sample_to_screen.py [--tags 50] [--rate 10] [--for 20]

Three processes on this machine: the server of tags, ``galenic run`` (connector, journal with one
durable commit per group, fold with one correction per bundle, live channel) and the screen, a
WebSocket client at 4 frames per second. Latency is from the source time of each shown sample to
the arrival of its frame.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from opcua_latency import run_server

SECOND = 1_000_000_000
DEFINITION = """
import numpy as np
from galenic.inference.estimator import Noise
from galenic.inference.kalman import EKF
from galenic.inference.linear import LinearTransition
from galenic.twin.binding import Binding
from galenic.twin.definition import TwinDefinition

N = {tags}

def transition():
    return LinearTransition(-0.1 * np.eye(N), np.ones((N, 1)), np.eye(N))

def estimator(system, noise):
    return EKF(transition(), noise, bounds=False, gate=None)

def watched():
    bindings = tuple(
        Binding(f"Plant.T{{i:03d}}", f"y{{i}}", connection="plc", sd=1.0) for i in range(N)
    )
    start = {{f"x{{i}}": 100.0 for i in range(N)}}
    return TwinDefinition("bench", "1", transition().system, bindings, estimator=estimator,
                          noise=Noise(process={{f"x{{i}}": 10.0 for i in range(N)}}, start=start))
"""
PROJECT = """
[site]
name = "bench"
folder = "site"
address = "127.0.0.1:{port}"
[[connection]]
name = "plc"
kind = "opcua"
endpoint = "{endpoint}"
security = "None"
[[twin]]
id = "t"
definition = "definition.py:watched"
connection = "plc"
"""


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure(tags: int, rate: float, duration: float) -> dict[str, float]:
    """Latency of what the screen was shown, and how many corrections were made per second."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    source = context.Process(target=run_server, args=(there, tags, rate, duration))
    source.start()
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        (folder / "definition.py").write_text(DEFINITION.format(tags=tags))
        project = folder / "project.toml"
        project.write_text(PROJECT.format(port=port, endpoint=here.recv()))
        command = [sys.executable, "-m", "galenic", "run", str(project), "--headless"]
        site = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            found = asyncio.run(screen(folder / "site" / "server.json", here, duration))
        finally:
            site.send_signal(signal.SIGINT)
            site.wait(30)
    here.recv()
    source.join()
    return found


async def screen(address: Path, pipe: Any, duration: float) -> dict[str, float]:
    import websockets

    for _ in range(600):
        if address.exists():
            break
        await asyncio.sleep(0.1)
    facts = json.loads(address.read_text())
    url = facts["address"].replace("http", "ws") + f"/api/live?rate=4&token={facts['token']}"
    ages: list[float] = []
    async with websockets.connect(url, max_size=None) as socket:
        await socket.recv()
        await asyncio.sleep(2.0)
        pipe.send("go")
        begun = time.time_ns()
        end = time.monotonic() + duration
        while time.monotonic() < end:
            frame = json.loads(await asyncio.wait_for(socket.recv(), 10))
            now = time.time_ns()
            rows = frame.get("samples", {}).values()
            ages += [now - row["time"] for row in rows if row["time"] > begun]
    p50, p99, worst = np.percentile(ages, [50, 99, 100]) / 1e6
    return {"shown": len(ages), "p50_ms": p50, "p99_ms": p99, "max_ms": worst}


def main(quick: bool = False) -> dict[str, dict[str, Any]]:
    """Figures for the table of all benchmarks."""
    found = measure(50, 10.0, 8.0 if quick else 20.0)
    return {
        "values shown": {"value": found["shown"], "unit": "samples"},
        "sample to screen, median": {"value": round(found["p50_ms"]), "unit": "ms"},
        "sample to screen, p99": {"value": round(found["p99_ms"]), "unit": "ms", "limit": 1000},
    }


def command() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tags", type=int, default=50)
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--for", dest="duration", type=float, default=20.0)
    options = parser.parse_args()
    print(json.dumps(measure(options.tags, options.rate, options.duration)))


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    command()
