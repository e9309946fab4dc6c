"""The states of an alarm against the state diagram of ISA-18.2 and IEC 62682, written as a table.

The table is from general knowledge of the standards' diagram, by the letters that it uses:
A normal, B unacknowledged, C acknowledged, D returned to normal unacknowledged, E latched
unacknowledged, F latched acknowledged, G shelved, H suppressed by design, I out of service. What is
suppressed remembers its condition and an earlier latch; it returns to B when the condition holds,
else to where its latch stood, else to A.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from galenic.errors import NotPermitted
from galenic.twin.alarm import state as states
from galenic.twin.alarm.state import AlarmState

LETTERS = dict(zip("ABCDEFGHI", states.STATES, strict=True))
PLAIN = {
    ("A", "occur"): "B", ("B", "ack"): "C", ("B", "end"): "D", ("C", "end"): "A",
    ("D", "ack"): "A", ("D", "occur"): "B",
}  # fmt: skip
LATCHING = {
    ("A", "occur"): "B", ("B", "ack"): "C", ("B", "end"): "E", ("C", "end"): "F",
    ("E", "ack"): "F", ("E", "occur"): "B", ("F", "occur"): "B", ("F", "reset"): "A",
}  # fmt: skip
SUPPRESS = {"shelve": "G", "design": "H", "out": "I"}
RELEASE = {"unshelve": "G", "undesign": "H", "in": "I"}
DONE = {"occur", "end", "design", "undesign"}  # happen by themselves; without an edge, nothing


class Diagram:
    """One alarm as the standard draws it."""

    def __init__(self, latching: bool) -> None:
        self.edges = LATCHING if latching else PLAIN
        self.letter = "A"
        self.condition = False
        self.over: set[str] = set()  # the suppressions that are in force

    @property
    def shown(self) -> str:
        return max(self.over, key="HGI".index) if self.over else self.letter

    def take(self, event: str) -> bool:
        """Whether the diagram has such a transition now; takes it."""
        if event in SUPPRESS:
            if "I" in self.over and event != "design":
                return False
            self.over.add(SUPPRESS[event])
            if event == "out":
                self.over.discard("G")
            return True
        if event in RELEASE:
            if RELEASE[event] not in self.over:
                return event == "undesign"
            self.over.discard(RELEASE[event])
            if not self.over:
                latched = self.letter if self.letter in "EF" else "A"
                if self.letter in "BC" and self.edges is LATCHING:  # it was latched when it came
                    latched = "E" if self.letter == "B" else "F"
                self.letter = "B" if self.condition else latched
            return True
        if event in ("occur", "end"):
            self.condition = event == "occur"
        if self.over:
            return event in DONE
        if (self.letter, event) not in self.edges:
            return event in DONE
        self.letter = self.edges[self.letter, event]
        return True


def ours(state: AlarmState, event: str, time: int, latching: bool) -> AlarmState:
    if event == "occur":
        return states.occurred(state, time, latching)
    if event == "end":
        return states.ended(state, time)
    if event == "ack":
        return states.acknowledged(state, "Ann")
    if event == "reset":
        return states.reset(state)
    if event == "shelve":
        return states.shelved(state, time + 100, "Ann", "noise")
    if event == "unshelve":
        return states.unshelved(state, latching)
    if event == "out":
        return states.taken_out(state, "Eve", "repair")
    if event == "in":
        return states.put_back(state, latching)
    return states.by_design(state, event == "design", latching)


EVENTS = ("occur", "end", "ack", "reset", *SUPPRESS, *RELEASE)


class Alarm(RuleBasedStateMachine):
    """Any events in any order: our states are where the diagram is, and refuse what it lacks."""

    @initialize(latching=st.booleans())
    def begin(self, latching: bool) -> None:
        self.latching, self.time = latching, 0
        self.diagram, self.state = Diagram(latching), AlarmState()

    @rule(event=st.sampled_from(EVENTS))
    def take(self, event: str) -> None:
        self.time += 1
        try:
            self.state = ours(self.state, event, self.time, self.latching)
            taken = True
        except NotPermitted:
            taken = False

        assert taken == self.diagram.take(event)

    @invariant()
    def agree(self) -> None:
        if hasattr(self, "diagram"):
            assert self.state.word == LETTERS[self.diagram.shown]
            assert self.state.active == self.diagram.condition


TestAlarm = Alarm.TestCase
TestAlarm.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
