"""The states of one alarm, and what leads from one to another (ISA-18.2, IEC 62682).

An alarm is normal, unacknowledged, acknowledged, returned to normal but unacknowledged, latched
unacknowledged or latched acknowledged. Three things suppress it: an operator shelves it for a
limited time, logic suppresses it by design, an authorised person takes it out of service. A
suppressed alarm is still evaluated. When the last suppression ends it is unacknowledged if its
condition holds then, and where it was latched before it still is.

All functions take a state and return the next one; they raise NotPermitted where the diagram has
no such transition.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from galenic.errors import NotPermitted
from galenic.inference.packing import packable

NORMAL = "normal"
UNACKNOWLEDGED = "unacknowledged"
ACKNOWLEDGED = "acknowledged"
RETURNED = "returned, unacknowledged"
LATCHED_UNACKNOWLEDGED = "latched, unacknowledged"
LATCHED_ACKNOWLEDGED = "latched, acknowledged"
SHELVED = "shelved"
SUPPRESSED = "suppressed by design"
OUT_OF_SERVICE = "out of service"

STATES = (
    NORMAL, UNACKNOWLEDGED, ACKNOWLEDGED, RETURNED, LATCHED_UNACKNOWLEDGED, LATCHED_ACKNOWLEDGED,
    SHELVED, SUPPRESSED, OUT_OF_SERVICE,
)  # fmt: skip
TO_ACKNOWLEDGE = (UNACKNOWLEDGED, RETURNED, LATCHED_UNACKNOWLEDGED)


@packable
@dataclass(frozen=True)
class AlarmState:
    """Where one alarm stands.

    Parameters
    ----------
    active : bool
        Whether its condition holds, after deadband and delays.
    acknowledged, latched : bool
    since : int [ns]
        When its condition last changed.
    who : str
        Who acknowledged.
    shelved_until : int [ns]
        0 when it is not shelved.
    shelved_by, shelved_why, out_by, out_why : str
        Who suppressed it and why; ``out_by`` is empty when it is in service.
    designed : bool
        Whether logic suppresses it now.
    """

    active: bool = False
    acknowledged: bool = True
    latched: bool = False
    since: int = 0
    who: str = ""
    shelved_until: int = 0
    shelved_by: str = ""
    shelved_why: str = ""
    designed: bool = False
    out_by: str = ""
    out_why: str = ""

    @property
    def suppressed(self) -> bool:
        """Whether anything keeps it from being annunciated."""
        return bool(self.shelved_until or self.designed or self.out_by)

    @property
    def word(self) -> str:
        """Its state, one of ``STATES``; of several suppressions the most lasting one."""
        if self.out_by:
            return OUT_OF_SERVICE
        if self.shelved_until:
            return SHELVED
        if self.designed:
            return SUPPRESSED
        if self.active:
            return ACKNOWLEDGED if self.acknowledged else UNACKNOWLEDGED
        if self.latched:
            return LATCHED_ACKNOWLEDGED if self.acknowledged else LATCHED_UNACKNOWLEDGED
        return NORMAL if self.acknowledged else RETURNED


def occurred(state: AlarmState, time: int, latching: bool = False) -> AlarmState:
    """The condition begins to hold."""
    if state.active:
        return state
    state = replace(state, active=True, since=time)
    return state if state.suppressed else _annunciated(state, latching)


def _annunciated(state: AlarmState, latching: bool) -> AlarmState:
    return replace(state, acknowledged=False, who="", latched=state.latched or latching)


def ended(state: AlarmState, time: int) -> AlarmState:
    """The condition is over."""
    return replace(state, active=False, since=time) if state.active else state


def acknowledged(state: AlarmState, who: str) -> AlarmState:
    """A person has seen it."""
    if state.word not in TO_ACKNOWLEDGE:
        raise NotPermitted(
            f"an alarm that is {state.word} has nothing to acknowledge",
            expected=" or ".join(TO_ACKNOWLEDGE),
        )
    return replace(state, acknowledged=True, who=who)


def reset(state: AlarmState) -> AlarmState:
    """A person releases a latched alarm that is over and has been seen."""
    if state.word != LATCHED_ACKNOWLEDGED:
        hint = "acknowledge it first" if state.word == LATCHED_UNACKNOWLEDGED else ""
        raise NotPermitted(
            f"an alarm that is {state.word} cannot be reset",
            expected=LATCHED_ACKNOWLEDGED,
            hint=hint,
        )
    return replace(state, latched=False)


def shelved(state: AlarmState, until: int, who: str, why: str) -> AlarmState:
    """An operator puts it aside until a time; again: until another time."""
    if state.out_by:
        raise NotPermitted(f"an alarm that is {state.word} cannot be shelved")
    return replace(state, shelved_until=until, shelved_by=who, shelved_why=why)


def unshelved(state: AlarmState, latching: bool = False) -> AlarmState:
    """Its shelving is over, by time or by a person."""
    if not state.shelved_until:
        raise NotPermitted(f"an alarm that is {state.word} is not shelved", expected=SHELVED)
    return _released(replace(state, shelved_until=0, shelved_by="", shelved_why=""), latching)


def taken_out(state: AlarmState, who: str, why: str) -> AlarmState:
    """An authorised person takes it out of service; that ends a shelving."""
    if state.out_by:
        raise NotPermitted(f"an alarm that is {state.word} is that already")
    return replace(state, out_by=who, out_why=why, shelved_until=0, shelved_by="", shelved_why="")


def put_back(state: AlarmState, latching: bool = False) -> AlarmState:
    """An authorised person returns it to service."""
    if not state.out_by:
        raise NotPermitted(f"an alarm that is {state.word} is in service", expected=OUT_OF_SERVICE)
    return _released(replace(state, out_by="", out_why=""), latching)


def by_design(state: AlarmState, holds: bool, latching: bool = False) -> AlarmState:
    """Logic says whether it is suppressed."""
    if holds == state.designed:
        return state
    changed = replace(state, designed=holds)
    return changed if holds else _released(changed, latching)


def _released(state: AlarmState, latching: bool) -> AlarmState:
    """After a suppression has ended; annunciated if it was the last and the condition holds."""
    if state.suppressed:
        return state
    if state.active:
        return _annunciated(state, latching)
    return state if state.latched else replace(state, acknowledged=True)
