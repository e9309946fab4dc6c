"""Outputs of the driver: rows of values at the output times that an accepted step passes.

Where many lanes pass one, they are evaluated together, one output of each; where few do, lane by
lane, as many outputs of it as there are lanes. Both are the same operations on the same numbers.
"""

from __future__ import annotations

from galenic.engine.native.driving import Driver, Shape, next_output
from galenic.engine.native.scribe import Layout

_NARROW = 8  # outputs
_FEW = 0.26  # share of lanes up to which each is served alone


def recorder(layout: Layout, shape: Shape) -> str:
    """The functions ``record`` and ``record_alone``."""
    parts = [_rows(layout, shape)]
    if not shape.exact and shape.n_outputs:
        parts.append(_alone(layout, shape))
    return "\n".join(parts)


def _rows(layout: Layout, shape: Shape) -> str:
    """record(ws, lanes): one output row for each lane of a mask, from OB."""
    s = Driver(layout)
    if shape.n_outputs > _NARROW:
        with s.lanes_of("%due") as lane:
            out = s.lane_load("OP", lane, kind="ptr")
            with s.loop(shape.n_outputs) as i:
                s.put(out, i, s.lane_load("OB", lane, i))
            next_output(s, shape, lane, out)
    else:
        _record_all(s, shape)
    return s.function("record", f"ptr %ws, i{s.lanes} %due")


def _record_all(s: Driver, shape: Shape) -> None:
    """Few outputs: no branches; lanes that have none now write where nobody reads.

    NO is made as one vector: written lane by lane it would hold up the comparison that follows.
    """
    mask = s.get(f"bitcast i{s.lanes} %due to {s.M}")
    nowhere = s.splat_whole(s.get(f"ptrtoint ptr {s.address('TRASH')} to i64"))
    place = s.load("OP", kind=s.I)
    s.store("TARGETS", s.pick(mask, place, nowhere, s.I), kind=s.I)
    for array, size in (("OP", 8 * shape.n_outputs), ("TP", 8)):
        step = s.pick(mask, s.whole(size), "zeroinitializer", s.I)
        s.store(array, s.get(f"add {s.I} {s.load(array, kind=s.I)}, {step}"), kind=s.I)
    following = "poison"
    for lane in range(s.lanes):
        row = s.lane_load("TARGETS", lane, kind="ptr")
        for o in range(shape.n_outputs):
            s.put(row, o, s.lane_load("OB", lane, o))
        time = s.item(s.lane_load("TP", lane, kind="ptr"), 0)
        following = s.get(f"insertelement {s.V} {following}, double {time}, i64 {lane}")
    s.blend("NO", mask, following)


def _alone(layout: Layout, shape: Shape) -> str:
    """record_alone(ws, lane, inclusive): all outputs of one lane before TARGET, or at it."""
    s = Driver(layout)
    time, tried, reached = (s.splat(s.lane_load(name, "%lane")) for name in ("T", "HS", "TARGET"))
    also = s.get(f"insertelement {s.M} poison, i1 %inclusive, i64 0")
    zeros = f"<{s.lanes} x i32> zeroinitializer"
    also = s.get(f"shufflevector {s.M} {also}, {s.M} poison, {zeros}")
    with s.forever() as (_, out):
        times = s.lane_load("TP", "%lane", kind="ptr")
        wanted = s.get(f"load {s.V}, ptr {times}, align 8")
        inside = s.compare("olt", wanted, reached)
        at = s.both(s.compare("ole", wanted, reached), also)
        later = s.get(f"xor {s.M} {s.get(f'or {s.M} {inside}, {at}')}, {s.trues()}")
        kind = f"i{s.lanes}"
        first = s.get(f"call {kind} @llvm.cttz.{kind}({kind} {s.packed(later)}, i1 false)")
        count = s.get(f"zext {kind} {first} to i64")
        some = s.label("some")
        s.branch(s.get(f"icmp ne i64 {count}, 0"), some, out)
        s.begin(some)
        s.store("POS", s.binary("fdiv", s.binary("fsub", wanted, time), tried))
        s.store("TOUT", wanted)
        s.call_all(shape.parts("observe_alone"))
        row = s.lane_load("OP", "%lane", kind="ptr")
        with s.loop(count) as k:
            place = s.get(f"mul i64 {k}, {shape.n_outputs}")
            if shape.n_outputs > _NARROW:
                with s.loop(shape.n_outputs) as o:
                    value = s.lane_load("OB", k, o)
                    s.put(row, s.get(f"add i64 {place}, {o}"), value)
            else:
                for output in range(shape.n_outputs):
                    value = s.lane_load("OB", k, output)
                    s.put(row, s.get(f"add i64 {place}, {output}"), value)
        size = s.get(f"mul i64 {count}, {shape.n_outputs}")
        following = s.get(f"getelementptr double, ptr {row}, i64 {size}")
        s.lane_store("OP", "%lane", following, kind="ptr")
        times = s.get(f"getelementptr double, ptr {times}, i64 {count}")
        s.lane_store("TP", "%lane", times, kind="ptr")
    s.lane_store("NO", "%lane", s.item(s.lane_load("TP", "%lane", kind="ptr"), 0))
    return s.function("record_alone", "ptr %ws, i64 %lane, i1 %inclusive")


def record_now(s: Driver, shape: Shape, active: str, time: str) -> None:
    """Outputs at the begin of an exact step, which aims at the one after."""
    if not shape.n_outputs:
        return
    with s.forever() as (_, out):
        now = s.both(active, s.compare("ole", s.load("NO"), time))
        some = s.label("some")
        s.branch(s.any(now), some, out)
        s.begin(some)
        s.store("POS", s.const(0.0))
        s.store("TOUT", time)
        s.call_all(shape.parts("observe"))
        s.do(f"call void @record(ptr %ws, i{s.lanes} {s.packed(now)})")


def record_outputs(s: Driver, shape: Shape, good: str, time: str, tried: str, reached: str) -> None:
    """Write every output inside an accepted step.

    An output at the end of a step waits for the next step, which starts after the events of that
    time, unless outputs before events are wanted or the run ends here.
    """
    if not shape.n_outputs:
        return
    inclusive = s.compare("une", s.load("BEFORE"), s.const(0.0))
    at_end = s.compare("oge", reached, s.load("STOP"))
    inclusive = s.get(f"or {s.M} {inclusive}, {at_end}")

    def due() -> tuple[str, str]:
        wanted = s.load("NO")
        inside = s.compare("olt", wanted, reached)
        at = s.both(s.compare("ole", wanted, reached), inclusive)
        return wanted, s.both(good, s.get(f"or {s.M} {inside}, {at}"))

    _, first = due()
    with s.when(s.any(first)):
        s.call_all(shape.parts("dense"))
        s.store("TARGET", reached)
        with s.forever() as (_, out):
            wanted, now = due()
            if shape.exact:
                some = s.label("some")
                s.branch(s.any(now), some, out)
                s.begin(some)
            else:
                _each_alone(s, now, inclusive, out)
            s.store("POS", s.binary("fdiv", s.binary("fsub", wanted, time), tried))
            s.store("TOUT", wanted)
            s.call_all(shape.parts("observe"))
            s.do(f"call void @record(ptr %ws, i{s.lanes} {s.packed(now)})")


def _each_alone(s: Driver, now: str, inclusive: str, out: str) -> None:
    """Leave if no lane has an output now; serve few lanes one by one, and leave."""
    due, kind = s.packed(now), f"i{s.lanes}"
    count = s.get(f"call {kind} @llvm.ctpop.{kind}({kind} {due})")
    few, many = s.label("few"), s.label("many")
    s.branch(s.get(f"icmp ule {kind} {count}, {int(_FEW * s.lanes)}"), few, many)
    s.begin(few)
    ends = s.packed(inclusive)
    with s.lanes_of(due) as lane:
        shift = s.get(f"trunc i64 {lane} to {kind}")
        end = s.get(f"trunc {kind} {s.get(f'lshr {kind} {ends}, {shift}')} to i1")
        s.do(f"call void @record_alone(ptr %ws, i64 {lane}, i1 {end})")
    s.jump(out)
    s.begin(many)
