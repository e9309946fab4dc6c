"""Values as data and back: how a twin's definition is recorded without running anything.

What comes back is what was there, bit for bit: order of names, tuples and lists, infinities and
arrays. Only the classes that are named here are read back. Code is never stored: a function or
class is recorded as a ``Reference``, the place where it is found.
"""

from __future__ import annotations

import importlib
import inspect
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from galenic.errors import DataError
from galenic.plugins import load_file
from galenic.units import Quantity

FILE_MODULE = "galenic_file_"
PORTABLE = {
    "AlarmRule": "galenic.twin.alarm.rule",
    "AlarmRules": "galenic.twin.alarm.rule",
    "Augmented": "galenic.inference.augment",
    "Binding": "galenic.twin.binding",
    "Control": "galenic.twin.definition",
    "Estimation": "galenic.twin.definition",
    "FoldRules": "galenic.twin.fold",
    "GenealogyRules": "galenic.twin.genealogy",
    "Guard": "galenic.twin.guard",
    "HealthRules": "galenic.twin.health",
    "Heartbeat": "galenic.twin.guard",
    "Individual": "galenic.inference.map",
    "Interlock": "galenic.twin.interlock",
    "Level": "galenic.twin.level",
    "Noise": "galenic.inference.estimator",
    "Remote": "galenic.twin.guard",
    "Residence": "galenic.twin.genealogy",
    "Residual": "galenic.inference.map",
    "Rule": "galenic.twin.guard",
}
"""The classes that may be recorded as data, and where each is; imported when it is met."""


@dataclass(frozen=True)
class Reference:
    """A function or class by the place where it is found; calling it calls what is found there.

    Parameters
    ----------
    at : str
        ``package.module:name``, or ``file.py:name``.
    folder : Path, optional
        Where the file is; no part of what the reference says.
    """

    at: str
    folder: Path | None = field(default=None, compare=False)

    @property
    def place(self) -> str:
        """The module or file."""
        return self.at.rpartition(":")[0]

    @property
    def name(self) -> str:
        """The name in that place."""
        return self.at.rpartition(":")[2]

    @property
    def path(self) -> Path | None:
        """The file, where the reference is to a file."""
        return (self.folder or Path()) / self.place if self.place.endswith(".py") else None

    def load(self) -> Callable[..., Any]:
        """What is found there now."""
        found: Any = self._module()
        for part in self.name.split("."):
            if not hasattr(found, part):
                raise DataError(f"there is no {self.name!r} in {self.place}", where=self.at)
            found = getattr(found, part)
        if not callable(found):
            raise DataError(
                f"{self.at} is a {type(found).__name__}", expected="a function or class"
            )
        return found  # type: ignore[no-any-return]

    def _module(self) -> Any:
        if self.path is not None and not self.path.is_file():
            raise DataError(f"there is no file {self.path}", where=self.at)
        try:
            return load_file(self.path) if self.path else importlib.import_module(self.place)
        except Exception as error:  # whatever the code of a stranger does when it is imported
            words = f"{type(error).__name__}: {error}"
            raise DataError(f"{self.place!r} cannot be loaded: {words}", where=self.at) from error

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.load()(*args, **options)


def name_of(code: Any) -> str:
    """How a function or class is called in a record; it need not be possible to find it again."""
    if isinstance(code, Reference):
        return code.at
    module = str(getattr(code, "__module__", ""))
    path = _file_of(code) if module.startswith(FILE_MODULE) else None
    name = getattr(code, "__qualname__", None) or type(code).__qualname__
    return f"{path.name if path else module}:{name}"


def reference_to(code: Any) -> Reference:
    """The reference by which another process, or a later one, finds a function or class."""
    if isinstance(code, Reference):
        return code
    at = name_of(code)
    hint = "define it by name in a module or file of its own; settings belong into an Estimation"
    if "<" in at or not hasattr(code, "__qualname__"):
        raise DataError(f"{at} cannot be found by name", hint=hint)
    if at.startswith("__main__:"):
        raise DataError(f"{at} is in the script that runs", hint=hint)
    path = _file_of(code) if at.partition(":")[0].endswith(".py") else None
    made = Reference(at, path.parent if path else None)
    if made.load() != code:
        raise DataError(f"{at} is another one now", hint="start again with the changed source")
    return made


def _file_of(code: Any) -> Path | None:
    """The file in which a function or class was defined."""
    module = sys.modules.get(code.__module__)
    named = getattr(module, "__file__", None)
    if named is None and inspect.isfunction(code):
        named = code.__code__.co_filename
    return Path(named) if named else None


def references(value: Any, name: str) -> dict[str, Reference]:
    """All references in a value, by where they are in it; ``name`` is that of the value."""
    if isinstance(value, Reference):
        return {name: value}
    if isinstance(value, Mapping):
        parts = {str(key): item for key, item in value.items()}
    elif isinstance(value, list | tuple):
        parts = {str(i): item for i, item in enumerate(value)}
    elif _is_portable(value):
        parts = {f.name: getattr(value, f.name) for f in fields(value)}
    else:
        return {name: reference_to(value)} if callable(value) else {}
    found: dict[str, Reference] = {}
    for key, item in parts.items():
        found |= references(item, f"{name}.{key}")
    return found


def to_data(value: Any, where: str) -> Any:
    """A value as JSON values; ``where`` is named by the error for what is not data."""
    if isinstance(value, Enum) and _is_portable(value):
        return {"$enum": [type(value).__name__, value.name]}
    if isinstance(value, np.generic):
        return to_data(value.item(), where)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, Quantity):
        return {"$quantity": [to_data(value.value, where), value.unit.text]}
    if isinstance(value, tuple):
        return [to_data(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, list):
        return {"$list": to_data(tuple(value), where)}
    if isinstance(value, Mapping):
        return {"$map": [[str(k), to_data(v, f"{where}.{k}")] for k, v in value.items()]}
    if isinstance(value, np.ndarray) and value.dtype.kind in "bif":
        flat = to_data(tuple(value.ravel().tolist()), where)
        return {"$array": [value.dtype.str, list(value.shape), flat]}
    if _is_portable(value):
        own = {f.name: to_data(getattr(value, f.name), f"{where}.{f.name}") for f in fields(value)}
        return {"$is": type(value).__name__, **own}
    if callable(value):
        return {"$code": name_of(value)}
    raise DataError(
        f"a {type(value).__name__} cannot be recorded as data",
        where=where,
        expected="numbers, texts, tuples, mappings, arrays, or what a definition is made of",
    )


def _is_portable(value: Any) -> bool:
    return PORTABLE.get(type(value).__name__) == type(value).__module__


def from_data(data: Any, find: Callable[[str], Reference] = Reference) -> Any:
    """The value that ``to_data`` wrote; ``find`` makes the references to code."""
    if isinstance(data, list):
        return tuple(from_data(item, find) for item in data)
    if not isinstance(data, dict):
        return data
    if "$is" in data:
        return _instance(data, find)
    (mark, body), *_ = data.items()
    if mark == "$float":
        return float(body)
    if mark == "$list":
        return list(from_data(body, find))
    if mark == "$map":
        return {key: from_data(item, find) for key, item in body}
    if mark == "$array":
        kind, shape, flat = body
        return np.array(from_data(flat, find), kind).reshape(shape)
    if mark == "$enum":
        return getattr(_class(body[0]), body[1])
    if mark == "$quantity":
        return Quantity(from_data(body[0], find), body[1])
    if mark == "$code":
        return find(body)
    raise DataError(f"{mark} is not a mark of recorded data", where="a recorded definition")


def _instance(data: Mapping[str, Any], find: Callable[[str], Reference]) -> Any:
    cls = _class(data["$is"])
    own = {key: from_data(item, find) for key, item in data.items() if key != "$is"}
    unknown = sorted(own.keys() - {f.name for f in fields(cls)})
    if unknown:
        raise DataError(
            f"a {cls.__name__} with {', '.join(unknown)}",
            where="a recorded definition",
            hint="it was recorded by a later release of galenic; read it with that one",
        )
    return cls(**own)


def _class(name: str) -> type[Any]:
    if name not in PORTABLE:
        raise DataError(
            f"a recorded definition names the unknown class {name!r}",
            hint="it was recorded by a later release of galenic, or by a package that is not here",
        )
    found: type[Any] = getattr(importlib.import_module(PORTABLE[name]), name)
    return found
