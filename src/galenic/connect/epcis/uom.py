"""Units of measure: UN/CEFACT Recommendation 20 common codes, as galenic writes them.

Codes and meanings from memory of Recommendation 20, for the measurement types that a medicine
meets; the ones of the GS1 sensor examples (CEL, KEL, A93, KGM, PAL, P1) are checked by tests. A
code that is not here is refused by name: a wrong unit is worse than none.
"""

from __future__ import annotations

from galenic.errors import UnknownName
from galenic.units import convert, unit

UNITS = {
    "CEL": "degC", "KEL": "K", "FAH": "degF",
    "P1": "%", "59": "ppm", "61": "ppb", "C62": "1", "H87": "item", "EA": "item", "NAR": "item",
    "PAL": "Pa", "HPA": "hPa", "KPA": "kPa", "MPA": "MPa", "BAR": "bar", "MBR": "mbar",
    "ATM": "atm", "PS": "psi", "HN": "mmHg", "UA": "Torr",
    "KGM": "kg", "GRM": "g", "MGM": "mg", "MC": "ug", "TNE": "t", "LBR": "lb",
    "MTR": "m", "CMT": "cm", "MMT": "mm", "KMT": "km", "4H": "um", "INH": "inch",
    "MTK": "m^2", "CMK": "cm^2", "MTQ": "m^3", "LTR": "L", "MLT": "mL", "DLT": "dL", "4G": "uL",
    "CMQ": "cm^3",
    "SEC": "s", "MIN": "min", "HUR": "h", "DAY": "d", "WEE": "week", "ANN": "year", "C26": "ms",
    "A93": "g/m^3", "KMQ": "kg/m^3", "GL": "g/L", "M1": "mg/L", "23": "g/cm^3", "GP": "mg/m^3",
    "C34": "mol", "C18": "mmol", "C36": "mol/m^3", "C38": "mol/L", "M33": "mmol/L",
    "MTS": "m/s", "KMH": "km/h", "MSK": "m/s^2",
    "NEW": "N", "B47": "kN", "NU": "N*m",
    "JOU": "J", "KJO": "kJ", "KWH": "kWh", "WHR": "Wh", "WTT": "W", "KWT": "kW",
    "AMP": "A", "4K": "mA", "VLT": "V", "2Z": "mV", "OHM": "ohm",
    "HTZ": "Hz", "KHZ": "kHz", "MHZ": "MHz", "RPM": "rpm", "BQL": "Bq", "4N": "MBq", "CUR": "Ci",
    "A95": "Gy", "D13": "Sv", "C65": "Pa*s", "C24": "mPa*s",
    "DD": "deg", "C81": "rad",
    "MQH": "m^3/h", "MQS": "m^3/s", "L2": "L/min", "E32": "L/h", "KGS": "kg/s", "E93": "kg/h",
    "Q30": "pH",
}  # fmt: skip
SPELLED = {"hPa": "mbar"}
"""What galenic has no prefix for, in a unit of the same size."""

CODES = {SPELLED.get(name, name): code for code, name in reversed(UNITS.items())}


def unit_of(code: str, where: str = "") -> str:
    """The unit of a common code.

    Examples
    --------
    >>> unit_of("CEL"), unit_of("A93")
    ('degC', 'g/m^3')
    """
    if code not in UNITS:
        raise UnknownName.among("unit code (UN/CEFACT Rec 20)", code, UNITS, where=where)
    return SPELLED.get(UNITS[code], UNITS[code])


def said_as(code: str) -> str:
    """A unit as people read it: that of the code, or the code where nobody here knows it."""
    return SPELLED.get(UNITS[code], UNITS[code]) if code in UNITS else code


def code_of(name: str, where: str = "") -> str:
    """The common code of a unit."""
    if name not in CODES:
        raise UnknownName.among("unit with a code of UN/CEFACT Rec 20", name, CODES, where=where)
    return CODES[name]


def comparable(code: str, other: str) -> bool:
    """Whether values in both codes measure the same kind of thing."""
    return unit(unit_of(code)).dimension == unit(unit_of(other)).dimension


def converted(value: float, code: str, other: str) -> float:
    """A value in ``code`` as one in ``other``."""
    return float(convert(value, unit_of(code), unit_of(other)))
