"""Many individuals of one model at once: tables in, labelled arrays and summaries out.

Names are loaded on first use, so that importing the package stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Attainment": "summaries",
    "Histogram": "summaries",
    "Individuals": "individuals",
    "Measure": "measures",
    "Moments": "summaries",
    "Quantiles": "quantiles",
    "Trajectories": "result",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
