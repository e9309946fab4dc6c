"""The kinds of arguments a service may take.

Each kind supplies everything a surface needs: ``parse`` for the command line, ``schema`` for
JSON, ``widget`` for the web form, ``canonical`` bytes for identity and the ledger, and ``value``,
what the service function receives. Between surfaces an argument travels in its *plain* form, the
JSON value that ``check`` returns. This module loads nothing heavy: the command line builds its
parsers from the service index with it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

from galenic.errors import DataError, GalenicError, UnknownName
from galenic.twin.result import plain

if TYPE_CHECKING:
    from galenic.twin.run import Run


class ArgumentError(DataError):
    """An argument of a service that cannot be used; the caller can mend it."""


@dataclass(frozen=True)
class In:
    """Unit and bounds of an argument, beside its type: ``Annotated[float, In("h", lower=0)]``."""

    unit: str = "1"
    lower: float | None = None
    upper: float | None = None


class Values(dict[str, Any]):
    """Settings by path in a model, ``{"first.V": "5 L"}``; bare numbers are in declared units."""


KINDS: dict[str, type[Kind]] = {}


@dataclass(frozen=True)
class Kind(ABC):
    """What an argument may be. Subclasses are values: their fields go into the service index."""

    kind: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        if cls.kind:
            KINDS[cls.kind] = cls

    @abstractmethod
    def check(self, given: Any) -> Any:
        """The plain form of ``given``, or an ArgumentError."""

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """JSON schema of the plain form."""

    def parse(self, text: str) -> Any:
        """``text`` of the command line as something that ``check`` takes."""
        return text

    def value(self, given: Any, run: Run | None) -> Any:
        """What the service function receives for the plain form ``given``."""
        return given

    def canonical(self, given: Any) -> bytes:
        """Bytes that are equal for equal arguments."""
        from galenic.identity import canonical_json

        return canonical_json(self.record(given))

    def record(self, given: Any) -> Any:
        """The plain form as the ledger keeps it: content replaced by its hash."""
        return given

    def widget(self) -> dict[str, Any]:
        """The form field: which ``widget``, and its settings."""
        return {"widget": self.kind}

    def facts(self) -> dict[str, Any]:
        """The kind as plain values; ``kind_from`` reads it back."""
        own = {f.name: plain(getattr(self, f.name)) for f in fields(self) if f.repr}
        return {"kind": self.kind} | {key: item for key, item in own.items() if item is not None}


def kind_from(facts: Mapping[str, Any]) -> Kind:
    """The kind that ``facts`` described."""
    cls = KINDS[facts["kind"]]
    own = {key: item for key, item in facts.items() if key != "kind"}
    if "item" in own:
        own["item"] = kind_from(own["item"])
    if "options" in own:
        own["options"] = tuple(own["options"])
    return cls(**own)


def shown(given: Any) -> str:
    """``given`` in an error message, shortened."""
    text = repr(given)
    return text if len(text) <= 60 else text[:57] + "..."


def _within(number: float, lower: float | None, upper: float | None, unit: str) -> None:
    low = "" if lower is None else f"at least {lower:g}"
    high = "" if upper is None else f"at most {upper:g}"
    if (lower is not None and number < lower) or (upper is not None and number > upper):
        limits = " and ".join(part for part in (low, high) if part)
        raise ArgumentError(f"{number:g} is out of range", expected=f"{limits} {unit}".strip())


@dataclass(frozen=True)
class Scalar(Kind):
    """A number with a unit. Plain: the number in the declared unit. Received: the SI value."""

    kind: ClassVar[str] = "scalar"
    unit: str = "1"
    lower: float | None = None
    upper: float | None = None

    def check(self, given: Any) -> float:
        number = self._number(given)
        if not math.isfinite(number):
            raise ArgumentError(f"{shown(given)} is not finite", expected=self._expected())
        _within(number, self.lower, self.upper, self._shown_unit())
        return number

    def _shown_unit(self) -> str:
        return "" if self.unit == "1" else self.unit

    def _expected(self) -> str:
        if self.unit == "1":
            return "a number"
        return f"a number in {self.unit}, or a quantity such as '5 {self.unit}'"

    def _number(self, given: Any) -> float:
        if isinstance(given, bool):
            raise ArgumentError(f"{shown(given)} is not a number", expected=self._expected())
        if isinstance(given, Real):
            try:
                return float(given)
            except OverflowError as error:
                raise ArgumentError("the number is too large", expected="a float") from error
        if isinstance(given, str):
            try:
                return float(given)
            except ValueError:
                return self._convert(given)
        if hasattr(given, "unit") and hasattr(given, "value"):
            return self._convert(given)
        raise ArgumentError(f"{shown(given)} is not a number", expected=self._expected())

    def _convert(self, given: Any) -> float:
        from galenic.units import from_si, value_in

        try:
            number = float(from_si(self._si(given, value_in), self.unit))
        except GalenicError as error:
            raise ArgumentError(
                f"{shown(given)}: {error.found}",
                expected=error.expected or self._expected(),
                hint=error.hint,
            ) from error
        return float(f"{number:.15g}")  # 480 min is 8 h, without the noise of two conversions

    def _si(self, given: Any, value_in: Any) -> float:
        return float(value_in(given, self.unit))

    def value(self, given: Any, run: Run | None) -> float:
        if self.unit == "1":
            return float(given)
        from galenic.units import to_si

        return float(to_si(given, self.unit))

    def schema(self) -> dict[str, Any]:
        number: dict[str, Any] = {"type": "number"}
        if self.lower is not None:
            number["minimum"] = self.lower
        if self.upper is not None:
            number["maximum"] = self.upper
        quantity = {"type": "string", "description": f"a quantity that converts to {self.unit}"}
        return {"anyOf": [number, quantity], "x-unit": self.unit}

    def widget(self) -> dict[str, Any]:
        return {"widget": "number", "unit": self.unit, "min": self.lower, "max": self.upper}


@dataclass(frozen=True)
class DurationKind(Scalar):
    """A length of time: '8 h', '1:30', or a number of seconds. Received: seconds."""

    kind: ClassVar[str] = "duration"
    unit: str = "s"

    def _si(self, given: Any, value_in: Any) -> float:
        from galenic.units import duration

        return float(duration(given) if isinstance(given, str) else value_in(given, "s"))

    def _expected(self) -> str:
        return "a length of time such as '8 h', '90 s' or '1:30'"

    def widget(self) -> dict[str, Any]:
        return {"widget": "duration", "min": self.lower, "max": self.upper}


@dataclass(frozen=True)
class Integer(Kind):
    """A whole number."""

    kind: ClassVar[str] = "integer"
    lower: int | None = None
    upper: int | None = None

    def check(self, given: Any) -> int:
        if isinstance(given, str):
            try:
                given = int(given)
            except ValueError as error:
                raise ArgumentError(
                    f"{shown(given)} is not a whole number", expected="a whole number"
                ) from error
        if isinstance(given, float) and math.isfinite(given) and given == int(given):
            given = int(given)
        if isinstance(given, bool) or not isinstance(given, Integral):
            raise ArgumentError(f"{shown(given)} is not a whole number", expected="a whole number")
        if abs(int(given)) >= 2**63:
            raise ArgumentError("the number is too large", expected="a 64-bit whole number")
        _within(int(given), self.lower, self.upper, "")
        return int(given)

    def schema(self) -> dict[str, Any]:
        limits = {"minimum": self.lower, "maximum": self.upper}
        return {"type": "integer"} | {k: v for k, v in limits.items() if v is not None}

    def widget(self) -> dict[str, Any]:
        return {"widget": "integer", "min": self.lower, "max": self.upper}


@dataclass(frozen=True)
class Text(Kind):
    """Words."""

    kind: ClassVar[str] = "text"

    def check(self, given: Any) -> str:
        if not isinstance(given, str):
            raise ArgumentError(f"{shown(given)} is not a text", expected="a text")
        if "\0" in given or not _encodes(given):
            raise ArgumentError("the text holds characters that cannot be stored")
        return given

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates, as "\ud800" in JSON
        return False
    return True


@dataclass(frozen=True)
class Flag(Kind):
    """Yes or no."""

    kind: ClassVar[str] = "flag"
    WORDS: ClassVar[dict[str, bool]] = {
        "true": True, "yes": True, "on": True, "1": True,
        "false": False, "no": False, "off": False, "0": False,
    }  # fmt: skip

    def check(self, given: Any) -> bool:
        if isinstance(given, str) and given.lower() in self.WORDS:
            return self.WORDS[given.lower()]
        if not isinstance(given, bool):
            raise ArgumentError(f"{shown(given)} is not yes or no", expected="true or false")
        return given

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}

    def widget(self) -> dict[str, Any]:
        return {"widget": "checkbox"}


@dataclass(frozen=True)
class SettingKind(Kind):
    """What a tag or a target is set to: a number in its unit, "12 kg/h", yes or no, or words."""

    kind: ClassVar[str] = "setting"

    def check(self, given: Any) -> float | bool | str:
        if isinstance(given, str):
            text = Text().check(given)
            if text.lower() in ("true", "false"):
                return text.lower() == "true"
            try:
                given = float(text)
            except ValueError:
                return text
        return given if isinstance(given, bool) else Scalar().check(given)

    def schema(self) -> dict[str, Any]:
        return {"type": ["number", "string", "boolean"]}


@dataclass(frozen=True)
class Choice(Kind):
    """One of a few named options: a Literal or an Enum."""

    kind: ClassVar[str] = "choice"
    options: tuple[str, ...] = ()
    enum: Any = field(default=None, repr=False, compare=False)

    def check(self, given: Any) -> str:
        name = getattr(given, "name", given) if self.enum is not None else given
        if not isinstance(name, str):
            raise ArgumentError(
                f"{shown(given)} is not a choice", expected=" or ".join(self.options)
            )
        if name not in self.options:
            close = UnknownName.among("choice", name, self.options)
            raise ArgumentError(close.found, expected=" or ".join(self.options), hint=close.hint)
        return name

    def value(self, given: Any, run: Run | None) -> Any:
        return given if self.enum is None else self.enum[given]

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.options)}

    def widget(self) -> dict[str, Any]:
        return {"widget": "select", "options": list(self.options)}


@dataclass(frozen=True)
class ValuesKind(Kind):
    """Settings of a model. Plain: ``{path: number in the declared unit, or "5 L"}``.

    On the command line ``name=value``, once per setting.
    """

    kind: ClassVar[str] = "values"

    def parse(self, text: str) -> dict[str, str]:
        name, sign, value = text.partition("=")
        if not sign or not name.strip() or not value.strip():
            raise ArgumentError(f"{shown(text)} is not a setting", expected="name=value")
        return {name.strip(): value.strip()}

    def check(self, given: Any) -> dict[str, Any]:
        if not isinstance(given, Mapping):
            raise ArgumentError(
                f"{shown(given)} is not a set of values", expected="an object {path: value}"
            )
        return {Text().check(str(name)): self._one(name, item) for name, item in given.items()}

    def _one(self, name: Any, item: Any) -> float | str:
        if hasattr(item, "unit") and hasattr(item, "value"):
            item = f"{item.value} {item.unit}"
        if isinstance(item, str):
            try:
                item = float(item)
            except ValueError:
                return str(Text().check(item))
        try:
            return Scalar().check(item)
        except ArgumentError as error:
            raise ArgumentError(
                error.found, where=f"value of {name!r}", expected="a number or a quantity"
            ) from error

    def value(self, given: Any, run: Run | None) -> Values:
        return Values(given)

    def schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": {"type": ["number", "string"]}}


@dataclass(frozen=True)
class Many(Kind):
    """Several of one kind; on the command line the option is repeated."""

    kind: ClassVar[str] = "many"
    item: Kind = field(default_factory=Text)

    def parse(self, text: str) -> list[Any]:
        return [self.item.parse(text)]

    def check(self, given: Any) -> list[Any]:
        if isinstance(given, str) or not isinstance(given, list | tuple):
            raise ArgumentError(f"{shown(given)} is not a list", expected="a list")
        return [self.item.check(one) for one in given]

    def value(self, given: Any, run: Run | None) -> tuple[Any, ...]:
        return tuple(self.item.value(one, run) for one in given)

    def record(self, given: Any) -> list[Any]:
        return [self.item.record(one) for one in given]

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": self.item.schema()}

    def widget(self) -> dict[str, Any]:
        return {"widget": "list", "item": self.item.widget()}

    def facts(self) -> dict[str, Any]:
        return {"kind": self.kind, "item": self.item.facts()}


@dataclass(frozen=True)
class Argument:
    """One argument of a service: its kind, default and help, and how every surface takes it."""

    name: str
    kind: Kind
    required: bool = True
    default: Any = None
    help: str = ""

    @property
    def option(self) -> str:
        """The name on the command line."""
        return self.name.rstrip("_").replace("_", "-")

    def check(self, given: Any) -> Any:
        """The plain form of ``given``; errors name the argument."""
        if given is None and not self.required:
            return self.default
        try:
            return self.kind.check(given)
        except ArgumentError as error:
            place = f"argument {self.name!r}" + (f", {error.where}" if error.where else "")
            raise ArgumentError(
                error.found, where=place, expected=error.expected, hint=error.hint
            ) from error

    def value(self, given: Any, run: Run | None) -> Any:
        """What the service function receives; an optional argument that was not given is None."""
        return None if given is None else self.kind.value(given, run)

    def record(self, given: Any) -> Any:
        """What the ledger keeps."""
        return None if given is None else self.kind.record(given)

    def schema(self) -> dict[str, Any]:
        """JSON schema with default and description."""
        schema = dict(self.kind.schema())
        if self.help:
            schema["description"] = self.help
        if not self.required:
            schema["default"] = self.default
        return schema

    def field(self) -> dict[str, Any]:
        """The form field: name, label, help, default and its widget's settings."""
        label = self.name.rstrip("_").replace("_", " ")
        facts = {"name": self.name, "label": label, "help": self.help, "required": self.required}
        return facts | {"default": self.default} | self.kind.widget()

    def to_dict(self) -> dict[str, Any]:
        """The argument as the service index keeps it."""
        facts = asdict(self) | {"kind": self.kind.facts()}
        return facts if not self.required else {k: v for k, v in facts.items() if k != "default"}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Argument:
        return cls(**{**record, "kind": kind_from(record["kind"])})
