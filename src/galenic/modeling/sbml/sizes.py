"""Units of SBML as units of galenic."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from galenic.errors import UnitError
from galenic.units import unit

if TYPE_CHECKING:
    import libsbml

# kind: symbol, factor
_KINDS = {
    "ampere": ("A", 1.0), "becquerel": ("Bq", 1.0), "coulomb": ("A*s", 1.0),
    "dimensionless": ("1", 1.0), "gram": ("g", 1.0), "hertz": ("Hz", 1.0), "item": ("item", 1.0),
    "joule": ("J", 1.0), "katal": ("kat", 1.0), "kelvin": ("K", 1.0), "kilogram": ("kg", 1.0),
    "litre": ("L", 1.0), "liter": ("L", 1.0), "metre": ("m", 1.0), "meter": ("m", 1.0),
    "mole": ("mol", 1.0), "newton": ("N", 1.0), "pascal": ("Pa", 1.0), "radian": ("rad", 1.0),
    "second": ("s", 1.0), "watt": ("J/s", 1.0), "avogadro": ("1", 6.02214179e23),
}  # fmt: skip
_PREFIXED = {"g", "L", "m", "mol", "s", "J", "N", "Pa", "A", "Hz", "kat", "K"}
_PREFIX = {1e-15: "f", 1e-12: "p", 1e-9: "n", 1e-6: "u", 1e-3: "m", 1e-2: "c", 1e-1: "d", 1e3: "k"}
_TIMES = {60.0: "min", 3600.0: "h", 86400.0: "d"}


class Sizes:
    """The units of one model, as texts; what cannot be expressed counts as a plain number.

    Parameters
    ----------
    model : libsbml.Model
        Level 3.
    notes : list of str
        Takes what was left out.
    """

    def __init__(self, model: libsbml.Model, notes: list[str]) -> None:
        self.model = model
        self.notes = notes
        self._known: dict[str, str] = {}
        self.time = self._time()
        self.substance = self.text(model.getSubstanceUnits())
        self.extent = self.text(model.getExtentUnits())

    def text(self, name: str) -> str:
        """The unit that a name of the document stands for; "1" where there is none."""
        if not name:
            return "1"
        if name not in self._known:
            self._known[name] = self._made(name)
        return self._known[name]

    def compartment(self, one: libsbml.Compartment) -> str:
        """The unit of a compartment's size."""
        dimensions = one.getSpatialDimensionsAsDouble()
        by_model = {
            3.0: self.model.getVolumeUnits(),
            2.0: self.model.getAreaUnits(),
            1.0: self.model.getLengthUnits(),
        }
        return self.text(one.getUnits() or by_model.get(dimensions, ""))

    def amount(self, species: libsbml.Species) -> str:
        """The unit of a species' amount."""
        return self.text(species.getSubstanceUnits()) if species.getSubstanceUnits() else (
            self.substance
        )  # fmt: skip

    def rate(self, of: str) -> str:
        """The unit of a rate; per second where the model does not say how it counts time."""
        return f"1/{_bracketed(self.time)}" if of == "1" else f"{_bracketed(of)}/{self.time}"

    def _time(self) -> str:
        text = self.text(self.model.getTimeUnits())
        if unit(text).same_dimension(unit("s")):
            return text
        self.notes.append("the unit of time is not said, or is no time: it counts as a second")
        return "s"

    def _made(self, name: str) -> str:
        definition = self.model.getUnitDefinition(name)
        try:
            if definition is None:
                return _of_kind(name, 1.0)
            return _product(
                [_factor(definition.getUnit(i)) for i in range(definition.getNumUnits())]
            )
        except (UnitError, KeyError):
            self.notes.append(f"the unit {name!r} is not known here: its values are plain numbers")
            return "1"


def concentration(amount: str, size: str) -> str:
    """The unit of an amount per size of a compartment."""
    if size == "1":
        return amount
    return f"{_bracketed(amount)}/{_bracketed(size)}"


def _bracketed(text: str) -> str:
    return f"({text})" if set(text) & set("*/ ") else text


def _factor(one: libsbml.Unit) -> tuple[str, Fraction]:
    import libsbml

    name = libsbml.UnitKind_toString(one.getKind())
    scale = float(f"{one.getMultiplier() * 10.0 ** one.getScale():.15g}")
    power = Fraction(one.getExponentAsDouble()).limit_denominator(60)
    return _of_kind(name, scale), power


def _of_kind(name: str, scale: float) -> str:
    """One kind of unit with a factor: ``mmol``, ``h``, or ``(0.5*mol)``."""
    symbol, factor = _KINDS[name]
    if name == "kilogram" and scale != 1.0:
        symbol, scale = "g", float(f"{scale * 1e3:.15g}")
    scale *= factor
    if scale == 1.0:
        return symbol
    if symbol == "s" and scale in _TIMES:
        return _TIMES[scale]
    if symbol in _PREFIXED and scale in _PREFIX:
        return _PREFIX[scale] + symbol
    text = repr(scale).replace("e-0", "e-").replace("e+", "e")
    return f"({text}*{symbol})" if symbol != "1" else f"({text})"


def _product(factors: list[tuple[str, Fraction]]) -> str:
    above = [_power(s, p) for s, p in factors if p > 0 and s != "1"]
    below = [_power(s, -p) for s, p in factors if p < 0 and s != "1"]
    top = "*".join(above) or "1"
    text = top if not below else f"{top}/({'*'.join(below)})" if len(below) > 1 else (
        f"{top}/{below[0]}"
    )  # fmt: skip
    return unit(text).text


def _power(symbol: str, power: Fraction) -> str:
    if power == 1:
        return symbol
    base = _bracketed(symbol)
    return f"{base}^{power}" if power.denominator == 1 else f"{base}^({power})"
