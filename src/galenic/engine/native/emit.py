"""Programs of a graph as LLVM functions, cut into chunks that the compiler handles in linear time.

Values that one chunk makes and another reads travel through the SPILL array of the workspace.
"""

from __future__ import annotations

from dataclasses import dataclass

from galenic.engine.native.elementary import elementary
from galenic.engine.native.graph import COMPARISONS, Key, Program, Value, contracted, operands
from galenic.engine.native.scribe import Layout, Scribe

_ARITHMETIC = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_PREDICATES = {"lt": "olt", "le": "ole", "eq": "oeq", "ne": "une"}
_LOGIC = {"both": "and", "either": "or"}
# Arrays that lie at addresses which are arguments of a function, and their names there.
POINTED = {"K": "%k", "AT_START": "%start", "AT_STAGES": "%stages", "AT_FORCE": "%force",
           "AT_MOVED": "%moved", "AT_NEW": "%new", "AT_POINT": "%point"}  # fmt: skip


@dataclass(frozen=True)
class Emitted:
    """The text of the functions of a program, what to call in turn, and spilled vectors."""

    text: str
    calls: tuple[str, ...]
    spills: int
    operations: int


def emit(program: Program, layout: Layout, chunk: int) -> Emitted:
    """Functions ``name_0``, ``name_1``, ... of at most ``chunk`` operations.

    Each takes the workspace, and the addresses of the arrays of ``POINTED`` that the program
    touches, which the caller fills in. The SPILL array must be laid out, with at least ``spills``
    vectors, before the module is closed; it comes last in the layout.
    """
    order, keys = contracted(program)
    real = [value for value in order if keys[value][0] not in ("const", "load")]
    where = {value: k // chunk for k, value in enumerate(real)}
    slots, spills = _spill_slots(program, keys, real, where)
    stores: dict[int, list[tuple[str, int, Value]]] = {}
    for array, index, value in program.stores:
        stores.setdefault(where.get(value, 0), []).append((array, index, value))
    touched = {array for array, _, _ in program.stores}
    touched |= {str(keys[value][1]) for value in order if keys[value][0] == "load"}
    pointed = [name for array, name in POINTED.items() if array in touched]
    lane = [] if program.alone is None else ["i64 %lane"]
    arguments = ", ".join(["ptr noalias %ws", *(f"ptr noalias {name}" for name in pointed), *lane])
    passed = ", ".join(["ptr %ws", *(f"ptr {name}" for name in pointed), *lane])
    texts, calls = [], []
    for part in range(max(where.values(), default=0) + 1):
        writer = _Writer(layout, keys, slots, program.alone)
        writer.write([v for v in real if where[v] == part], where, part, stores.get(part, []))
        name = f"{program.name}_{part}"
        texts.append(writer.scribe.function(name, arguments))
        calls.append(f"call void @{name}({passed})")
    return Emitted("\n".join(texts), tuple(calls), spills, len(real))


def _spill_slots(
    program: Program, keys: dict[Value, Key], real: list[Value], where: dict[Value, int]
) -> tuple[dict[Value, int], int]:
    """A slot for each value that a later chunk reads; slots are used again when free."""
    last: dict[Value, int] = {}
    for value in real:
        for operand in _read(keys, value, where):
            if where[operand] < where[value]:
                last[operand] = where[value]
    slots: dict[Value, int] = {}
    free: list[int] = []
    ends: dict[int, list[int]] = {}
    count, now = 0, 0
    for value in real:
        while now < where[value]:
            free += ends.pop(now, [])
            now += 1
        if value in last:
            if not free:
                free.append(count)
                count += 1
            slots[value] = free.pop()
            ends.setdefault(last[value], []).append(slots[value])
    return slots, count


def _read(keys: dict[Value, Key], value: Value, where: dict[Value, int]) -> list[Value]:
    """The computed values that making ``value`` reads; masks of earlier chunks are made again."""
    found, stack = [], list(operands(keys[value]))
    while stack:
        operand = stack.pop()
        if operand not in where:
            continue
        if keys[operand][0] in COMPARISONS and where[operand] < where[value]:
            stack.extend(operands(keys[operand]))
        else:
            found.append(operand)
    return found


class _Writer:
    """Writes the values of one chunk."""

    def __init__(
        self,
        layout: Layout,
        keys: dict[Value, Key],
        slots: dict[Value, int],
        alone: frozenset[str] | None,
    ) -> None:
        self.scribe = Scribe(layout)
        self.keys, self.slots, self.alone = keys, slots, alone
        self.names: dict[Value, str] = {}

    def write(
        self,
        values: list[Value],
        where: dict[Value, int],
        part: int,
        stores: list[tuple[str, int, Value]],
    ) -> None:
        s = self.scribe
        wanted: dict[Value, list[tuple[str, int]]] = {}
        for array, index, value in stores:
            wanted.setdefault(value, []).append((array, index))
        self.where, self.part = where, part
        for value in values:
            self.names[value] = self._operation(value)
            if value in self.slots:
                s.store("SPILL", self.names[value], self.slots[value])
            for array, index in wanted.pop(value, []):
                self._put(array, index, self.names[value])
        for value, places in wanted.items():
            for array, index in places:
                self._put(array, index, self._name(value))

    def _put(self, array: str, index: int, name: str) -> None:
        s = self.scribe
        if array not in POINTED:
            s.store(array, name, index)
            return
        s.do(f"store {s.V} {name}, ptr {self._pointed(array, index)}, align {s.align}")

    def _pointed(self, array: str, index: int) -> str:
        s = self.scribe
        return s.get(f"getelementptr {s.V}, ptr {POINTED[array]}, i64 {index}")

    def _name(self, value: Value) -> str:
        """The name of an operand: made here, a constant, or loaded."""
        if value in self.names:
            return self.names[value]
        key = self.keys[value]
        if key[0] == "const":
            return self.scribe.const(float.fromhex(str(key[1])))
        if key[0] == "load" and key[1] in POINTED:
            place = self._pointed(str(key[1]), int(key[2]))
            name = self.scribe.get(f"load {self.scribe.V}, ptr {place}, align {self.scribe.align}")
        elif key[0] == "load" and self.alone is not None and key[1] not in self.alone:
            one = self.scribe.lane_load(str(key[1]), "%lane", int(key[2]))
            name = self.scribe.splat(one)
        elif key[0] == "load":
            name = self.scribe.load(str(key[1]), int(key[2]))
        elif key[0] in COMPARISONS:  # masks do not travel between chunks: they are made again
            name = self._operation(value)
        else:
            name = self.scribe.load("SPILL", self.slots[value])
        self.names[value] = name
        return name

    def _operation(self, value: Value) -> str:
        s, key = self.scribe, self.keys[value]
        name = str(key[0])
        a = [self._name(operand) for operand in operands(key)]
        if name in _ARITHMETIC:
            return s.binary(_ARITHMETIC[name], a[0], a[1])
        if name in _PREDICATES:
            return s.compare(_PREDICATES[name], a[0], a[1])
        if name in _LOGIC:
            return s.get(f"{_LOGIC[name]} {s.M} {a[0]}, {a[1]}")
        if name == "neither":
            truths = "<" + ", ".join(["i1 true"] * s.lanes) + ">"
            return s.get(f"xor {s.M} {s.get(f'or {s.M} {a[0]}, {a[1]}')}, {truths}")
        if name == "neg":
            return s.get(f"fneg {s.V} {a[0]}")
        if name == "fma":
            return s.call("llvm.fma", *a)
        if name == "fms":
            return s.call("llvm.fma", a[0], a[1], s.get(f"fneg {s.V} {a[2]}"))
        if name == "fnma":
            return s.call("llvm.fma", s.get(f"fneg {s.V} {a[0]}"), a[1], a[2])
        if name == "pick":
            return s.pick(a[0], a[1], a[2])
        return elementary(s, name, a)
