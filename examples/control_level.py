"""Predictive control of a tank: hold the level while the feed jumps, without ever overflowing.

The jump is announced, so the controller opens the valve before it comes.

python examples/control_level.py [level.png]
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

from galenic import Input, Model, Parameter, State, der, sqrt
from galenic.clock import SECOND
from galenic.decision.goal import Goal
from galenic.decision.mpc import MPC, Soft
from galenic.engine import Transition
from galenic.inference.belief import Gaussian


class Buffer(Model):
    """Buffer tank that runs out through a valve by gravity (Torricelli)."""

    area = Parameter(0.5, "m2", "cross section", lower=0)
    k = Parameter(2.0, "L/s", "flow of the open valve at 1 m", lower=0)
    feed = Input(1.0, "L/s", "flow in", role="disturbance", lower=0)
    valve = Input(0.5, "1", "opening of the valve", role="manipulated", lower=0, upper=1)
    level = State(1.0, "m", "level", lower=0)

    def equations(m):
        yield der(m.level) == (m.feed - m.valve * m.k * sqrt(m.level / "1 m")) / m.area


STEP = 20.0  # s
JUMP = 600.0  # s: from then on 1.6 L/s flow in
TARGET, CEILING = 1.0, 1.03  # m
LIMITS = {"valve": (0.0, 1.0, 0.002)}  # opening, and how fast it may move, 1/s


def run(announced: bool) -> list[tuple[float, float, float]]:
    """Time [s], level [m] and valve [1] of a closed loop."""
    system = Buffer().flatten()
    plant = Transition(system)
    mpc = MPC(
        system, moves={"valve": 2.0}, tracked={"level": 1.0},
        soft={"level": Soft(upper=f"{CEILING} m")}, grid=[STEP] * 15,
    )  # fmt: skip
    level, valve, before, rows = TARGET, 0.5, {}, []
    for time in np.arange(0.0, 1500.0, STEP):
        feed = 1.6e-3 if time >= JUMP else 1.0e-3
        ahead = [(JUMP - time, {"feed": 1.6e-3})] if announced and time < JUMP else []
        belief = Gaussian.of(int(time * SECOND), {"level": level})
        goal = Goal(belief.time, {"level": TARGET}, {"feed": feed, "valve": valve}, ahead, before)
        proposal = mpc.propose(belief, goal, LIMITS)
        valve, before = proposal.inputs["valve"], proposal.to_dict()
        rows.append((time, level, valve))
        p = [entry.value for entry in system.parameters]
        level = float(plant.step([level], [feed, valve], p, STEP)[0])
    return rows


def main(picture: str = "level.png") -> None:
    figure, (above, below) = plt.subplots(2, sharex=True, layout="constrained")
    for announced, name in ((False, "jump unknown"), (True, "jump announced")):
        time, level, valve = np.array(run(announced)).T
        above.plot(time / 60, level, label=name)
        below.step(time / 60, valve, where="post")
        print(
            f"{name:15} level {level.min():.3f} to {level.max():.3f} m, ends at {level[-1]:.3f} m"
        )
    above.axhline(CEILING, color="grey", linestyle=":", label="soft limit")
    above.legend()
    above.set_ylabel("level [m]")
    below.set(ylabel="valve", xlabel="time [min]")
    figure.savefig(picture)


if __name__ == "__main__":
    main(*sys.argv[1:])
