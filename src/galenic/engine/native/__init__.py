"""Population kernels: a model as machine code that integrates one individual per vector lane."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from galenic.engine.native.job import Kind, Status
    from galenic.engine.native.kernel import Control, Kernel, Outcome, compile_kernel, is_linear
    from galenic.engine.native.methods import METHODS
    from galenic.engine.native.problem import Problem
    from galenic.engine.native.schedule import Events
    from galenic.engine.native.sensitive import sensitive_events, with_sensitivities

_HOMES = {
    "Control": "kernel",
    "Events": "schedule",
    "Kernel": "kernel",
    "Kind": "job",
    "METHODS": "methods",
    "Outcome": "kernel",
    "Problem": "problem",
    "Status": "job",
    "compile_kernel": "kernel",
    "is_linear": "kernel",
    "sensitive_events": "sensitive",
    "with_sensitivities": "sensitive",
}

__all__ = [
    "METHODS",
    "Control",
    "Events",
    "Kernel",
    "Kind",
    "Outcome",
    "Problem",
    "Status",
    "compile_kernel",
    "is_linear",
    "sensitive_events",
    "with_sensitivities",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
