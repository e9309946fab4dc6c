"""The twin definition ``press-record``: a press seen through its own production record.

Tuned on batch 368 of the record behind docs/validation/press-record.md and on nothing else.
"""

from __future__ import annotations

from typing import Any

from galenic.inference.augment import Augmented
from galenic.inference.estimator import Noise
from galenic.inference.exact import best_transition
from galenic.library.tablet.press_record import ForceHeldPress
from galenic.stages.manufacturing.press_record.filter import PressFilter
from galenic.twin.binding import Binding
from galenic.twin.definition import Estimation, TwinDefinition
from galenic.twin.fold import FoldRules
from galenic.twin.health import HealthRules

MAIN, PRE, FILL = "main_force", "pre_force", "fill_depth"
TAGS = {MAIN: "Press.MainForce", PRE: "Press.PreForce", FILL: "Press.FillDepth"}

# What force and pre force can tell at a nearly constant gap (see identifiability.py): one
# combination of density and compressibility, the force that the loop holds, and the zero of the
# pre compression sensor. The filter sets the noises itself.
ESTIMATED = (
    Augmented("stiffness", log=True, sd=0.3, drift=1.5e-3),
    Augmented("set_force", log=True, sd=0.3, drift=3e-6),
    Augmented("pre_zero", acts_on=PRE, sd=200.0, drift=0.8),
    Augmented("main_noise"),
    Augmented("pre_noise"),
)
RESTART = {"stiffness": 0.03, "set_force": 0.06, "pre_zero": 90.0}

NOISE = Noise(
    process={FILL: 5e-6, "filled": 1e-7},
    measurement={MAIN: 48.0, PRE: 20.0, FILL: 1e-6},
    start={FILL: 1e-4, "filled": 1e-4},
)


def _read(tag: str, quantity: str = "", unit: str = "1", **facts: Any) -> Binding:
    return Binding(tag, quantity, unit, connection="record", **facts)


BINDINGS = (
    _read(TAGS[MAIN], MAIN, "kN", sd=0.048, resolution=0.1, plausible=(0, 60), stale_after=60.0),
    _read(TAGS[PRE], PRE, "kN", sd=0.02, resolution=0.1, plausible=(0, 30), stale_after=60.0),
    _read(TAGS[FILL], FILL, "mm", sd=1e-3, resolution=0.01, plausible=(0.5, 20), stale_after=60.0),
    # A gap belongs to the forces of its own row, so it counts from just before them.
    _read("Press.MainGap", "main_gap", "mm", plausible=(0.1, 5), lag=1.0),
    _read("Press.PreGap", "pre_gap", "mm", plausible=(0.1, 10), lag=1.0),
    # A reading is a mean over the time since the last one: what it says of a press that has just
    # started or stopped belongs to the state before.
    _read("Press.Speed", "speed", "tablet/h", calibration=(1000.0, 0.0)),
    _read("Press.EjectionForce", unit="N"),
    _read("Press.ForceDeviation", unit="%"),
    _read("Press.Batch"),
)


# The filter of a press that stops and starts; every reading counts, so there is no gate.
ESTIMATOR = Estimation(
    PressFilter,
    {
        "augmented": ESTIMATED,
        "gate": None,
        "bounds": False,
        "stepper": best_transition,
        "restart": RESTART,
    },
)


def press_record() -> TwinDefinition:
    """A shadow: it reads forces, depth, gaps and speed, and writes nothing."""
    return TwinDefinition(
        name="press-record",
        version="1",
        model=ForceHeldPress,
        bindings=BINDINGS,
        noise=NOISE,
        estimator=ESTIMATOR,
        shown=(MAIN, PRE, FILL),
        fold=FoldRules(lateness=60.0, checkpoint=10.0),
        # A depth that moves in steps has innovations with long tails: look at 15 minutes of them.
        health=HealthRules(window=90, improbable=1e-30, critical=(TAGS[MAIN],)),
        tick=10.0,
        horizon=900.0,
        every=60.0,
    )
