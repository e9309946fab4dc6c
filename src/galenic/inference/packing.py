"""Values as bytes and back, bit for bit: what beliefs and their evidence are stored as.

A pack is a line of JSON (structure, texts, numbers) followed by the raw little-endian arrays. Only
classes that were registered here are read back, so a pack can name data but never run code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np

from galenic.errors import DataError
from galenic.signals import Action

MAGIC = b"galenic-belief-1\n"
REGISTERED: dict[str, type] = {}
T = TypeVar("T")


def packable(cls: type[T]) -> type[T]:
    """Class decorator: instances of this dataclass may be packed."""
    REGISTERED[cls.__name__] = cls
    return cls


packable(Action)


def pack(value: Any) -> bytes:
    """Bytes of nested dicts, tuples, arrays, numbers, texts and packable dataclasses."""
    blobs: list[bytes] = []
    tree = _describe(value, blobs)
    head = json.dumps(tree, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    return b"".join([MAGIC, len(head).to_bytes(8, "little"), head, *blobs])


def unpack(data: bytes) -> Any:
    """The value that ``pack`` wrote; lists come back as tuples."""
    if not data.startswith(MAGIC):
        raise DataError(
            f"these {len(data)} bytes are not a packed belief", expected=f"a start of {MAGIC!r}"
        )
    start = len(MAGIC) + 8
    length = int.from_bytes(data[len(MAGIC) : start], "little")
    return _restore(json.loads(data[start : start + length]), data, start + length)


def _describe(value: Any, blobs: list[bytes]) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else {"$f": repr(float(value))}
    if isinstance(value, np.ndarray):
        offset = sum(map(len, blobs))
        little = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
        blobs.append(little.tobytes())
        return {"$a": [little.dtype.str, list(value.shape), offset]}
    if isinstance(value, tuple | list):
        return [_describe(item, blobs) for item in value]
    if isinstance(value, Mapping):
        return {"$m": [[str(key), _describe(item, blobs)] for key, item in value.items()]}
    if is_dataclass(value) and type(value).__name__ in REGISTERED:
        named = {f.name: _describe(getattr(value, f.name), blobs) for f in fields(value) if f.init}
        return {"$d": [type(value).__name__, named]}
    raise DataError(f"a {type(value).__name__} cannot be packed into a belief")


def _restore(tree: Any, data: bytes, base: int) -> Any:
    if isinstance(tree, list):
        return tuple(_restore(item, data, base) for item in tree)
    if not isinstance(tree, dict):
        return tree
    (mark, body), *_ = tree.items()
    if mark == "$f":
        return float(body)
    if mark == "$a":
        kind, shape, offset = body
        count = math.prod(shape)
        return np.frombuffer(data, kind, count, base + offset).reshape(shape).copy()
    if mark == "$m":
        return {key: _restore(item, data, base) for key, item in body}
    name, named = body
    if name not in REGISTERED:
        raise DataError(f"a packed belief names the unknown class {name!r}")
    cls = REGISTERED[name]
    return cls(**{key: _restore(item, data, base) for key, item in named.items()})
