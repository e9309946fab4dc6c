"""Model: the base class of everything that can be simulated."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from galenic.errors import ModelError, UnknownName
from galenic.modeling.declare import Declaration, Declared, Input, Parameter, Part, Size, State

if TYPE_CHECKING:
    from galenic.modeling.system import Conserved, System

_RESERVED = {
    "equations", "connections", "events", "conserved", "flatten", "check", "simulate", "card",
    "latex", "path_of", "declarations", "example_duration", "example_experiment",
}  # fmt: skip


class UnknownAttribute(UnknownName, AttributeError):
    """A name that a model does not declare."""


class Model:
    """Base of all models. Declare quantities as class attributes and yield equations.

    Instances take overrides by name: ``StirredTank(V="5 L")``, ``TwoTanks(first={"V": "5 L"})``,
    sizes too. An instance does not change; ``flatten`` is computed once.
    """

    declarations: ClassVar[dict[str, Declaration]] = {}
    example_duration: ClassVar[str] = "1 h"

    def __init_subclass__(cls) -> None:
        own = {k: v for k, v in vars(cls).items() if isinstance(v, Declaration)}
        taken = sorted(_RESERVED & own.keys()) + sorted(k for k in own if k.startswith("_"))
        if taken:
            raise ModelError(
                f"{cls.__name__} declares {taken[0]!r}, a name that models use themselves"
            )
        bases = [base.declarations for base in cls.__mro__[1:] if issubclass(base, Model)]
        inherited: dict[str, Declaration] = {}
        for declarations in reversed(bases):
            inherited |= declarations
        cls.declarations = inherited | own

    def __init__(self, **overrides: Any) -> None:
        declared = type(self).declarations
        for name in overrides:
            if not isinstance(declared.get(name), (Parameter, State, Input, Size, Part)):
                known = [k for k, d in declared.items()
                         if isinstance(d, (Parameter, State, Input, Size, Part))]  # fmt: skip
                raise UnknownName.among("quantity", name, known, where=type(self).__name__)
        sizes = {
            name: d.checked(overrides.get(name, d.value), type(self).__name__)
            for name, d in declared.items()
            if isinstance(d, Size)
        }
        parts = {
            name: d.build(sizes, overrides.get(name, {}))
            for name, d in declared.items()
            if isinstance(d, Part)
        }
        values = {k: v for k, v in overrides.items() if isinstance(declared[k], Declared)}
        self.__dict__.update(
            _sizes=sizes, _parts=parts, _values=values, _parent=None, _label="", _system=None
        )
        self._check_values()
        for label, child in self._children():
            child.__dict__.update(_parent=self, _label=label)

    def _check_values(self) -> None:
        for name, value in self.__dict__["_values"].items():
            declaration = type(self).declarations[name]
            if isinstance(declaration, Declared) and not _is_binding(value):
                shape = declaration.rows_and_columns(self.__dict__["_sizes"]) or (1, 1)
                where = f"{type(self).__name__}.{name}"
                declaration.si(value, shape[0] * shape[1], where)

    def _children(self) -> Iterable[tuple[str, Model]]:
        for name, part in self.__dict__["_parts"].items():
            if isinstance(part, tuple):
                yield from ((f"{name}[{i}]", child) for i, child in enumerate(part))
            else:
                yield name, part

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        error = UnknownName.among(
            "quantity", name, type(self).declarations, where=type(self).__name__
        )
        raise UnknownAttribute(error.found, where=error.where, hint=error.hint)

    def __setattr__(self, name: str, value: Any) -> None:
        raise ModelError(
            f"{type(self).__name__}.{name} cannot be assigned",
            hint=f"yield an equation with ==, or build {type(self).__name__}({name}=...)",
        )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_system": None}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path_of('').rstrip('.')})"

    def path_of(self, name: str) -> str:
        """The path of one of this model's names, from the outermost model."""
        path, node = name, self
        while node.__dict__["_parent"] is not None:
            path = f"{node.__dict__['_label']}.{path}"
            node = node.__dict__["_parent"]
        return path

    def equations(self) -> Iterable[Any] | None:
        """The model's equations, each made with ``==``."""
        return ()

    def connections(self) -> Iterable[Any] | None:
        """The connections of the model's parts, each made with ``>>``."""
        return ()

    def events(self) -> Iterable[Any] | None:
        """The model's events: When, Every, At."""
        return ()

    def conserved(self) -> Iterable[Conserved] | None:
        """The balances that the model promises to keep."""
        return ()

    def flatten(self) -> System:
        """The model as one System; traced once and kept."""
        if self.__dict__["_system"] is None:
            from galenic.modeling.flatten import flatten

            self.__dict__["_system"] = flatten(self)
        system: System = self.__dict__["_system"].system
        return system

    def check(self) -> Any:
        """A Report on structure, units, conservation and start of the model."""
        from galenic.modeling.check import check

        return check(self)

    def card(self) -> Any:
        """The model card: what it is, its equations and quantities."""
        from galenic.modeling.describe import Card

        return Card.of(self)

    def latex(self) -> str:
        """The equations in LaTeX."""
        return str(self.card().latex())

    def example_experiment(self) -> Any:
        """What is done to the model in its example; None if nothing."""
        return None

    def simulate(self, experiment: Any = None, **options: Any) -> Any:
        """Simulate: ``model.simulate("8 h", every="1 min")`` or ``simulate(experiment, ...)``."""
        # By name, because the language lies below the engine.
        engine = import_module("galenic.engine")
        if isinstance(experiment, (str, int, float)):
            options.setdefault("until", experiment)
            experiment = None
        return engine.Simulator(self).run(experiment, **options)


def _is_binding(value: Any) -> bool:
    """Whether an override refers to the enclosing model instead of giving a value."""
    return callable(value) or isinstance(value, Declaration)
