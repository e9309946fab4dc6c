"""A model of 1,000 connected tanks: from the class to a result.

Flattening traces every equation, checks units, joins ports and orders blocks; compiling makes the
Functions and the sparse Jacobian. Promise: both together within 3 s.

    python benchmarks/compile_line.py
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from galenic import Experiment, Model, Parameter, Parts, Port, Simulator, Size, State, der
from galenic.engine.compile import compile_system
from galenic.modeling.ports import Liquid

COUNT = 1000


class StirredTank(Model):
    """Ideally mixed tank in which A decays by first order."""

    inlet = Port(Liquid)
    outlet = Port(Liquid)
    V = Parameter(1.0, "L", "liquid volume", lower=0)
    k = Parameter(0.001, "1/min", "rate constant", lower=0)
    c = State(0.0, "mol/L", "concentration of A", lower=0)

    def equations(m):
        yield der(m.c) == m.inlet.flow / m.V * (m.inlet.c - m.c) - m.k * m.c
        yield m.outlet.flow == m.inlet.flow
        yield m.outlet.c == m.c


class Line(Model):
    """Tanks in a row."""

    n = Size(COUNT, "number of tanks")
    tanks = Parts(StirredTank, n)

    def connections(m):
        for left, right in zip(m.tanks, m.tanks[1:], strict=False):
            yield left.outlet >> right.inlet


FEED = Experiment().set("tanks[0].inlet.flow", "1 L/s").set("tanks[0].inlet.c", "1 mol/L")


def main(quick: bool = False) -> dict[str, dict[str, Any]]:
    """Seconds for flattening, compiling, the first and the second run of 1,000 s."""
    begin = perf_counter()
    system = Line(n=100 if quick else COUNT).flatten()
    flattened = perf_counter()
    compiled = compile_system(system)
    _ = compiled.rhs, compiled.outputs, compiled.jacobian
    ready = perf_counter()
    simulator = Simulator(system)
    simulator.run(FEED, until="1000 s", every="10 s")
    first = perf_counter()
    simulator.run(FEED, until="1000 s", every="10 s")
    times = {
        "flatten": flattened - begin,
        "compile": ready - flattened,
        "first run": first - ready,
        "second run": perf_counter() - first,
    }
    promised = {"value": ready - begin, "unit": "s"} | ({} if quick else {"limit": 3.0})
    return {"flatten and compile": promised} | {
        name: {"value": seconds, "unit": "s"} for name, seconds in times.items()
    }


if __name__ == "__main__":
    for name, figure in main().items():
        print(f"{name:20} {figure['value']:8.3f} s")
