"""What the parts of the driver share: the shape of a model, fields of the job, loops over lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from galenic.engine.native.job import FIELD
from galenic.engine.native.scribe import Scribe

FULL = "ptr %ws, ptr %job"


@dataclass(frozen=True)
class Shape:
    """What the driver must know of a model.

    ``parts`` gives the calls that run a program; ``resets`` is the number of event rules,
    ``triggers`` are the numbers of those that state events fire.
    """

    n: int
    n_theta: int
    n_outputs: int
    resets: int
    terminal: frozenset[int]
    parts: Callable[[str], tuple[str, ...]]
    nz: int = 0
    triggers: tuple[int, ...] = ()
    exact: bool = False


class Driver(Scribe):
    """A scribe that knows the fields of a job."""

    def number(self, name: str, kind: str = "i64") -> str:
        """A field of the job."""
        place = self.get(f"getelementptr i64, ptr %job, i64 {FIELD[name]}")
        return self.get(f"load {kind}, ptr {place}, align 8")

    def pointer(self, name: str) -> str:
        """A field of the job that is a pointer."""
        return self.number(name, "ptr")

    def given(self, pointer: str) -> str:
        """Whether a pointer is not null."""
        return self.get(f"icmp ne ptr {pointer}, null")

    def call_all(self, calls: tuple[str, ...]) -> None:
        """Run a program."""
        for call in calls:
            self.do(call)

    @contextmanager
    def lanes_of(self, packed: str) -> Iterator[str]:
        """For each lane whose bit is set in an integer of as many bits as there are lanes."""
        kind = f"i{self.lanes}"
        head, body, after = self.label("lanes"), self.label("lane"), self.label("rest")
        before, left, following = self._block, f"%m{self._count}", f"%n{self._count}"
        self.jump(head)
        self.begin(head)
        place = len(self.lines)
        self.lines.append("")
        self.branch(self.get(f"icmp ne {kind} {left}, 0"), body, after)
        self.begin(body)
        lane = self.get(f"call {kind} @llvm.cttz.{kind}({kind} {left}, i1 true)")
        yield self.get(f"zext {kind} {lane} to i64")
        lower = self.get(f"sub {kind} {left}, 1")
        self.do(f"{following} = and {kind} {left}, {lower}")
        self.lines[place] = (
            f" {left} = phi {kind} [ {packed}, %{before} ], [ {following}, %{self._block} ]"
        )
        self.jump(head)
        self.begin(after)

    def packed(self, mask: str) -> str:
        """A mask as bits."""
        return self.get(f"bitcast {self.M} {mask} to i{self.lanes}")

    def is_set(self, array: str) -> str:
        """The lanes in which an integer of the workspace is not 0, as bits."""
        value = self.load(array, kind=self.I)
        return self.packed(self.get(f"icmp ne {self.I} {value}, zeroinitializer"))

    def trues(self) -> str:
        """The mask that holds everywhere."""
        return "<" + ", ".join(["i1 true"] * self.lanes) + ">"


def next_output(s: Driver, shape: Shape, lane: str, row: str) -> None:
    """Go on to the next output time and row of a lane."""
    following = s.get(f"getelementptr double, ptr {row}, i64 {shape.n_outputs}")
    s.lane_store("OP", lane, following, kind="ptr")
    times = s.get(f"getelementptr double, ptr {s.lane_load('TP', lane, kind='ptr')}, i64 1")
    s.lane_store("TP", lane, times, kind="ptr")
    s.lane_store("NO", lane, s.item(times, 0))
