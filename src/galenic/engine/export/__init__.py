"""Models as code for others: C99 without dependency, and FMI 3.0 units.

Names are loaded on first use, so that importing the package stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "CSource": "source",
    "c_source": "source",
    "export_c": "source",
    "FMU": "fmu",
    "export_fmu": "fmu",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
