"""The units of this trade: symbols, factors and names. Read by :mod:`galenic.units`."""

from __future__ import annotations

import math
from collections.abc import Mapping

BASES = (
    *("kg", "m", "s", "K", "mol", "A"),
    *("tablet", "capsule", "vial", "dose", "pack", "item", "rev", "count", "cell", "copy", "CFU"),
    *("IU", "Eq", "EUR", "USD"),
)

PREFIXES = {
    "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "m": 1e-3, "c": 1e-2,
    "d": 1e-1, "k": 1e3, "M": 1e6, "G": 1e9,
}  # fmt: skip

# symbol: (factor, definition in bases, takes SI prefixes)
DEFINED: dict[str, tuple[float, Mapping[str, int], bool]] = {
    "1": (1.0, {}, False),
    "%": (0.01, {}, False),
    "ppm": (1e-6, {}, False),
    "ppb": (1e-9, {}, False),
    "pH": (1.0, {}, False),
    "rad": (1.0, {}, False),
    "deg": (math.pi / 180, {}, False),
    "g": (1e-3, {"kg": 1}, True),
    "t": (1e3, {"kg": 1}, False),
    "lb": (0.45359237, {"kg": 1}, False),
    "Da": (1.66053906660e-27, {"kg": 1}, True),
    "m": (1.0, {"m": 1}, True),
    "inch": (0.0254, {"m": 1}, False),
    "L": (1e-3, {"m": 3}, True),
    "s": (1.0, {"s": 1}, True),
    "min": (60.0, {"s": 1}, False),
    "h": (3600.0, {"s": 1}, False),
    "d": (86400.0, {"s": 1}, False),
    "week": (604800.0, {"s": 1}, False),
    "month": (2629800.0, {"s": 1}, False),
    "year": (31557600.0, {"s": 1}, False),
    "Hz": (1.0, {"s": -1}, True),
    "Bq": (1.0, {"s": -1}, True),
    "Ci": (3.7e10, {"s": -1}, True),
    "K": (1.0, {"K": 1}, True),
    "delta_degC": (1.0, {"K": 1}, False),
    "delta_degF": (5 / 9, {"K": 1}, False),
    "mol": (1.0, {"mol": 1}, True),
    "M": (1e3, {"mol": 1, "m": -3}, True),
    "kat": (1.0, {"mol": 1, "s": -1}, True),
    "A": (1.0, {"A": 1}, True),
    "N": (1.0, {"kg": 1, "m": 1, "s": -2}, True),
    "Pa": (1.0, {"kg": 1, "m": -1, "s": -2}, True),
    "bar": (1e5, {"kg": 1, "m": -1, "s": -2}, True),
    "atm": (101325.0, {"kg": 1, "m": -1, "s": -2}, False),
    "mmHg": (133.322387415, {"kg": 1, "m": -1, "s": -2}, False),
    "Torr": (101325.0 / 760, {"kg": 1, "m": -1, "s": -2}, True),
    "psi": (6894.757293168361, {"kg": 1, "m": -1, "s": -2}, False),
    "J": (1.0, {"kg": 1, "m": 2, "s": -2}, True),
    "cal": (4.184, {"kg": 1, "m": 2, "s": -2}, True),
    "eV": (1.602176634e-19, {"kg": 1, "m": 2, "s": -2}, True),
    "W": (1.0, {"kg": 1, "m": 2, "s": -3}, True),
    "Wh": (3600.0, {"kg": 1, "m": 2, "s": -2}, True),
    "P": (0.1, {"kg": 1, "m": -1, "s": -1}, True),
    "V": (1.0, {"kg": 1, "m": 2, "s": -3, "A": -1}, True),
    "ohm": (1.0, {"kg": 1, "m": 2, "s": -3, "A": -2}, True),
    "Gy": (1.0, {"m": 2, "s": -2}, True),
    "Sv": (1.0, {"m": 2, "s": -2}, True),
    "rpm": (1 / 60, {"rev": 1, "s": -1}, False),
    **{base: (1.0, {base: 1}, base in {"IU", "Eq", "CFU"}) for base in BASES[6:]},
}
# symbol: (factor, offset) of points on a temperature scale
POINTS = {"degC": (1.0, 273.15), "degF": (5 / 9, 459.67 * 5 / 9)}
ALIASES = {
    "sec": "s", "second": "s", "seconds": "s", "minute": "min", "minutes": "min", "hr": "h",
    "hour": "h", "hours": "h", "day": "d", "days": "d", "weeks": "week", "months": "month",
    "years": "year", "l": "L", "ml": "mL", "liter": "L", "litre": "L", "°C": "degC",
    "°F": "degF", "Δ°C": "delta_degC", "tablets": "tablet", "capsules": "capsule",
    "vials": "vial", "doses": "dose", "packs": "pack", "items": "item", "revs": "rev",
    "cells": "cell", "copies": "copy", "counts": "count", "Ω": "ohm", "°": "deg",
    "percent": "%", "cc": "mL",
}  # fmt: skip

# dimension, by a unit of it: everyday name
NAMES = {
    "1": "plain number", "kg": "mass", "m": "length", "m^2": "area", "m^3": "volume", "s": "time",
    "K": "temperature", "mol": "amount of substance", "A": "electric current", "m/s": "velocity",
    "m^3/s": "volume flow", "kg/s": "mass flow", "mol/s": "molar flow", "kg/m^3": "density",
    "mol/m^3": "concentration", "N": "force", "Pa": "pressure", "J": "energy", "W": "power",
    "1/s": "rate", "m^2/s": "diffusivity", "kg/mol": "molar mass", "rev": "number of revolutions",
    "rev/s": "speed of rotation", "tablet": "number of tablets", "cell": "number of cells",
    "IU": "number of international units", "Pa*s": "viscosity", "J/K": "heat capacity",
}  # fmt: skip
