"""What a model declares: states, variables, parameters, inputs, outputs, sizes, parts, ports.

A declaration is a class attribute. On an instance it gives a :class:`Ref` (a path), and an
expression while the model is traced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from galenic.errors import ModelError, StructureError
from galenic.units import Unit, unit, value_in

ROLES = ("manipulated", "disturbance", "covariate", "dose")
DELAYED = "delayed"
"""The role of an input that the solver itself gives: an earlier value of the model."""


class Ref(str):
    """A reference to a quantity of a model: its path, usable wherever the path is."""

    __slots__ = ()

    def __getitem__(self, index: Any) -> Ref:
        inner = ",".join(map(str, index)) if isinstance(index, tuple) else index
        return Ref(f"{self}[{inner}]")

    def __repr__(self) -> str:
        return f"Ref({str(self)!r})"


class Declaration:
    """Base of all declarations; ``name`` is the attribute under which it was declared."""

    name: str = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        scope = instance.__dict__.get("_scope")
        if scope is not None:
            return scope[self.name]
        return Ref(instance.path_of(self.name))

    def in_trace(self, node: Any) -> Any:
        """What the name stands for while ``node`` is traced, where it makes no symbols."""
        return self


Shape = Any  # None, an int, a Size or its name, or a tuple of those


class Declared(Declaration):
    """A declared quantity: unit, meaning, bounds, nominal size and shape.

    Parameters
    ----------
    value : number, text or callable
        Start, default or guess, in ``unit`` where it is a bare number.
    unit : str
        Unit of bare numbers, and of everything that is shown.
    meaning : str
        What it is, in a few words.
    lower, upper : number or text, optional
        Physical bounds.
    nominal : number or text, optional
        Typical size, by which solvers scale; by default the size of ``value``.
    shape : int, Size or tuple, optional
        For arrays.
    """

    kind = ""

    def __init__(
        self,
        value: Any,
        unit_: str,
        meaning: str = "",
        *,
        lower: Any = None,
        upper: Any = None,
        nominal: Any = None,
        shape: Shape = None,
    ) -> None:
        self.value = value
        self.unit: Unit = unit(unit_)
        self.meaning = meaning
        self.lower = lower
        self.upper = upper
        self.nominal = nominal
        self.shape = shape

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper bound [SI]."""
        low = -math.inf if self.lower is None else value_in(self.lower, self.unit)
        high = math.inf if self.upper is None else value_in(self.upper, self.unit)
        return float(low), float(high)

    @cached_property
    def nominal_si(self) -> float | None:
        """Typical size [SI] where declared."""
        if self.nominal is None:
            return None
        return abs(float(value_in(self.nominal, self.unit.difference)))

    def nominal_for(self, value: float) -> float:
        """Typical size [SI]: as declared, else that of ``value``, else one unit."""
        if self.nominal_si is not None:
            return self.nominal_si
        if math.isfinite(value) and value != 0.0:
            return abs(value)
        return self.unit.scale

    def rows_and_columns(self, sizes: Mapping[str, int]) -> tuple[int, int] | None:
        """The shape with sizes filled in; None for a scalar."""
        if self.shape is None:
            return None
        parts = self.shape if isinstance(self.shape, tuple) else (self.shape,)
        numbers = tuple(_size_of(part, sizes) for part in parts)
        if not 1 <= len(numbers) <= 2:
            raise StructureError(f"{self.name} has {len(numbers)} dimensions", expected="1 or 2")
        return numbers if len(numbers) == 2 else (numbers[0], 1)

    def si(self, value: Any, count: int, where: str = "") -> Sequence[float]:
        """``value`` as SI numbers, one per element."""
        if count == 1 and isinstance(value, (int, float, str)):
            return (float(value_in(value, self.unit, where=where)),)
        if isinstance(value, Sequence) and not isinstance(value, str):
            value = np.array([value_in(v, self.unit, where=where) for v in value], float)
        else:
            value = np.asarray(value_in(value, self.unit, where=where), float)
        if value.size not in (1, count):
            raise StructureError(f"{value.size} values", where=where, expected=f"1 or {count}")
        numbers: list[float] = value.ravel(order="F").tolist()
        return numbers if value.size == count else numbers * count


def _size_of(part: Any, sizes: Mapping[str, int]) -> int:
    if isinstance(part, Size):
        part = part.name
    if isinstance(part, str):
        if part not in sizes:
            raise StructureError(f"there is no Size {part!r}", expected=", ".join(sizes))
        return sizes[part]
    return int(part)


class State(Declared):
    """A quantity with a time derivative: ``c = State(0.0, "mol/L", "concentration", lower=0)``.

    The start value may be a function of the model: ``State(lambda m: m.dose / m.V, "mg/L")``.
    A ``discrete`` state keeps its value between events.
    """

    kind = "state"

    def __init__(self, start: Any, unit: str, meaning: str = "", *, discrete: bool = False,
                 **facts: Any) -> None:  # fmt: skip
        super().__init__(start, unit, meaning, **facts)
        self.discrete = discrete


class Mode(State):
    """A discrete state with named values: ``mode = Mode("gravimetric", "volumetric")``.

    The first name is the start unless ``start`` says otherwise. In equations
    ``m.mode.is_("volumetric")`` is a condition; events reset it by name.
    """

    def __init__(self, *names: str, start: str | None = None, meaning: str = "") -> None:
        if len(names) < 2 or len(set(names)) < len(names):
            raise StructureError("a Mode needs at least two different names")
        self.names = names
        super().__init__(
            self.number(start or names[0]), "1", meaning or " / ".join(names), discrete=True,
            lower=0, upper=len(names) - 1, nominal=1,
        )  # fmt: skip

    def number(self, name: str) -> int:
        """The number that stands for a name."""
        if name not in self.names:
            raise StructureError(f"{self.name} has no mode {name!r}", expected=str(self.names))
        return self.names.index(name)


class Variable(Declared):
    """A quantity that an equation gives at every instant; ``guess`` helps where it is implicit."""

    kind = "variable"

    def __init__(self, unit: str, meaning: str = "", *, guess: Any = 0.0, **facts: Any) -> None:
        super().__init__(guess, unit, meaning, **facts)


class Output(Variable):
    """A variable that is meant to be looked at or measured."""

    kind = "output"


class Parameter(Declared):
    """A quantity fixed during a simulation, with spread (standard deviation) and source."""

    kind = "parameter"

    def __init__(self, value: Any, unit: str, meaning: str = "", *, spread: Any = None,
                 source: str = "", **facts: Any) -> None:  # fmt: skip
        super().__init__(value, unit, meaning, **facts)
        self.spread = spread
        self.source = source

    def spread_si(self) -> float | None:
        """Standard deviation [SI]; always a difference."""
        if self.spread is None:
            return None
        return float(value_in(self.spread, self.unit.difference))


class Input(Declared):
    """What acts on the model from outside; ``role`` says who or what decides its value."""

    kind = "input"

    def __init__(self, value: Any, unit: str, meaning: str = "", *, role: str = "disturbance",
                 **facts: Any) -> None:  # fmt: skip
        super().__init__(value, unit, meaning, **facts)
        if role not in ROLES:
            raise ModelError(f"there is no input role {role!r}", expected=", ".join(ROLES))
        self.role = role


class Size(Declaration):
    """A structural integer, fixed when the model is built; never fitted.

    In the class body it may be given to ``shape=`` or ``Parts``; on an instance it is an int.
    """

    def __init__(self, value: int, meaning: str = "", *, lower: int = 1) -> None:
        self.value = value
        self.meaning = meaning
        self.lower = lower

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else instance.__dict__["_sizes"][self.name]

    def checked(self, value: Any, where: str) -> int:
        """``value`` if it is a whole number not below the lower limit."""
        if isinstance(value, bool) or int(value) != value or value < self.lower:
            raise StructureError(
                f"{value!r} is not a size",
                where=f"{where}.{self.name}",
                expected=f"a whole number >= {self.lower}",
            )
        return int(value)


class Part(Declaration):
    """A model inside a model: ``first = Part(StirredTank, V="5 L")``.

    Overrides are values, mappings for the part's own parts, a Parameter or Size of the enclosing
    class, or a function of the enclosing model that gives an expression of its parameters.
    """

    def __init__(self, model: Callable[..., Any], **overrides: Any) -> None:
        self.model = model
        self.overrides = overrides

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else instance.__dict__["_parts"][self.name]

    def build(self, sizes: Mapping[str, int], overrides: Mapping[str, Any]) -> Any:
        """The part, with its own overrides and those of whoever built the whole."""
        return self.model(**resolved(self.overrides | dict(overrides), sizes))


class Parts(Part):
    """``n`` models of one class: ``tanks = Parts(StirredTank, n, V="5 L")``; a tuple."""

    def __init__(self, model: Callable[..., Any], count: Any, **overrides: Any) -> None:
        super().__init__(model, **overrides)
        self.count = count

    def build(self, sizes: Mapping[str, int], overrides: Mapping[str, Any]) -> Any:
        count = _size_of(self.count, sizes)
        common = {k: v for k, v in overrides.items() if not str(k).isdigit()}
        single = {int(k): v for k, v in overrides.items() if str(k).isdigit()}
        if any(i >= count for i in single):
            raise StructureError(f"{self.name} has {count} parts, not {max(single) + 1}")
        shared = self.overrides | common
        return tuple(
            self.model(**resolved(shared | dict(single.get(i, {})), sizes)) for i in range(count)
        )


def resolved(overrides: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any]:
    """Overrides with Sizes of the enclosing class replaced by their value."""
    return {
        name: sizes[value.name] if isinstance(value, Size) else value
        for name, value in overrides.items()
    }


def element_paths(path: str, shape: tuple[int, int] | None) -> list[str]:
    """The scalar paths of a quantity, column by column."""
    if shape is None:
        return [path]
    rows, columns = shape
    if columns == 1:
        return [f"{path}[{i}]" for i in range(rows)]
    return [f"{path}[{i},{j}]" for j in range(columns) for i in range(rows)]
