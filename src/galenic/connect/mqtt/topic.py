"""Topic names of Sparkplug B 3.0 (chapter 4)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from galenic.errors import DataError

NAMESPACE = "spBv1.0"
STATE = "STATE"
NODE_KINDS = ("NBIRTH", "NDEATH", "NDATA", "NCMD")
DEVICE_KINDS = ("DBIRTH", "DDEATH", "DDATA", "DCMD")


@dataclass(frozen=True)
class Topic:
    """Where a message of a node, or of one of its devices, is published."""

    group: str
    kind: str
    node: str
    device: str = ""

    def __str__(self) -> str:
        parts = [NAMESPACE, self.group, self.kind, self.node]
        return "/".join(parts + ([self.device] if self.device else []))

    @property
    def source(self) -> str:
        """``group/node`` of the node."""
        return f"{self.group}/{self.node}"

    @classmethod
    def parse(cls, text: str) -> Topic | None:
        """The topic, or None where it is none of a node or device."""
        parts = text.split("/")
        if len(parts) not in (4, 5) or parts[0] != NAMESPACE or not all(parts):
            return None
        _, group, kind, node, *device = parts
        if kind not in (DEVICE_KINDS if device else NODE_KINDS):
            return None
        return cls(group, kind, node, *device)


def check_id(text: str, what: str) -> str:
    """``text`` if it may be a part of a topic."""
    if not text or any(sign in text for sign in "+/#\0"):
        raise DataError(f"{text!r} cannot be a {what}", expected="a name without + / #")
    return text


def state_topic(host: str) -> str:
    """Where a host application tells whether it is online."""
    return f"{NAMESPACE}/{STATE}/{host}"


def state_payload(online: bool, timestamp: int) -> bytes:
    """The message of a host application; ``timestamp`` in ms since 1970."""
    return json.dumps({"online": online, "timestamp": timestamp}).encode()


def parse_state(data: bytes) -> tuple[bool, int] | None:
    """Whether the host is online and since when [ms]; None where it is not such a message."""
    try:
        state = json.loads(data)
        online, timestamp = state["online"], state["timestamp"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(online, bool) or not isinstance(timestamp, int):
        return None
    return online, timestamp
