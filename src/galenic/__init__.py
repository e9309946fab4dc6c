"""galenic: digital twins over the whole life of a medicine."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

# Filters and controllers multiply small matrices very often, where threads of the linear algebra
# library cost more than they give. Whoever wants them sets the variable before the import.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

__version__ = "0.1.0"

_HOME = {
    "Model": "modeling.model",
    **dict.fromkeys(
        ("Input", "Mode", "Output", "Parameter", "Part", "Parts", "Size", "State", "Variable"),
        "modeling.declare",
    ),
    "Port": "modeling.ports",
    **dict.fromkeys(("At", "Every", "When"), "modeling.events"),
    **dict.fromkeys(("Conserved", "System"), "modeling.system"),
    **dict.fromkeys(("Field", "Grid"), "modeling.fields"),
    "ParameterSet": "modeling.parameters",
    "Population": "modeling.variability",
    "Table": "modeling.tables",
    "Quantity": "units",
    "quantity": "units",
    **dict.fromkeys(("delay", "der", "time"), "modeling.delays"),
    **dict.fromkeys(
        ("clip", "cos", "erf", "exp", "log", "maximum", "minimum", "sin", "smooth_step", "sqrt",
         "tanh", "total", "vertcat", "where"),
        "modeling.functions",
    ),
    **dict.fromkeys(("Experiment", "Simulator", "Trajectory"), "engine"),
}  # fmt: skip

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
