"""The service index: which services there are, known without importing any of them.

``python -m galenic.app.index`` imports every ``galenic.stages.*.services`` and writes
``stages/services.json``, which is committed; a test fails when it is stale. Surfaces read the file:
names, titles, roles and arguments are there, and only a call imports its stage.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from galenic.errors import UnknownName
from galenic.twin.arguments import Argument
from galenic.twin.references import TwinKind  # registers the kinds that arguments may have
from galenic.twin.service import Service, checked

INDEX = Path(__file__).parents[1] / "stages" / "services.json"


@dataclass(frozen=True)
class ServiceEntry:
    """A service as the index knows it; ``load`` imports its stage."""

    name: str
    title: str
    stage: str
    effect: str
    role: str
    needs: str | None
    module: str
    description: str
    arguments: tuple[Argument, ...]

    @property
    def full_name(self) -> str:
        return f"{self.stage}.{self.name}"

    @property
    def twins(self) -> list[str]:
        """Names of the arguments that are twins."""
        return [a.name for a in self.arguments if isinstance(a.kind, TwinKind)]

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All arguments in plain form; the same rule as the service's own."""
        return checked(self.full_name, self.arguments, given)

    def summary(self) -> dict[str, Any]:
        """What a list of services shows."""
        facts = ("stage", "name", "title", "description", "effect", "role", "needs")
        return {"id": self.full_name} | {fact: getattr(self, fact) for fact in facts}

    def schema(self) -> dict[str, Any]:
        """JSON schema of the arguments."""
        return {
            "type": "object",
            "properties": {a.name: a.schema() for a in self.arguments},
            "required": [a.name for a in self.arguments if a.required],
            "additionalProperties": False,
        }

    def form(self) -> dict[str, Any]:
        """The page model of the service's form: its fields with widget, unit, default, help."""
        return self.summary() | {"fields": [a.field() for a in self.arguments]}

    def load(self) -> Service:
        """The service itself."""
        return find(self.module, self.name)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> ServiceEntry:
        arguments = tuple(Argument.from_dict(a) for a in record["arguments"])
        return cls(**{**record, "arguments": arguments})

    @classmethod
    def of(cls, service: Service) -> ServiceEntry:
        """The entry that the index would hold for ``service``."""
        return cls.from_dict(service.to_dict())


def find(module: str, name: str) -> Service:
    """The service ``name`` of a module."""
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, Service)
    return found


@cache
def entries() -> dict[str, ServiceEntry]:
    """Every service of the index by ``stage.name``."""
    records = json.loads(INDEX.read_text(encoding="utf-8"))
    found = [ServiceEntry.from_dict(record) for record in records]
    return {entry.full_name: entry for entry in found}


def entry(name: str, known: Mapping[str, ServiceEntry] | None = None) -> ServiceEntry:
    """The service called ``stage.name``; a hyphen counts as an underscore."""
    known = entries() if known is None else known
    key = name.replace("-", "_")
    if key not in known:
        raise UnknownName.among("service", name, known)
    return known[key]


def collect() -> list[Service]:
    """All services of all stages, by import."""
    import galenic.stages as stages

    found: dict[str, Service] = {}
    for stage in pkgutil.iter_modules(stages.__path__, "galenic.stages."):
        if importlib.util.find_spec(f"{stage.name}.services") is None:
            continue
        module = importlib.import_module(f"{stage.name}.services")
        for value in vars(module).values():
            if isinstance(value, Service):
                found[value.full_name] = value
    return [found[name] for name in sorted(found)]


def written() -> str:
    """The index as it should stand in the file."""
    records = [service.to_dict() for service in collect()]
    return json.dumps(records, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def main() -> int:
    """Write the index, or with ``--check`` say whether it is current."""
    text = written()
    current = INDEX.is_file() and INDEX.read_text(encoding="utf-8") == text
    if "--check" in sys.argv[1:]:
        return 0 if current else 1
    if not current:
        INDEX.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
