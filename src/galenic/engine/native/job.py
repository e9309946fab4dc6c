"""The memory a kernel run shares with Python: one row of 64-bit fields, all pointers or numbers."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt


class Status(IntEnum):
    """How the run of one individual ended."""

    PENDING = 0
    OK = 1
    ENDED = 2
    STEP_TOO_SMALL = 3
    TOO_MANY_STEPS = 4
    NOT_FINITE = 5
    PIVOT = 6
    ALGEBRAIC = 7
    CHATTERING = 8
    CANCELLED = 9

    @staticmethod
    def good(status: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Where the run reached its end or was ended by the model."""
        return np.isin(status, (Status.OK, Status.ENDED))


class Kind(IntEnum):
    """What an event does with its ``index`` and ``value``."""

    ADD = 0
    SET = 1
    SCALE = 2
    THETA = 3
    RESET = 4
    RESTART = 5


FIELDS = (
    "counter",  # int64: next individual to take
    "last",  # number: one after the last individual
    "cancel",  # int64: not 0 to stop
    "theta",
    "start",
    "stop",
    "states",  # start states or null
    "times",  # output times, a nan after those of each individual
    "times_first",  # int64 per individual: its first output time
    "out",
    "out_first",  # int64 per individual: its first row of out
    "event_time",
    "event_what",  # int64 triples: kind, index, factor
    "event_value",
    "event_first",  # int64 per individual
    "event_last",
    "status",  # int32
    "accepted",  # int64
    "rejected",
    "doubtful",
    "reached",
    "final",  # or null
    "rtol",  # double
    "atol",  # doubles
    "max_steps",  # number
    "before",  # 1.0: outputs at events are those before
    "first_step",  # double: first step size per second of the run
)
FIELD = {name: i for i, name in enumerate(FIELDS)}
