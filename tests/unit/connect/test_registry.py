"""Connectors by kind and options, as a project file gives them."""

from __future__ import annotations

import pytest

from galenic.clock import ManualClock
from galenic.connect.memory import MemoryConnector
from galenic.connect.registry import create, factory, kinds
from galenic.errors import DataError, UnknownName


def test_the_built_in_kinds_are_there():
    assert {"files", "memory", "opcua", "replay"} <= set(kinds())


def test_every_kind_can_be_imported():
    assert all(callable(factory(kind)) for kind in kinds())


def test_options_name_and_clock_are_passed_on():
    clock = ManualClock(7)

    connector = create("memory", {"queue": 5}, name="plc", clock=clock)

    assert isinstance(connector, MemoryConnector)
    assert (connector.name, connector.capacity, connector.clock) == ("plc", 5, clock)


@pytest.mark.parametrize(
    ("kind", "options", "error", "words"),
    [
        ("opcau", {}, UnknownName, "did you mean 'opcua'"),
        ("opcua", {"endpont": "x"}, UnknownName, "did you mean 'endpoint'"),
        ("opcua", {}, DataError, "option 'endpoint' is missing"),
        ("opcua", {"endpoint": "http://x"}, DataError, "opc.tcp://host:port"),
        ("opcua", {"endpoint": "opc.tcp://h:1/", "security": "Basic128"}, UnknownName, "Basic256"),
    ],
)
def test_what_is_wrong_is_named(kind, options, error, words):
    with pytest.raises(error) as caught:
        create(kind, options, name="plc")

    assert words in str(caught.value)


def test_an_outside_package_adds_a_kind(monkeypatch):
    class Point:
        name = "balance"

        def load(self):
            return MemoryConnector

    monkeypatch.setattr(
        "galenic.connect.registry.entry_points",
        lambda group, name="balance": [Point()] if name == "balance" else [],
    )

    assert "balance" in kinds()
    assert isinstance(create("balance"), MemoryConnector)
