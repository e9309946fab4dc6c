"""Models by name: the built-in index, installed packages, and files the operator names.

The index (``library/index.toml``) is committed text, so that listing models imports none of them:

    [models.stirred-tank]
    at = "galenic.library.tanks:StirredTank"
    title = "Ideally mixed tank with first-order decay"
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from galenic.errors import DataError, UnknownName

INDEX = Path(__file__).parent / "library" / "index.toml"
SBML = (".xml", ".sbml")
FILES = (".py", *SBML)  # of models that the operator names


@dataclass(frozen=True)
class ModelEntry:
    """A model by name; ``load`` imports its class.

    ``at`` is ``package.module:Class`` or ``path/file.py:Class`` (or ``.xml``); ``origin`` says
    who provides it: ``galenic``, the name of an installed package, or the file.
    """

    name: str
    title: str
    at: str
    origin: str = "galenic"

    def load(self) -> Any:
        """The model class."""
        place, _, attribute = self.at.rpartition(":")
        module = load_file(place) if place.endswith(FILES) else importlib.import_module(place)
        if not hasattr(module, attribute):
            raise UnknownName.among("model", attribute, vars(module), where=place)
        return getattr(module, attribute)


_files: list[Path] = []


def use_files(paths: Iterable[str | Path]) -> None:
    """Offer the models of these files too (``--models file.py``); the operator's choice only."""
    for path in paths:
        resolved = Path(path).resolve()
        if not resolved.is_file():
            raise DataError(
                f"there is no file {str(path)!r}", hint="--models wants a Python or SBML file"
            )
        if resolved not in _files:
            _files.append(resolved)


def models() -> dict[str, ModelEntry]:
    """All models by name: built in, from entry points ``galenic.models``, from files."""
    found = dict(_index())
    for point in metadata.entry_points(group="galenic.models"):
        origin = point.dist.name if point.dist else point.module
        found[point.name] = ModelEntry(point.name, "", point.value, origin)
    for path in _files:
        found |= {entry.name: entry for entry in models_in(path)}
    return found


def model(name: str) -> Any:
    """The model class called ``name``, or at ``file.py:Class`` or ``package.module:Class``."""
    known = models()
    if name in known:
        return known[name].load()
    place, _, attribute = name.rpartition(":")
    if place.endswith(FILES) and not Path(place).is_file():
        raise DataError(f"there is no file {place!r}", where=name)
    if attribute and place:
        return ModelEntry(name, "", name, place).load()
    raise UnknownName.among("model", name, known)


def models_in(path: str | Path) -> list[ModelEntry]:
    """The models defined in a file, under names made of their class names."""
    module = load_file(path)
    base = importlib.import_module("galenic.modeling.model").Model
    return [
        ModelEntry(_name_of(cls), (cls.__doc__ or "").strip().partition("\n")[0], f"{path}:{name}",
                   str(path))
        for name, cls in vars(module).items()
        if inspect.isclass(cls) and issubclass(cls, base) and cls.__module__ == module.__name__
    ]  # fmt: skip


def load_file(path: str | Path) -> ModuleType:
    """The module in a file, imported once per content of the file; SBML becomes Python."""
    resolved = Path(path).resolve()
    if resolved.suffix in SBML:
        # By name, because the language lies above.
        module: ModuleType = importlib.import_module("galenic.modeling.sbml").load_module(resolved)
        return module
    try:
        source = resolved.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r}: {error.strerror}") from error
    digest = sha256(str(resolved).encode() + source).hexdigest()[:12]
    name = f"galenic_file_{resolved.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, resolved)
    if spec is None or spec.loader is None:
        raise DataError(f"{str(path)!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@cache
def _index() -> dict[str, ModelEntry]:
    if not INDEX.is_file():
        return {}
    rows = tomllib.loads(INDEX.read_text(encoding="utf-8")).get("models", {})
    return {name: ModelEntry(name, row["title"], row["at"]) for name, row in rows.items()}


def _name_of(cls: type) -> str:
    """``StirredTank`` as ``stirred-tank``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", cls.__name__).lower()
