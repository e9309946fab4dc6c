"""Services: one typed function from which every surface is derived.

    @service("Simulate a model", stage="models")
    def simulate(model: ModelRef, duration: Duration = 3600.0, *, run: Run) -> Result:
        ...

The annotations say which kind each argument is, the numpydoc docstring what it means. From these
come the command line, the REST endpoint, the web form, the documentation and the ledger entry.
Inside the function scalars are SI floats; outside they are quantities in the declared unit.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from galenic.errors import DataError, UnknownName
from galenic.twin.arguments import (
    Argument,
    ArgumentError,
    Choice,
    DurationKind,
    Flag,
    In,
    Integer,
    Kind,
    Many,
    Scalar,
    SettingKind,
    Text,
    Values,
    ValuesKind,
)
from galenic.twin.references import (
    ArtefactKind,
    ArtefactRef,
    BeliefKind,
    BeliefRef,
    Columns,
    File,
    FileKind,
    ModelKind,
    ModelRef,
    MomentKind,
    TableKind,
    TwinKind,
    TwinRef,
)
from galenic.twin.result import Artefact, Axis, Column, Plot, Result, Series, Table, Value
from galenic.twin.run import Cancelled, Host, Run

if TYPE_CHECKING:
    from galenic.twin.level import Level

__all__ = [
    "Artefact",
    "ArtefactRef",
    "Axis",
    "BeliefRef",
    "Cancelled",
    "Column",
    "Columns",
    "Duration",
    "File",
    "Help",
    "Host",
    "In",
    "ModelRef",
    "Moment",
    "Plot",
    "Result",
    "Run",
    "Series",
    "Service",
    "Setting",
    "Table",
    "TwinRef",
    "Value",
    "Values",
    "service",
]

EFFECTS = ("read", "compute", "act")
ROLES = ("viewer", "operator", "engineer", "quality", "administrator", "service")

Duration = Annotated[float, DurationKind()]
"""Annotation of a length of time; the function receives seconds."""

Moment = Annotated[int, MomentKind()]
"""Annotation of a time stamp; the function receives ns UTC, or None for now."""

Setting = Annotated[float | bool | str, SettingKind()]
"""Annotation of what something is set to; the function receives a number, a flag or a text."""


@dataclass(frozen=True)
class Help:
    """What an argument means, beside its type: for one that several services take alike.

    A docstring that documents the argument comes first.
    """

    text: str


PLAIN_KINDS: dict[Any, Kind] = {
    bool: Flag(),
    int: Integer(),
    float: Scalar(),
    str: Text(),
    File: FileKind(),
    ModelRef: ModelKind(),
    TwinRef: TwinKind(),
    BeliefRef: BeliefKind(),
    ArtefactRef: ArtefactKind(),
    Values: ValuesKind(),
}


@dataclass(frozen=True)
class Service:
    """A function with everything its surfaces need. Calling it runs it here and now.

    Examples
    --------
    >>> from typing import Annotated
    >>> @service("Double a mass", stage="demo")
    ... def double(mass: Annotated[float, In("g", lower=0)]) -> dict:
    ...     return {"mass": Value(2000 * mass, "g")}
    >>> double(mass="0.5 kg")["mass"]
    1000.0
    """

    function: Callable[..., Any] = field(repr=False)
    name: str
    title: str
    stage: str
    effect: str
    role: str
    needs: Level | None
    arguments: tuple[Argument, ...] = field(repr=False)
    description: str = field(default="", repr=False)
    takes_run: bool = False

    @property
    def full_name(self) -> str:
        """``stage.name``, as sessions and the ledger know it."""
        return f"{self.stage}.{self.name}"

    @property
    def module(self) -> str:
        return self.function.__module__

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All arguments in plain form, defaults filled in; errors name the argument."""
        return checked(self.full_name, self.arguments, given)

    def perform(self, arguments: Mapping[str, Any], run: Run) -> Result:
        """Run the function with checked plain ``arguments``."""
        run = replace(run, name=self.full_name)
        values = {a.name: a.value(arguments[a.name], run) for a in self.arguments}
        if self.takes_run:
            values["run"] = run
        return Result.of(self.function(**values))

    def __call__(self, *given: Any, run: Run | None = None, **named: Any) -> Result:
        names = [argument.name for argument in self.arguments]
        if len(given) > len(names):
            raise ArgumentError(
                f"{self.full_name} was given {len(given)} arguments",
                expected=f"at most {len(names)}: {', '.join(names)}",
            )
        arguments = self.check(dict(zip(names, given, strict=False)) | named)
        return self.perform(arguments, run or Run())

    def to_dict(self) -> dict[str, Any]:
        """The service as the service index keeps it."""
        return {
            "name": self.name,
            "title": self.title,
            "stage": self.stage,
            "effect": self.effect,
            "role": self.role,
            "needs": None if self.needs is None else self.needs.name.lower(),
            "module": self.module,
            "description": self.description,
            "arguments": [argument.to_dict() for argument in self.arguments],
        }


def checked(name: str, arguments: tuple[Argument, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` in plain form with defaults; one rule for the index and the loaded service."""
    known = [argument.name for argument in arguments]
    for key in given:
        if key not in known:
            close = UnknownName.among("argument", str(key), known)
            raise ArgumentError(close.found, where=f"service {name}", hint=close.hint)
    plain = {}
    for argument in arguments:
        if argument.name in given:
            plain[argument.name] = argument.check(given[argument.name])
        elif argument.required:
            raise ArgumentError(
                f"argument {argument.name!r} is missing",
                where=f"service {name}",
                expected=argument.help or argument.kind.kind,
            )
        else:
            plain[argument.name] = argument.default
    return plain


def service(
    title: str,
    *,
    stage: str,
    effect: str = "compute",
    role: str = "viewer",
    needs: Level | None = None,
) -> Callable[[Callable[..., Any]], Service]:
    """Make a service of a typed function.

    Parameters
    ----------
    title : str
        What it does, as a button would say it.
    stage : str
        The life-cycle stage; first word of its command and of its address.
    effect : {"read", "compute", "act"}
        ``read`` looks at records or live twins, ``compute`` works on its arguments in a process
        of its own, ``act`` changes something and is recorded before and after.
    role : {"viewer", "operator", "engineer", "quality", "administrator", "service"}
        The role that is needed; roles may include others, see `galenic.records.grants.GRANTS`.
    needs : Level, optional
        The lowest level that the twin in its arguments must have.
    """

    def decorate(function: Callable[..., Any]) -> Service:
        where = _place(function)
        for word, known, what in ((effect, EFFECTS, "effect"), (role, ROLES, "role")):
            if word not in known:
                raise UnknownName.among(what, word, known, where=where)
        description, helps = read_docstring(function.__doc__ or "")
        parameters = dict(inspect.signature(function).parameters)
        takes_run = parameters.pop("run", None) is not None
        hints = _hints(function, where)
        arguments = tuple(
            _argument(parameter, hints, helps, where) for parameter in parameters.values()
        )
        for unknown in set(helps) - set(parameters) - {"run"}:
            raise UnknownName.among("documented parameter", unknown, parameters, where=where)
        return Service(
            function, function.__name__, title, stage, effect, role, needs, arguments,
            description, takes_run,
        )  # fmt: skip

    return decorate


def _place(function: Callable[..., Any]) -> str:
    code = function.__code__
    return f"{function.__name__}, {code.co_filename}:{code.co_firstlineno}"


def _hints(function: Callable[..., Any], where: str) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        raise DataError(
            f"an annotation names {error.name!r}, which is not defined there",
            where=where,
            hint="import it at the top of the module, not under TYPE_CHECKING",
        ) from error


def _argument(
    parameter: inspect.Parameter, hints: Mapping[str, Any], helps: Mapping[str, str], where: str
) -> Argument:
    name = parameter.name
    if name not in hints:
        raise DataError(
            f"argument {name!r} has no type", where=where, expected=f"one of: {_known_types()}"
        )
    kind = kind_of(hints[name], name, where)
    required = parameter.default is inspect.Parameter.empty
    default = None
    if not required and parameter.default is not None:
        try:
            default = kind.check(parameter.default)
        except ArgumentError as error:
            raise DataError(
                f"the default of argument {name!r} does not fit: {error.found}",
                where=where,
                expected=error.expected,
            ) from error
    return Argument(name, kind, required, default, helps.get(name) or help_of(hints[name]))


def _known_types() -> str:
    plain_names = [kind.__name__ for kind in PLAIN_KINDS]
    return ", ".join(
        [
            *plain_names,
            *("Duration", "Moment", "Setting", "Literal[...]", "Enum"),
            *("Annotated[float, In(unit)]", "Annotated[Table, Columns(...)]"),
            *("tuple[KIND, ...]", "KIND | None"),
        ]
    )


def kind_of(annotation: Any, name: str, where: str) -> Kind:
    """The kind that an annotation declares; an unknown one is an error at the function."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _annotated(parts[0], parts[1:], name, where)
    if origin in (Union, UnionType):
        rest = [part for part in parts if part is not NoneType]
        if len(rest) == 1:
            return kind_of(rest[0], name, where)
    if origin is Literal and all(isinstance(part, str) for part in parts):
        return Choice(tuple(parts))
    if origin is tuple and len(parts) == 2 and parts[1] is Ellipsis:
        return Many(kind_of(parts[0], name, where))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return Choice(tuple(annotation.__members__), annotation)
    try:
        return PLAIN_KINDS[annotation]
    except (KeyError, TypeError):
        raise DataError(
            f"argument {name!r} has a type that no surface can take: {annotation!r}",
            where=where,
            expected=f"one of: {_known_types()}",
        ) from None


def help_of(annotation: Any) -> str:
    """The `Help` of an annotation, also of one that may be None; empty where it has none."""
    if get_origin(annotation) in (Union, UnionType):
        return next(filter(None, map(help_of, get_args(annotation))), "")
    extras = getattr(annotation, "__metadata__", ())
    return next((extra.text for extra in extras if isinstance(extra, Help)), "")


def _annotated(base: Any, extras: tuple[Any, ...], name: str, where: str) -> Kind:
    for extra in extras:
        if isinstance(extra, Kind):
            return extra
        if isinstance(extra, Columns) and base is Table:
            return TableKind(dict(extra.units))
        if isinstance(extra, In):
            if base is int:
                lower = None if extra.lower is None else int(extra.lower)
                upper = None if extra.upper is None else int(extra.upper)
                return Integer(lower, upper)
            if kind_of(base, name, where) == Scalar():
                return Scalar(extra.unit, extra.lower, extra.upper)
            raise DataError(
                f"argument {name!r} has a unit but is no number", where=where, expected="float"
            )
    return kind_of(base, name, where)


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The description of a numpydoc docstring and its parameters' help.

    Examples
    --------
    >>> read_docstring('''Add.
    ...
    ... Parameters
    ... ----------
    ... mass : float [g]
    ...     What is added.
    ... ''')
    ('Add.', {'mass': 'What is added.'})
    """
    sections = re.split(r"\n\n?([A-Z][A-Za-z ]+)\n-{3,}\n", "\n" + inspect.cleandoc(text))
    description = " ".join(sections[0].split())
    helps: dict[str, str] = {}
    for title, body in zip(sections[1::2], sections[2::2], strict=True):
        if title != "Parameters":
            continue
        for match in re.finditer(r"^(\w[\w, ]*) ?:[^\n]*\n((?:[ ]+[^\n]*\n?|\n)*)", body, re.M):
            for name in match[1].split(","):
                helps[name.strip()] = " ".join(match[2].split())
    return description, helps
