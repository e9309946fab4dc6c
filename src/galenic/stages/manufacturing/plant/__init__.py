"""The virtual plant: a tablet line with its own physics, controllers, noise and faults.

It stands for the real plant. It knows nothing of the models, estimators or controllers of galenic
and shares no equation with them; whoever works with it sees its tags and nothing else.
"""

from galenic.stages.manufacturing.plant.line import TabletLine
from galenic.stages.manufacturing.plant.metrics import Score, TruthRecord, score
from galenic.stages.manufacturing.plant.parameters import LineParameters
from galenic.stages.manufacturing.plant.scenarios import (
    NAMED,
    Scenario,
    find_scenario,
    read_scenario,
    scenario,
)

__all__ = [
    "NAMED",
    "LineParameters",
    "Scenario",
    "Score",
    "TabletLine",
    "TruthRecord",
    "find_scenario",
    "read_scenario",
    "scenario",
    "score",
]
