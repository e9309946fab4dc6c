"""The engine: compiled systems, experiments, simulation, sensitivities, one-step maps.

Names are loaded on first use, so that importing the package stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Compiled": "compile",
    "compile_system": "compile",
    "Experiment": "experiment",
    "Simulator": "simulate",
    "State": "state",
    "Linear": "linear",
    "Sensitivity": "sensitivity",
    "Transition": "discrete",
    "Trajectory": "trajectory",
    "Series": "trajectory",
    "Tape": "tape",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
