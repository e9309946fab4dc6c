"""Modbus TCP: registers that are polled, as tags."""

from __future__ import annotations

import logging

# The stack logs each expected time-out; what matters of it is in our own errors and status.
_stack = logging.getLogger("pymodbus.logging")
if _stack.level == logging.NOTSET:
    _stack.setLevel(logging.CRITICAL + 1)
