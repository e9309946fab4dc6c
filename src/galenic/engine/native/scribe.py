"""LLVM IR written as text: vectors of one double per individual, structured control flow."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


def bits(number: float) -> str:
    """A double as LLVM reads it without rounding: 16 hex digits of its bit pattern."""
    return f"0x{struct.unpack('<Q', struct.pack('<d', float(number)))[0]:016X}"


@dataclass
class Layout:
    """Where arrays of vectors lie in the workspace, in vectors from its begin."""

    lanes: int
    offsets: dict[str, int] = field(default_factory=dict)
    size: int = 0

    def add(self, array: str, length: int) -> None:
        """Reserve an array."""
        self.offsets[array] = self.size
        self.size += length


class Scribe:
    """Writes the body of one function.

    ``V``, ``I``, ``M`` are the types of a vector of doubles, of 64-bit integers and of truths.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.lanes = layout.lanes
        self.V = f"<{self.lanes} x double>"
        self.I = f"<{self.lanes} x i64>"
        self.M = f"<{self.lanes} x i1>"
        self.align = 8 * self.lanes
        self.lines: list[str] = []
        self._count = 0
        self._block = "entry"

    def function(self, name: str, arguments: str, attributes: str = "internal") -> str:
        """The text of the function; a missing end is ``ret void``."""
        noinline = "noinline " if attributes == "internal" else ""
        head = f"define {attributes} void @{name}({arguments}) {noinline}nounwind {{\nentry:\n"
        return head + "\n".join(self.lines) + "\n ret void\n}\n"

    def do(self, text: str) -> None:
        """A line without a value."""
        self.lines.append(" " + text)

    def get(self, text: str) -> str:
        """A line with a value; gives its name."""
        self._count += 1
        name = f"%v{self._count}"
        self.lines.append(f" {name} = {text}")
        return name

    def const(self, number: float) -> str:
        """A vector of one number."""
        return "<" + ", ".join([f"double {bits(number)}"] * self.lanes) + ">"

    def whole(self, number: int) -> str:
        """A vector of one integer."""
        return "<" + ", ".join([f"i64 {number}"] * self.lanes) + ">"

    def binary(self, name: str, a: str, b: str) -> str:
        """fadd, fsub, fmul, fdiv on vectors."""
        return self.get(f"{name} {self.V} {a}, {b}")

    def call(self, name: str, *arguments: str) -> str:
        """A vector function of vectors; ``name`` without the type suffix for intrinsics."""
        given = ", ".join(f"{self.V} {a}" for a in arguments)
        symbol = f"@{name}.v{self.lanes}f64" if name.startswith("llvm.") else f"@{name}"
        return self.get(f"call {self.V} {symbol}({given})")

    def compare(self, predicate: str, a: str, b: str) -> str:
        """Compare vectors with fcmp."""
        return self.get(f"fcmp {predicate} {self.V} {a}, {b}")

    def pick(self, mask: str, yes: str, no: str, kind: str | None = None) -> str:
        """Select between vectors of doubles, or of ``kind``."""
        return self.get(f"select {self.M} {mask}, {kind or self.V} {yes}, {kind or self.V} {no}")

    def both(self, a: str, b: str) -> str:
        """And of two masks."""
        return self.get(f"and {self.M} {a}, {b}")

    def any(self, mask: str) -> str:
        """Whether a mask holds in any lane."""
        packed = self.get(f"bitcast {self.M} {mask} to i{self.lanes}")
        return self.get(f"icmp ne i{self.lanes} {packed}, 0")

    def splat(self, scalar: str) -> str:
        """A vector of a scalar double."""
        one = self.get(f"insertelement {self.V} poison, double {scalar}, i64 0")
        zeros = f"<{self.lanes} x i32> zeroinitializer"
        return self.get(f"shufflevector {self.V} {one}, {self.V} poison, {zeros}")

    def splat_whole(self, scalar: str) -> str:
        """A vector of a 64-bit integer."""
        one = self.get(f"insertelement {self.I} poison, i64 {scalar}, i64 0")
        zeros = f"<{self.lanes} x i32> zeroinitializer"
        return self.get(f"shufflevector {self.I} {one}, {self.I} poison, {zeros}")

    def address(self, array: str, index: int | str = 0, base: str = "%ws") -> str:
        """The address of a vector of an array; ``index`` may be a value."""
        offset = self.layout.offsets[array]
        if isinstance(index, int):
            return self.get(f"getelementptr {self.V}, ptr {base}, i64 {offset + index}")
        begin = self.get(f"getelementptr {self.V}, ptr {base}, i64 {offset}")
        return self.get(f"getelementptr {self.V}, ptr {begin}, i64 {index}")

    def load(self, array: str, index: int | str = 0, kind: str | None = None) -> str:
        """A vector of an array."""
        place = self.address(array, index)
        return self.get(f"load {kind or self.V}, ptr {place}, align {self.align}")

    def blend(self, array: str, mask: str, value: str, index: int | str = 0) -> None:
        """Write a vector of an array in the lanes of a mask.

        The old vector is read as volatile, so that all lanes are written: a masked store would
        hold up the next load of the vector.
        """
        place = self.address(array, index)
        old = self.get(f"load volatile {self.V}, ptr {place}, align {self.align}")
        self.do(f"store {self.V} {self.pick(mask, value, old)}, ptr {place}, align {self.align}")

    def store(self, array: str, value: str, index: int | str = 0, kind: str | None = None) -> None:
        """Write a vector of an array."""
        place = self.address(array, index)
        self.do(f"store {kind or self.V} {value}, ptr {place}, align {self.align}")

    def lane_address(self, array: str, lane: int | str, index: int | str = 0) -> str:
        """The address of one lane of a vector of an array."""
        place = self.address(array, index)
        return self.get(f"getelementptr i64, ptr {place}, i64 {lane}")

    def lane_load(
        self, array: str, lane: int | str, index: int | str = 0, kind: str = "double"
    ) -> str:
        """One lane of a vector of an array."""
        place = self.lane_address(array, lane, index)
        return self.get(f"load {kind}, ptr {place}, align 8")

    def lane_store(
        self,
        array: str,
        lane: int | str,
        value: str,
        index: int | str = 0,
        kind: str = "double",
    ) -> None:
        """Write one lane of a vector of an array."""
        place = self.lane_address(array, lane, index)
        self.do(f"store {kind} {value}, ptr {place}, align 8")

    def item(self, pointer: str, index: str | int, kind: str = "double") -> str:
        """An element of memory outside the workspace."""
        place = self.get(f"getelementptr {kind}, ptr {pointer}, i64 {index}")
        size = 4 if kind == "i32" else 8
        return self.get(f"load {kind}, ptr {place}, align {size}")

    def put(self, pointer: str, index: str | int, value: str, kind: str = "double") -> None:
        """Write an element of memory outside the workspace."""
        place = self.get(f"getelementptr {kind}, ptr {pointer}, i64 {index}")
        self.do(f"store {kind} {value}, ptr {place}, align {4 if kind == 'i32' else 8}")

    def label(self, text: str) -> str:
        """A new label."""
        self._count += 1
        return f"{text}{self._count}"

    def begin(self, label: str) -> None:
        """Start a block."""
        self.lines.append(f"{label}:")
        self._block = label

    def jump(self, label: str) -> None:
        """Go to a block."""
        self.do(f"br label %{label}")

    def branch(self, condition: str, yes: str, no: str) -> None:
        """Go to one of two blocks."""
        self.do(f"br i1 {condition}, label %{yes}, label %{no}")

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """What follows happens only where a scalar condition holds."""
        inside, after = self.label("then"), self.label("after")
        self.branch(condition, inside, after)
        self.begin(inside)
        yield
        self.jump(after)
        self.begin(after)

    @contextmanager
    def loop(self, count: int | str) -> Iterator[str]:
        """Repeat for an index from 0 to below ``count``."""
        head, body, after = self.label("head"), self.label("body"), self.label("done")
        before, index = self._block, f"%i{self._count}"
        self.jump(head)
        self.begin(head)
        place = len(self.lines)
        self.lines.append("")
        self.branch(self.get(f"icmp ult i64 {index}, {count}"), body, after)
        self.begin(body)
        yield index
        following = self.get(f"add i64 {index}, 1")
        self.lines[place] = f" {index} = phi i64 [ 0, %{before} ], [ {following}, %{self._block} ]"
        self.jump(head)
        self.begin(after)

    @contextmanager
    def summed(self, count: int, sums: int) -> Iterator[tuple[str, list[str]]]:
        """A loop that carries vectors from zero: gives index and a list of the sums so far.

        The body puts the new sums into the list; after the loop it holds the final ones.
        """
        head, body, after = self.label("head"), self.label("body"), self.label("done")
        before, index = self._block, f"%i{self._count}"
        names = [f"%s{k}_{self._count}" for k in range(sums)]
        carried = list(names)
        self.jump(head)
        self.begin(head)
        place = len(self.lines)
        self.lines += [""] * (1 + sums)
        self.branch(self.get(f"icmp ult i64 {index}, {count}"), body, after)
        self.begin(body)
        yield index, carried
        following = self.get(f"add i64 {index}, 1")
        end = self._block
        self.lines[place : place + 1 + sums] = [
            f" {index} = phi i64 [ 0, %{before} ], [ {following}, %{end} ]",
            *(
                f" {name} = phi {self.V} [ zeroinitializer, %{before} ], [ {new}, %{end} ]"
                for name, new in zip(names, carried, strict=True)
            ),
        ]
        carried[:] = names
        self.jump(head)
        self.begin(after)

    @contextmanager
    def forever(self) -> Iterator[tuple[str, str]]:
        """Repeat; gives the labels (again, out) to jump to. The end of the body goes to again."""
        again, out = self.label("again"), self.label("out")
        self.jump(again)
        self.begin(again)
        yield again, out
        self.jump(again)
        self.begin(out)
