"""A tank that is fed: the smallest definition with everything a twin can have.

Two tanks in series, level-free and without units, with an exact linear model. It serves tests,
tours and as a pattern: bindings in both directions, guard, heartbeat, remote switch, genealogy and
a controller that a worker process can make.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from galenic.clock import SECOND, nanoseconds
from galenic.connect.connector import BAD_NOT_WRITABLE, TagInfo, WriteResult
from galenic.decision.goal import Goal
from galenic.identity import generator
from galenic.inference.belief import Belief
from galenic.inference.estimator import Estimator, Noise
from galenic.inference.kalman import EKF
from galenic.inference.linear import LinearTransition
from galenic.signals import Sample
from galenic.twin.binding import Binding
from galenic.twin.definition import Control, TwinDefinition
from galenic.twin.fold import FoldRules
from galenic.twin.genealogy import GenealogyRules, Residence
from galenic.twin.guard import Guard, Heartbeat, Remote, Rule
from galenic.twin.health import HealthRules
from galenic.twin.interlock import Interlock

A = [[-0.05, 0.0], [0.05, -0.05]]
B = [[0.05], [0.0]]
C = [[0.0, 1.0]]
TAU = 20.0


def transition() -> LinearTransition:
    """Two tanks of 20 s each, fed by u0; y0 is the concentration of the second."""
    return LinearTransition(A, B, C)


def estimator(system: Any, noise: Noise) -> Estimator:
    """A Kalman filter, which is exact for this model."""
    return EKF(transition(), noise, step=10.0, bounds=False)


class Proportional:
    """Moves the feed by a share of the distance to the target."""

    def __init__(self, system: Any, gain: float = 0.5, wait: float = 0.0) -> None:
        self.gain = gain
        self.wait = wait
        self.runs = 0

    def propose(self, belief: Belief, goal: Goal, limits: Mapping[str, Any]) -> dict[str, Any]:
        """The next feed; ``wait`` [s] makes all runs but the first slow on purpose."""
        self.runs += 1
        if self.wait and self.runs > 1:
            import time

            time.sleep(self.wait)
        aim = goal.targets.get("y0", 0.0)
        low, high, _ = limits["u0"]
        feed = aim + self.gain * (aim - belief.mean("x1"))
        return {"inputs": {"u0": min(max(feed, low), high)}, "reasons": [f"aim at {aim:g}"]}


BINDINGS = (
    Binding("Tank.Out", "y0", connection="plc", sd=0.02, stale_after=10.0, plausible=(-5.0, 20.0)),
    Binding("Tank.Probe", "x0", connection="plc", sd=0.1, stale_after=30.0),
    Binding("Tank.Feed", "u0", connection="plc", direction="both"),
    Binding("Tank.Running", connection="plc"),
    Binding("Tank.Lot", connection="plc"),
    Binding("Tank.Beat", connection="plc", direction="out"),
    Binding("Tank.Remote", connection="plc", direction="both"),
    Binding("Lab.Out", "y0", connection="manual", sd=0.005),
)

GUARD = Guard(
    rules=(
        Rule("Tank.Feed", 0.0, 10.0, rate=60.0, deadband=0.001, fresh={"Tank.Out": 10.0}),
        Rule("Tank.Remote"),
    ),
    interlocks=(Interlock("Tank.Running", "the tank is not running"),),
    heartbeat=Heartbeat("Tank.Beat", 2.0),
    remote=Remote("Tank.Remote", 20.0),
)


def tank() -> TwinDefinition:
    """The definition with a controller."""
    return TwinDefinition(
        name="tank",
        version="1",
        model=transition().system,
        bindings=BINDINGS,
        noise=Noise(process={"x0": 0.02, "x1": 0.02}, start={"x0": 0.5, "x1": 0.5}),
        estimator=estimator,
        controller=Control("galenic.twin.example:Proportional", every=5.0, deadline=5.0),
        guard=GUARD,
        targets={"y0": 2.0},
        shown=("y0", "x0"),
        fold=FoldRules(lateness=60.0, checkpoint=10.0),
        health=HealthRules(window=20),
        genealogy=GenealogyRules({"Tank.Lot": Residence(20.0, 2.0)}, ("u0",), "Tank.Running"),
        horizon=60.0,
        every=5.0,
    )


def watched_tank() -> TwinDefinition:
    """The definition without a controller."""
    return replace(tank(), controller=None)


def patient_tank(patience: float) -> TwinDefinition:
    """The definition with ``patience`` [s] as each of its limits of age, for busy machines."""
    bindings = (replace(one, stale_after=patience) if one.stale_after else one for one in BINDINGS)
    rules = tuple(
        replace(rule, fresh=dict.fromkeys(rule.fresh, patience), expires=patience)
        for rule in GUARD.rules
    )
    remote = replace(GUARD.remote, grace=patience) if GUARD.remote else None
    return replace(
        tank(),
        bindings=tuple(bindings),
        guard=replace(GUARD, rules=rules, remote=remote),
    )


class TankPlant:
    """The physical tank, simulated: Euler steps of its own, seeded noise, remote switch.

    Without a heartbeat for ``patience`` [s] it goes back to local control, as a line does.
    """

    def __init__(self, start: int, seed: int = 1, patience: float = 10.0) -> None:
        self.time = start
        self.content = [1.0, 1.0]
        self.values: dict[str, Any] = {
            "Tank.Feed": 1.0, "Tank.Running": True, "Tank.Lot": "A", "Tank.Beat": 0,
            "Tank.Remote": False,
        }  # fmt: skip
        self._beat = start
        self._seed = seed
        self._patience = nanoseconds(patience)

    def tags(self) -> list[TagInfo]:
        return [
            TagInfo("Tank.Out", "1", description="concentration of the second tank"),
            TagInfo("Tank.Probe", "1", description="concentration of the first tank"),
            TagInfo("Tank.Feed", "1", writable=True, description="concentration of the feed"),
            TagInfo("Tank.Running", type="bool"),
            TagInfo("Tank.Lot", type="str"),
            TagInfo("Tank.Beat", "1", writable=True, type="int"),
            TagInfo("Tank.Remote", writable=True, type="bool"),
        ]

    def advance(self, until: int) -> list[Sample]:
        """One sample of each tag per second of plant time."""
        samples = []
        while self.time + SECOND <= until:
            self.time += SECOND
            first, second = self.content
            self.content = [
                first + (self.values["Tank.Feed"] - first) / TAU,
                second + (first - second) / TAU,
            ]
            if self.time - self._beat > self._patience:
                self.values["Tank.Remote"] = False
            samples += self._measured()
        return samples

    def _measured(self) -> list[Sample]:
        noise = generator("tank", self._seed, self.time).normal(size=2)
        values = {
            "Tank.Probe": float(self.content[0] + 0.1 * noise[0]),
            "Tank.Out": float(self.content[1] + 0.02 * noise[1]),
            **{tag: value for tag, value in self.values.items() if tag != "Tank.Beat"},
        }
        return [Sample(tag, value, "", self.time, self.time) for tag, value in values.items()]

    def write(self, tag: str, value: Any, unit: str, time: int) -> WriteResult:
        """Remote writes of the feed need the switch; everything else is taken."""
        if tag == "Tank.Feed" and not self.values["Tank.Remote"]:
            return WriteResult(BAD_NOT_WRITABLE, self.values[tag], "in local control")
        self.values[tag] = value
        if tag == "Tank.Beat":
            self._beat = time
        return WriteResult(read_back=value)
