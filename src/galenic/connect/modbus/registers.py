"""What the registers of a Modbus device mean: type, order of words and bytes, scale, unit."""

from __future__ import annotations

import math
import struct
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from galenic.connect.connector import TagInfo, Value
from galenic.errors import DataError, UnknownName

HOLDING, INPUT, COIL, DISCRETE = "holding", "input", "coil", "discrete"
TABLES = (HOLDING, INPUT, COIL, DISCRETE)
BITS = (COIL, DISCRETE)
MOST_REGISTERS = 125  # per request (Modbus Application Protocol 1.1b3, 6.3)
MOST_BITS = 2000  # per request (6.1)

# Type of the map: letter of `struct`, registers.
NUMBERS = {
    "int16": ("h", 1), "uint16": ("H", 1), "int32": ("i", 2), "uint32": ("I", 2),
    "int64": ("q", 4), "uint64": ("Q", 4), "float32": ("f", 2), "float64": ("d", 4),
}  # fmt: skip
TYPES = (*NUMBERS, "bool", "str")
ORDERS = ("big", "little")


@dataclass(frozen=True)
class Register:
    """Where a value is and what it means: value = raw * scale + offset.

    Parameters
    ----------
    address : int
        Of the first register or bit as in the protocol, from 0 (not 40001).
    table : str
        ``holding``, ``input``, ``coil`` or ``discrete``.
    type : str
        ``int16``, ``uint16``, ``int32``, ``uint32``, ``int64``, ``uint64``, ``float32``,
        ``float64``, ``bool`` or ``str``; a coil or discrete input is always bool.
    word_order : str
        Which word of several comes first: ``big`` (the high one) or ``little``.
    byte_order : str
        Which byte of a register comes first: ``big`` (the standard) or ``little``.
    scale, offset : float
        Of the value; 1 and 0 leave integers whole.
    bit : int, optional
        Bit of a 16-bit register that is the value, 0 is the lowest; then the type is bool.
    length : int
        Registers of a str, two characters each.
    bad : sequence of int or float
        Raw values that mean that there is no value.
    unit, description : str
        As for every tag.
    writable : bool
        Whether it may be written; not for inputs and bits of registers.
    group : str
        Polling group.
    """

    address: int
    table: str = HOLDING
    type: str = "uint16"
    word_order: str = "big"
    byte_order: str = "big"
    scale: float = 1.0
    offset: float = 0.0
    bit: int | None = None
    length: int = 0
    bad: tuple[float, ...] = ()
    unit: str = ""
    description: str = ""
    writable: bool = False
    group: str = "default"

    def __post_init__(self) -> None:
        for name, known in (
            ("table", TABLES),
            ("type", TYPES),
            ("word_order", ORDERS),
            ("byte_order", ORDERS),
        ):
            if getattr(self, name) not in known:
                raise UnknownName.among(name, str(getattr(self, name)), known)
        if self.table in BITS or self.bit is not None:
            object.__setattr__(self, "type", "bool")
        wrong = self._what_is_wrong()
        if wrong:
            raise DataError(wrong, where=f"{self.table} register {self.address}")

    def _what_is_wrong(self) -> str:
        if not 0 <= self.address or self.address + self.count > 65_536:
            return f"address {self.address} is outside 0 to 65535"
        if (self.type == "str") != bool(self.length) or not 0 <= self.length <= MOST_REGISTERS:
            return f"length {self.length} of type {self.type}: a str needs 1 to {MOST_REGISTERS}"
        if self.bit is not None and (self.table in BITS or not 0 <= self.bit < 16):
            return f"bit {self.bit} of a {self.table} is not 0 to 15 of a register"
        if self.table not in BITS and self.type == "bool" and self.bit is None:
            return "a bool in a register needs its bit"
        if not self.scale or not math.isfinite(self.scale) or not math.isfinite(self.offset):
            return f"scale {self.scale} and offset {self.offset} cannot be undone"
        if self.writable and (self.table in (INPUT, DISCRETE) or self.bit is not None):
            return "inputs and single bits of registers cannot be written"
        return ""

    @property
    def count(self) -> int:
        """Registers, or bits, that it takes."""
        if self.type in NUMBERS:
            return NUMBERS[self.type][1]
        return self.length or 1

    @property
    def is_whole(self) -> bool:
        """Whether the value is the integer as it is."""
        return self.type in NUMBERS and "int" in self.type and (self.scale, self.offset) == (1, 0)

    def info(self, tag: str) -> TagInfo:
        """As a tag."""
        kind = {"bool": "bool", "str": "str"}.get(self.type, "int" if self.is_whole else "float")
        return TagInfo(tag, self.unit, self.writable, self.description, kind)

    def decode(self, raw: Sequence[int]) -> Value | None:
        """The value in ``raw`` (registers of 16 bits, or bits); None for what means no value."""
        if self.table in BITS:
            return bool(raw[0])
        if self.bit is not None:
            return bool(self._bytes(raw)[1 - self.bit // 8] >> self.bit % 8 & 1)
        data = self._bytes(raw)
        if self.type == "str":
            return data.split(b"\0")[0].decode("latin-1").rstrip()
        (number,) = struct.unpack(f">{NUMBERS[self.type][0]}", data)
        if number in self.bad or not math.isfinite(number):
            return None
        return int(number) if self.is_whole else float(number * self.scale + self.offset)

    def encode(self, value: Value) -> list[int]:
        """Registers, or the bit, that hold ``value``; DataError where they cannot."""
        if self.table in BITS:
            return [int(bool(value))]
        wrong = DataError(f"{value!r} cannot be sent", expected=f"a value of {self.type}")
        try:
            if self.type == "str":
                data = str(value).encode("latin-1").ljust(2 * self.length, b"\0")
                if len(data) > 2 * self.length:
                    raise wrong
            else:
                number: float = (float(value) - self.offset) / self.scale
                letter = NUMBERS[self.type][0]
                if self.is_whole:
                    number = int(value)
                elif letter not in "fd":
                    number = round(number)
                data = struct.pack(f">{letter}", number)
        except (ValueError, OverflowError, struct.error) as error:
            raise wrong from error
        raw = _order(_words(data), self.word_order, self.byte_order, self.type)
        if self.decode(raw) is None:
            raise wrong
        return raw

    def _bytes(self, raw: Sequence[int]) -> bytes:
        return struct.pack(
            f">{len(raw)}H", *_order(raw, self.word_order, self.byte_order, self.type)
        )


def _words(data: bytes) -> list[int]:
    return list(struct.unpack(f">{len(data) // 2}H", data))


def _order(raw: Sequence[int], words: str, order: str, kind: str) -> list[int]:
    """Between the order of the device and the standard one; the same both ways."""
    found = list(raw)
    if words == "little" and kind != "str":
        found.reverse()
    if order == "little":
        found = [(word & 0xFF) << 8 | word >> 8 for word in found]
    return found


@dataclass(frozen=True)
class Block:
    """Neighbours that are read by one request."""

    table: str
    address: int
    count: int
    tags: tuple[str, ...]


def blocks(registers: Mapping[str, Register], gap: int = 0) -> list[Block]:
    """As few requests as possible for ``registers``.

    Parameters
    ----------
    registers : mapping
        By tag.
    gap : int
        Registers between two of them that may be read along; a device may refuse those it does
        not have.
    """
    found: list[Block] = []
    order = sorted(registers.items(), key=lambda r: (r[1].table, r[1].address, r[0]))
    for tag, register in order:
        end = register.address + register.count
        last = found[-1] if found else None
        if last is not None and last.table == register.table:
            most = MOST_BITS if register.table in BITS else MOST_REGISTERS
            reach = max(last.address + last.count, end)
            if register.address <= last.address + last.count + gap and reach - last.address <= most:
                tags = (*last.tags, tag)
                found[-1] = Block(last.table, last.address, reach - last.address, tags)
                continue
        found.append(Block(register.table, register.address, register.count, (tag,)))
    return found


def registers_of(source: Mapping[str, Any] | str | Path, where: str) -> dict[str, Register]:
    """A register map by tag, from plain values or from a TOML file with one table per tag."""
    if not isinstance(source, Mapping):
        path = Path(source)
        try:
            source = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"cannot read {str(path)!r}: {error.strerror}") from error
        except tomllib.TOMLDecodeError as error:
            raise DataError(f"not valid TOML: {error}", where=str(path)) from error
        where = str(path)
    return {tag: _register(given, f"{where}, tag {tag}") for tag, given in source.items()}


def _register(given: Any, where: str) -> Register:
    if isinstance(given, Register):
        return given
    if not isinstance(given, Mapping) or "address" not in given:
        raise DataError("the address is not given", where=where, hint="add address = ...")
    known = {f.name: f for f in fields(Register)}
    for name, value in given.items():
        if name not in known:
            raise UnknownName.among("setting", name, known, where=where)
        _check_kind(name, value, where)
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    try:
        return Register(**values)
    except (DataError, UnknownName) as error:
        error.where = where
        raise


def _check_kind(name: str, value: Any, where: str) -> None:
    wanted: dict[str, Iterable[type]] = {
        "address": (int,), "bit": (int,), "length": (int,), "scale": (int, float),
        "offset": (int, float), "writable": (bool,), "bad": (list, tuple),
    }  # fmt: skip
    kinds = tuple(wanted.get(name, (str,)))
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise DataError(f"{name} = {value!r}", where=where, expected=expected)
