"""Identity by content: canonical bytes, SHA-256 hashes, counter-based randomness."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np


def canonical_json(value: Any) -> bytes:
    """One byte string per value: sorted keys, no spaces, UTF-8, shortest floats.

    NaN and infinities are refused, because JSON has no name for them.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def content_hash(value: Any) -> str:
    """SHA-256 of bytes, or of the canonical JSON of anything else, as 64 hex digits."""
    data = value if isinstance(value, bytes) else canonical_json(value)
    return hashlib.sha256(data).hexdigest()


def generator(*keys: Any) -> np.random.Generator:
    """A counter-based generator that depends on ``keys`` alone.

    The same keys give the same numbers on every machine, in any order of use: this is what
    lets a rewound belief draw the same random numbers again.
    """
    digest = hashlib.sha256(canonical_json([str(key) for key in keys])).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))
