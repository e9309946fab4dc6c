"""Units of health records: UCUM codes in the units of this house.

Source: Unified Code for Units of Measure, version 2.1, tables of case-sensitive codes. What is not
listed is refused by name; nothing is guessed.
"""

from __future__ import annotations

import re

from galenic.errors import UnitError
from galenic.units import unit

SURFACE = "[bsa]"  # the usual annotation of standard body surface, which is no annotation here
ATOMS = {
    "Cel": "degC", "[degF]": "degF", "mm[Hg]": "mmHg", "[lb_av]": "lb", "[in_i]": "inch",
    "a": "year", "mo": "month", "wk": "week", "d": "d", "h": "h", "min": "min", "s": "s",
    "[iU]": "IU", "[IU]": "IU", "k[iU]": "kIU", "m[iU]": "mIU", "u[iU]": "uIU",
    "eq": "Eq", "meq": "mEq", "%": "%", "[pH]": "pH", "[ppm]": "ppm", "1": "1", "m2": "m^2",
    "m3": "m^3", "dm3": "L", "U": "(umol/min)", "t": "t", "bar": "bar",
    "mbar": "mbar", SURFACE: "(1.73*m^2)",
}  # fmt: skip
METRIC = re.compile(r"^(?:[fpnumcdkMG])?(?:g|L|l|mol|m|s|Pa|J|W|V|Hz|Bq|kat)$")
POWER_OF_TEN = re.compile(r"^10[*^](-?\d+)$")
EXPONENT = re.compile(r"^(.+?)(-?\d+)$")
ANNOTATION = re.compile(r"\{[^{}]*\}")


def galenic_unit(code: str) -> str:
    """The unit of a UCUM code, as this house writes it.

    Raises
    ------
    UnitError
        Where a part of the code is not known here.

    Examples
    --------
    >>> galenic_unit("mg/dL"), galenic_unit("Cel"), galenic_unit("10*3/uL")
    ('mg/dL', 'degC', '1000/uL')
    >>> galenic_unit("mmol/L"), galenic_unit("ug/mL"), galenic_unit("mol/l")
    ('mmol/L', 'ug/mL', 'mol/L')
    >>> galenic_unit("mL/min/{1.73_m2}")
    'mL/min/(1.73*m^2)'
    """
    plain = ANNOTATION.sub("", code.strip().replace("{1.73_m2}", SURFACE))
    parts = re.split(r"([./()])", plain)
    text = "".join(_part(part, code) for part in parts if part)
    text = re.sub(r"^/", "1/", text).rstrip("/") or "1"
    unit(text)
    return text


def _part(part: str, code: str) -> str:
    if part in "/()":
        return part
    if part == ".":
        return "*"
    power = POWER_OF_TEN.match(part)
    if power:
        return f"{10 ** int(power[1]):g}" if int(power[1]) < 0 else str(10 ** int(power[1]))
    if re.fullmatch(r"\d+", part):
        return part
    if part in ATOMS:
        return ATOMS[part]
    if METRIC.match(part):
        return part if part.endswith("mol") else part.replace("l", "L")
    exponent = EXPONENT.match(part)
    if exponent:
        return f"{_part(exponent[1], code)}^{exponent[2]}"
    raise UnitError(
        f"the unit {part!r} is not known",
        where=f"UCUM code {code!r}",
        expected=f"metric units or one of {', '.join(sorted(ATOMS))}",
        hint="ask the source for a UCUM code; free text is not interpreted",
    )
