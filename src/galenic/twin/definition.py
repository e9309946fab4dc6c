"""TwinDefinition: model, bindings, estimator, controller, guard - shared by all twins of a kind.

A definition is a frozen value with a name, a version and an identity (a hash of all it says). It
is found by name: built in (one line here per stage), from an installed package (entry point group
``galenic.twins``), or in a user's file as ``file.py:name``. It is recorded as data
(``galenic.twin.versions``), so that a record can be replayed when its source has changed or gone.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from galenic.decision.goal import Forewarning
from galenic.errors import DataError, UnknownName
from galenic.identity import content_hash
from galenic.inference.estimator import Estimator, Noise
from galenic.plugins import load_file
from galenic.twin.alarm.rule import AlarmRule, AlarmRules
from galenic.twin.alarm.rule import check as check_alarms
from galenic.twin.binding import Binding, Channel, bind, entries, entry_of
from galenic.twin.fold import FoldRules
from galenic.twin.genealogy import GenealogyRules
from galenic.twin.guard import Guard
from galenic.twin.health import HealthRules
from galenic.twin.portable import Reference, from_data, references, to_data

EstimatorFactory = Callable[[Any, Noise], Estimator]
FORMAT = 1
SHOWN = (
    "services", "shown", "limits", "horizon", "every", "forewarning", "alarms", "alarming"
)  # fmt: skip

BUILT_IN: dict[str, str] = {
    "glucose": "galenic.stages.clinical.glucose:glucose",
    "tablet-line": "galenic.stages.manufacturing.twin:tablet_line",
    "patient": "galenic.stages.clinical.twin:patient",
    "patient-gentamicin": "galenic.stages.clinical.twin:gentamicin_patient",
    "patient-infliximab": "galenic.stages.clinical.twin:infliximab_patient",
    "patient-tobramycin": "galenic.stages.clinical.twin:tobramycin_patient",
    "press-record": "galenic.stages.manufacturing.press_record.definition:press_record",
}


@dataclass(frozen=True)
class Estimation:
    """An estimator as data: by what it is made, with which settings.

    Parameters
    ----------
    factory : callable (system, noise, **options) -> Estimator
        A class or function that is found by name.
    options : mapping
        What else it is given: values as in a definition, and functions that are found by name.
    """

    factory: Callable[..., Estimator]
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, system: Any, noise: Noise) -> Estimator:
        """The estimator for a system."""
        return self.factory(system, noise, **self.options)


@dataclass(frozen=True)
class Control:
    """A controller and when it runs.

    Parameters
    ----------
    factory : str
        ``package.module:name`` of a callable ``(system, **options)`` that gives a controller with
        ``propose(belief, goal, limits)``; named, so that a worker process can make it.
    every : float [s]
        Time between runs.
    deadline : float [s]
        After this a run is stopped; the previous safe action holds.
    options : mapping
        JSON values for the factory.
    function : str
        The worker function; ``propose`` of galenic.twin.work unless the controller brings its own.
    patience : int
        Time-outs in a row at which an alarm is raised and writing stops.
    """

    factory: str
    every: float = 10.0
    deadline: float = 5.0
    options: Mapping[str, Any] = field(default_factory=dict)
    function: str = "galenic.twin.work:propose"
    patience: int = 3


@dataclass(frozen=True)
class TwinDefinition:
    """What all twins of one kind have in common.

    Parameters
    ----------
    name, version : str
    model : Model, class, flattened System, or a callable without arguments that gives one
    bindings : tuple of Binding
    noise : Noise
    estimator : Estimation, or callable (system, noise) -> Estimator, optional
        An extended Kalman filter when not given. Of a callable only the place is recorded, of an
        Estimation also the settings.
    controller : Control, optional
    guard : Guard
    targets : mapping of quantity to value
        What the controller aims at: "10 %", or a number in the quantity's declared unit.
    services : tuple of str
        Names of the services offered for such a twin.
    shown : tuple of str
        Quantities that pages and forecasts show first.
    limits : mapping of quantity to (lowest, highest)
        Where a quantity is as it should be: pages shade what is outside, and say when it will be
        left. Values as in ``targets``.
    fold, health, genealogy
        Rules of the parts.
    tick : float [s]
        Time between ticks.
    history : float [s]
        How long before its first start a twin begins, so that it can still be told what was done
        and measured before.
    horizon, every : float [s]
        Length and step of the running forecast.
    alarms : tuple of AlarmRule
        What people must act on, each with its cause, consequence and action.
    alarming : AlarmRules
        How these are evaluated.
    forewarning : callable (belief, goal) -> schedule, optional
        Changes of inputs that are known to come (the next refill): ``(seconds from now, {path:
        SI})`` in order of time. Forecasts and what-ifs reckon with them.
    """

    name: str
    version: str
    model: Any
    bindings: tuple[Binding, ...] = ()
    noise: Noise = field(default_factory=Noise)
    estimator: EstimatorFactory | None = None
    controller: Control | None = None
    guard: Guard = field(default_factory=Guard)
    targets: Mapping[str, Any] = field(default_factory=dict)
    services: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    limits: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    fold: FoldRules = field(default_factory=FoldRules)
    health: HealthRules = field(default_factory=HealthRules)
    genealogy: GenealogyRules | None = None
    tick: float = 1.0
    history: float = 0.0
    horizon: float = 900.0
    every: float = 15.0
    forewarning: Forewarning | None = None
    alarms: tuple[AlarmRule, ...] = ()
    alarming: AlarmRules = field(default_factory=AlarmRules)

    def system(self, values: Mapping[str, Any] | None = None) -> Any:
        """The flattened model, with parameter (and start) values replaced by ``values``."""
        model = self.model
        if not _is_system(model):
            if isinstance(model, type) or (callable(model) and not hasattr(model, "flatten")):
                model = model()
            model = model if _is_system(model) else model.flatten()
        return with_values(model, values or {})

    def channels(self, system: Any) -> dict[str, Channel]:
        """The bindings checked against the model, by tag."""
        return bind(self.bindings, system)

    def make_estimator(self, system: Any) -> Estimator:
        """The estimator for a system."""
        if self.estimator is not None:
            return self.estimator(system, self.noise)
        from galenic.inference.kalman import EKF

        return EKF(system, self.noise, augmented=tuple(self.noise.drift))

    def check(self, values: Mapping[str, Any] | None = None) -> None:
        """Refuse names and units that do not fit the model; says where."""
        system = self.system(values)
        channels = self.channels(system)
        self.guard.check(channels)
        targets_si(self.targets, system)
        limits_si(self.limits, system)
        check_alarms(self.alarms, channels, system)
        for path in self.shown:
            entry_of(system, path, where=f"shown of {self.name}")
        for point in self.genealogy.points if self.genealogy else ():
            if point not in channels:
                raise UnknownName.among("tag", point, channels, where=f"genealogy of {self.name}")

    def facts(self) -> dict[str, Any]:
        """Everything the definition says as JSON values; the model is named by its identity."""
        if "_recorded" in self.__dict__:
            return dict(self.__dict__["_recorded"])
        said = {f.name: getattr(self, f.name) for f in fields(TwinDefinition) if f.name != "model"}
        data = {name: to_data(value, f"{name} of {self.name}") for name, value in said.items()}
        return data | {"model": self.system().identity}

    @classmethod
    def from_facts(
        cls, facts: Mapping[str, Any], system: Any, find: Callable[[str], Reference] = Reference
    ) -> TwinDefinition:
        """The definition that ``facts`` gave, with its model; it keeps the identity it had."""
        said = {name: data for name, data in facts.items() if name != "model"}
        for name in sorted(said.keys() - {f.name for f in fields(cls)}):
            raise DataError(
                f"a recorded definition says {name!r}",
                where=str(facts.get("name", "")),
                hint="it was recorded by a later release of galenic; read it with that one",
            )
        made = cls(model=system, **{name: from_data(data, find) for name, data in said.items()})
        made.__dict__["_recorded"] = dict(facts)
        return made

    def identity(self, values: Mapping[str, Any] | None = None) -> str:
        """SHA-256 of all that decides what a twin does, the flattened model included.

        What is only shown (``SHOWN``) and what the code is do not count.
        """
        said = {name: data for name, data in self.facts().items() if name not in SHOWN}
        own = {path: to_data(value, f"value of {path}") for path, value in (values or {}).items()}
        return content_hash({"format": FORMAT, "definition": said, "values": own})

    def code(self) -> dict[str, Reference]:
        """Where the code is found that decides what a twin of this definition does."""
        found = {"twin": Reference("galenic.twin.twin:Twin")}
        if self.estimator is None:
            found["estimator"] = Reference("galenic.inference.kalman:EKF")
        else:
            found |= references(self.estimator, "estimator")
        if self.controller is not None:
            found["controller"] = Reference(self.controller.factory)
            found["controller.function"] = Reference(self.controller.function)
        if self.forewarning is not None:
            found |= references(self.forewarning, "forewarning")
        return found

    def with_alarms(self, rules: Iterable[AlarmRule]) -> TwinDefinition:
        """The definition with alarms added; one of a known name takes its place."""
        known = {rule.name: rule for rule in (*self.alarms, *rules)}
        return replace(self, alarms=tuple(known.values()))

    def with_bindings(self, overrides: Mapping[str, Mapping[str, Any]]) -> TwinDefinition:
        """The definition with fields of its bindings replaced, by tag; new tags are added."""
        known = {binding.tag: binding for binding in self.bindings}
        for tag, said in overrides.items():
            known[tag] = replace(known.get(tag) or Binding(tag), **said)
        return replace(self, bindings=tuple(known.values()))


def with_values(system: Any, values: Mapping[str, Any]) -> Any:
    """A system whose parameters (and start values, inputs) are replaced; unknown names suggest."""
    if not values:
        return system
    table = entries(system)
    changed: dict[str, Any] = {}
    for path, value in values.items():
        if path not in table:
            raise UnknownName.among("quantity", path, table, where="values")
        changed[path] = replace(table[path], value=_si(value, table[path], f"value of {path}"))
    groups: dict[str, Any] = {
        name: tuple(changed.get(entry.path, entry) for entry in getattr(system, name))
        for name in ("states", "algebraics", "inputs", "parameters")
    }
    starts = [i for i, entry in enumerate(system.states) if entry.path in changed]
    if starts:
        import casadi as ca

        groups["x0"] = ca.SX(system.x0)
        for i in starts:
            groups["x0"][i] = groups["states"][i].value
    return replace(system, **groups)


def targets_si(targets: Mapping[str, Any], system: Any) -> dict[str, float]:
    """Targets in SI, checked against the model."""
    return {
        path: _si(value, entry_of(system, path, where="targets"), f"target of {path}")
        for path, value in targets.items()
    }


def limits_si(limits: Mapping[str, tuple[Any, Any]], system: Any) -> dict[str, tuple[float, float]]:
    """Limits in SI, checked against the model."""
    found = {}
    for path, pair in limits.items():
        entry = entry_of(system, path, where="limits")
        low, high = (_si(value, entry, f"limits of {path}") for value in pair)
        if not low < high:
            raise DataError(f"{pair[0]!r} is not below {pair[1]!r}", where=f"limits of {path}")
        found[path] = (low, high)
    return found


def _si(value: Any, entry: Any, where: str) -> float:
    from galenic.units import value_in

    try:
        return float(value_in(value, entry.unit, where=where))
    except (TypeError, ValueError) as error:
        raise DataError(f"{value!r} is not a value in [{entry.unit.text}]", where=where) from error


def _is_system(model: Any) -> bool:
    return hasattr(model, "ode") and hasattr(model, "states")


def names() -> dict[str, str]:
    """All definitions that can be found by name, and where each is."""
    found = {point.name: point.value for point in entry_points(group="galenic.twins")}
    return {**BUILT_IN, **found}


def load(name: str, folder: Path | None = None) -> TwinDefinition:
    """The definition called ``name``: a known name, ``module:name`` or ``file.py:name``.

    Parameters
    ----------
    name : str
    folder : Path, optional
        Where a relative file is looked for (the project's folder).
    """
    known = names()
    place, _, attribute = known.get(name, name).partition(":")
    if not attribute:
        raise UnknownName.among("twin definition", name, known)
    module = _module(place, folder)
    found = getattr(module, attribute, None)
    if found is None:
        raise UnknownName.among("twin definition", attribute, vars(module), where=place)
    definition = found if isinstance(found, TwinDefinition) else found()
    if not isinstance(definition, TwinDefinition):
        raise DataError(f"{name} is a {type(definition).__name__}", expected="a TwinDefinition")
    return definition


def _module(place: str, folder: Path | None) -> Any:
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            raise DataError(f"there is no module {place!r}", where="twin definition") from error
    path = (folder or Path()) / place
    if not path.is_file():
        raise DataError(f"there is no file {path}", where="twin definition")
    return load_file(path)
