"""OPC UA: a client that stays connected, and a server of a tag table."""

from __future__ import annotations

import logging

# The stack logs each expected disconnection with a traceback; what matters of it is in our own
# errors and in ConnectorStatus. Set a level on this logger before the import to see its words.
_stack = logging.getLogger("asyncua")
if _stack.level == logging.NOTSET:
    _stack.setLevel(logging.CRITICAL + 1)
