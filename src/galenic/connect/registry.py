"""Kinds of connectors by name: ours, and those of outside packages by entry point."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, get_args, get_type_hints

from galenic.clock import Clock
from galenic.connect.connector import Connector
from galenic.errors import DataError, UnknownName

GROUP = "galenic.connectors"
BUILT_IN = {
    "memory": "galenic.connect.memory:MemoryConnector",
    "replay": "galenic.connect.replay:ReplayConnector.of_file",
    "epcis": "galenic.connect.epcis.client:EpcisConnector",
    "opcua": "galenic.connect.opcua.client:OpcUaConnector",
    "files": "galenic.connect.files:CsvFolder",
    "modbus": "galenic.connect.modbus.client:ModbusConnector",
    "table": "galenic.connect.table.client:TableConnector",
    "mqtt": "galenic.connect.mqtt.topics:MqttConnector",
    "sparkplug": "galenic.connect.mqtt.host:SparkplugHost",
}


def kinds() -> list[str]:
    """Every kind of connector that can be made, by name."""
    return sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))})


def factory(kind: str) -> Callable[..., Connector]:
    """What makes a connector of ``kind``; imported only now."""
    if kind in BUILT_IN:
        module, _, path = BUILT_IN[kind].partition(":")
        found: Any = import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        return found  # type: ignore[no-any-return]
    for point in entry_points(group=GROUP, name=kind):
        return point.load()  # type: ignore[no-any-return]
    raise UnknownName.among("kind of connection", kind, kinds())


def options_of(kind: str) -> dict[str, tuple[str, bool]]:
    """The options of a kind: annotation as text, and whether it must be given.

    Keywords that a connector takes together (``**access: Unpack[Access]``) count one by one.
    """
    make = factory(kind)
    found: dict[str, tuple[str, bool]] = {}
    for parameter in inspect.signature(make).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            found |= {name: (str(hint), False) for name, hint in _together(make, parameter)}
        else:
            needed = parameter.default is parameter.empty
            found[parameter.name] = (str(parameter.annotation), needed)
    return found


def _together(make: Callable[..., Any], parameter: inspect.Parameter) -> list[tuple[str, Any]]:
    """Names and types of the keywords in an ``Unpack`` of a typed dictionary."""
    function: Any = make.__init__ if inspect.isclass(make) else make
    hint = inspect.get_annotations(function, eval_str=True).get(parameter.name)
    return [item for kind in get_args(hint) for item in get_type_hints(kind).items()]


def create(
    kind: str,
    options: Mapping[str, Any] | None = None,
    *,
    name: str = "",
    clock: Clock | None = None,
) -> Connector:
    """A connector of ``kind`` with ``options``, as a ``[[connection]]`` of a project gives them.

    Parameters
    ----------
    kind : str
        One of `kinds`.
    options : mapping
        Keyword arguments of that connector; a mistyped or missing one is named.
    name : str
        Of the connection; the kind by default.
    clock : Clock, optional
        Passed on to connectors that take one.
    """
    make = factory(kind)
    given = dict(options or {})
    known = options_of(kind)
    where = f"connection {name or kind!r}"
    for option in given:
        if option not in known:
            raise UnknownName.among(f"{kind} option", option, known, where=where)
    given["name"] = name or kind
    if clock is not None and "clock" in known:
        given.setdefault("clock", clock)
    for option, (_, needed) in known.items():
        if needed and option not in given:
            raise DataError(
                f"option {option!r} is missing", where=where,
                hint=f'add {option} = "..." to the connection',
            )  # fmt: skip
    return make(**given)
