"""Individuals in lanes: take one from the counter, begin, apply its events, end it.

``serve`` does this for the lanes in NEED; it is called when any lane has arrived somewhere.
"""

from __future__ import annotations

from galenic.engine.native import consistent, crossings, exact
from galenic.engine.native.driving import FULL, Driver, Shape, next_output
from galenic.engine.native.job import Kind, Status
from galenic.engine.native.scribe import Layout, bits


def service(layout: Layout, shape: Shape) -> str:
    """The function ``serve`` and what it calls."""
    parts = [_finish, _take, _events, _serve]
    if shape.nz:
        parts.append(_settle)
    if shape.triggers:
        parts.append(_cascade)
    return "\n".join(part(layout, shape) for part in parts)


def _finish(layout: Layout, shape: Shape) -> str:
    """finish(ws, job, lane): write what is known of an individual that has ended."""
    s = Driver(layout)
    who = s.lane_load("ID", "%lane", kind="i64")
    code = s.lane_load("CODE", "%lane", kind="i64")
    s.put(s.pointer("status"), who, s.get(f"trunc i64 {code} to i32"), "i32")
    counts = [("accepted", "ACC"), ("rejected", "REJ")]
    counts += [("doubtful", "DOUBT")] if shape.triggers else []
    for field, array in counts:
        s.put(s.pointer(field), who, s.lane_load(array, "%lane", kind="i64"), "i64")
    s.put(s.pointer("reached"), who, s.lane_load("T", "%lane"))
    _leave_blank(s, shape)
    final = s.pointer("final")
    with s.when(s.given(final)):
        first = s.get(f"mul i64 {who}, {shape.n}")
        with s.loop(shape.n) as i:
            s.put(final, s.get(f"add i64 {first}, {i}"), s.lane_load("Y", "%lane", i))
    return s.function("finish", f"{FULL}, i64 %lane")


def _leave_blank(s: Driver, shape: Shape) -> None:
    """Rows of outputs that were not reached are nan."""
    with s.forever() as (_, out):
        wanted = s.lane_load("NO", "%lane")
        some = s.label("some")
        s.branch(s.get(f"fcmp ord double {wanted}, {wanted}"), some, out)
        s.begin(some)
        row = s.lane_load("OP", "%lane", kind="ptr")
        with s.loop(shape.n_outputs) as i:
            s.put(row, i, bits(float("nan")))
        next_output(s, shape, "%lane", row)


def _take(layout: Layout, shape: Shape) -> str:
    """take(ws, job, lane): the next individual, or none."""
    s = Driver(layout)
    who = s.get(f"atomicrmw add ptr {s.pointer('counter')}, i64 1 monotonic")
    some, none, end = s.label("some"), s.label("none"), s.label("end")
    s.branch(s.get(f"icmp slt i64 {who}, {s.number('last')}"), some, none)
    s.begin(none)
    for array, value in (("ID", "-1"), ("NEED", "0"), ("FRESH", "0"), ("CODE", "0")):
        s.lane_store(array, "%lane", value, kind="i64")
    for array, number in (("T", 0.0), ("TS", 1.0), ("H", 1.0), ("NO", float("nan"))):
        s.lane_store(array, "%lane", bits(number))
    s.jump(end)
    s.begin(some)
    s.lane_store("ID", "%lane", who, kind="i64")
    for array in ("ACC", "REJ", "CODE", *(["DOUBT"] if shape.triggers else [])):
        s.lane_store(array, "%lane", "0", kind="i64")
    for array in ("FRESH", "DIRTY", "NEED"):
        s.lane_store(array, "%lane", "1", kind="i64")
    theta = s.pointer("theta")
    first = s.get(f"mul i64 {who}, {shape.n_theta}")
    with s.loop(shape.n_theta) as i:
        s.lane_store("THETA", "%lane", s.item(theta, s.get(f"add i64 {first}, {i}")), i)
    begin, stop = s.item(s.pointer("start"), who), s.item(s.pointer("stop"), who)
    s.lane_store("T", "%lane", begin)
    s.lane_store("BEGAN", "%lane", begin)
    s.lane_store("STOP", "%lane", stop)
    span = s.get(f"fsub double {stop}, {begin}")
    share = s.number("first_step", "double")
    s.lane_store("HEVENT", "%lane", s.get(f"fmul double {span}, {share}"))
    s.lane_store("EI", "%lane", s.item(s.pointer("event_first"), who, "i64"), kind="i64")
    s.lane_store("EE", "%lane", s.item(s.pointer("event_last"), who, "i64"), kind="i64")
    at = s.item(s.pointer("times_first"), who, "i64")
    times = s.get(f"getelementptr double, ptr {s.pointer('times')}, i64 {at}")
    s.lane_store("TP", "%lane", times, kind="ptr")
    s.lane_store("NO", "%lane", s.item(times, 0))
    row = s.item(s.pointer("out_first"), who, "i64")
    place = s.get(f"mul i64 {row}, {shape.n_outputs}")
    out = s.get(f"getelementptr double, ptr {s.pointer('out')}, i64 {place}")
    s.lane_store("OP", "%lane", out, kind="ptr")
    s.jump(end)
    s.begin(end)
    return s.function("take", f"{FULL}, i64 %lane")


def _events(layout: Layout, shape: Shape) -> str:
    """events(ws, job, lane): apply all events that are due; set the next stop TS."""
    s = Driver(layout)
    times, what, values = (s.pointer(f"event_{part}") for part in ("time", "what", "value"))
    stop = s.lane_load("STOP", "%lane")
    with s.forever() as (_, out):
        at = s.lane_load("EI", "%lane", kind="i64")
        last = s.lane_load("EE", "%lane", kind="i64")
        more, due = s.label("more"), s.label("due")
        s.lane_store("TS", "%lane", stop)
        s.branch(s.get(f"icmp slt i64 {at}, {last}"), more, out)
        s.begin(more)
        time = s.item(times, at)
        earlier = s.get(f"fcmp olt double {time}, {stop}")
        sooner = s.get(f"select i1 {earlier}, double {time}, double {stop}")
        s.lane_store("TS", "%lane", sooner)
        s.branch(s.get(f"fcmp ole double {time}, {s.lane_load('T', '%lane')}"), due, out)
        s.begin(due)
        s.lane_store("EI", "%lane", s.get(f"add i64 {at}, 1"), kind="i64")
        base = s.get(f"mul i64 {at}, 3")
        kind, index, factor = (s.item(what, s.get(f"add i64 {base}, {k}"), "i64") for k in range(3))
        value = _scaled(s, s.item(values, at), factor)
        _apply(s, shape, kind, index, value)
        code = s.lane_load("CODE", "%lane", kind="i64")
        going = s.label("going")
        s.branch(s.get(f"icmp eq i64 {code}, 0"), going, out)
        s.begin(going)
    return s.function("events", f"{FULL}, i64 %lane")


def _cascade(layout: Layout, shape: Shape) -> str:
    return crossings.cascade(
        layout, shape.triggers, shape.n, shape.terminal, shape.parts, bool(shape.nz)
    )


def _settle(layout: Layout, shape: Shape) -> str:
    """settle_lanes(ws, lanes): solve the algebraic equations in the lanes given as bits."""
    s = Driver(layout)
    narrow = f"i{s.lanes}"
    mask = s.get(f"bitcast {narrow} %lanes to {s.M}")
    s.store("LIVE", s.pick(mask, s.const(1.0), s.const(0.0)))
    s.store("SHARE", s.const(1.0))
    s.store("LENGTH", s.const(float("inf")))
    nx = shape.n - shape.nz
    with s.loop(shape.nz) as i:
        s.store("ZOLD", s.load("Y", s.get(f"add i64 {i}, {nx}")), i)
        s.store("DIRECTION", s.const(0.0), i)
    with s.loop(consistent.PASSES):
        s.call_all(shape.parts("settle"))
        for name, size in consistent.settle_arrays(shape.nz).items():
            if name.startswith("NEW"):
                with s.loop(size) as i:
                    s.store(name.removeprefix("NEW"), s.load(name, i), i)
        with s.loop(shape.nz) as i:
            s.store("Y", s.load("ZNEW", i), s.get(f"add i64 {i}, {nx}"))
        busy = s.label("busy")
        waiting = s.any(s.compare("ogt", s.load("LIVE"), s.const(0.0)))
        s.branch(waiting, busy, "finished")
        s.begin(busy)
    s.jump("finished")
    s.begin("finished")
    failed = s.both(mask, s.compare("une", s.load("LIVE"), s.const(0.0)))
    code = s.load("CODE", kind=s.I)
    s.store("CODE", s.pick(failed, s.whole(Status.ALGEBRAIC), code, s.I), kind=s.I)
    return s.function("settle_lanes", f"ptr %ws, {narrow} %lanes")


def _scaled(s: Driver, value: str, factor: str) -> str:
    """The value of an event times the element of theta that it names, if any."""
    named = s.get(f"icmp sge i64 {factor}, 0")
    usable = s.get(f"select i1 {named}, i64 {factor}, i64 0")
    share = s.lane_load("THETA", "%lane", usable)
    product = s.get(f"fmul double {value}, {share}")
    return s.get(f"select i1 {named}, double {product}, double {value}")


def _apply(s: Driver, shape: Shape, kind: str, index: str, value: str) -> None:
    """One event on one lane."""

    def of_kind(wanted: Kind) -> str:
        return s.get(f"icmp eq i64 {kind}, {int(wanted)}")

    for wanted, operation in ((Kind.ADD, "fadd"), (Kind.SCALE, "fmul")):
        with s.when(of_kind(wanted)):
            old = s.lane_load("Y", "%lane", index)
            s.lane_store("Y", "%lane", s.get(f"{operation} double {old}, {value}"), index)
    with s.when(of_kind(Kind.SET)):
        s.lane_store("Y", "%lane", value, index)
    with s.when(of_kind(Kind.THETA)):
        s.lane_store("THETA", "%lane", value, index)
        s.lane_store("DIRTY", "%lane", "1", kind="i64")
    with s.when(of_kind(Kind.RESTART)):
        s.call_all((*shape.parts("init"), *shape.parts("start")))
        with s.loop(shape.n) as i:
            s.lane_store("Y", "%lane", s.lane_load("X0", "%lane", i), i)
    if not shape.resets:
        return
    with s.when(of_kind(Kind.RESET)):
        s.call_all(shape.parts("init"))
        if shape.nz:
            lane = s.get(f"trunc i64 %lane to i{s.lanes}")
            bit = s.get(f"shl i{s.lanes} 1, {lane}")
            s.do(f"call void @settle_lanes(ptr %ws, i{s.lanes} {bit})")
        for rule in range(shape.resets):
            with s.when(s.get(f"icmp eq i64 {index}, {rule}")):
                s.call_all(shape.parts(f"reset{rule}"))
                with s.loop(shape.n) as i:
                    s.lane_store("Y", "%lane", s.lane_load("AFTER", "%lane", i), i)
                if rule in shape.terminal:
                    s.lane_store("CODE", "%lane", str(int(Status.ENDED)), kind="i64")


def _serve(layout: Layout, shape: Shape) -> str:
    """serve(ws, job): end individuals, take new ones, apply events, for all lanes in NEED."""
    s = Driver(layout)
    with s.forever() as (_, out):
        needs = s.is_set("NEED")
        busy = s.label("busy")
        s.branch(s.get(f"icmp ne i{s.lanes} {needs}, 0"), busy, out)
        s.begin(busy)
        with s.lanes_of(needs) as lane:
            _replace(s, lane)
        fresh = s.is_set("FRESH")
        with s.when(s.get(f"icmp ne i{s.lanes} {fresh}, 0")):
            s.call_all((*shape.parts("init"), *shape.parts("start")))
            with s.lanes_of(fresh) as lane:
                _begin(s, shape, lane)
            if shape.nz:
                s.do(f"call void @settle_lanes(ptr %ws, i{s.lanes} {fresh})")
            if shape.triggers:
                _first_levels(s, shape, fresh)
        due = s.is_set("NEED")
        with s.lanes_of(due) as lane:
            s.do(f"call void @events({FULL}, i64 {lane})")
        dirty = s.is_set("DIRTY")
        with s.when(s.get(f"icmp ne i{s.lanes} {dirty}, 0")):
            s.call_all(shape.parts("init"))
            if shape.exact:
                exact.forget(s)
            s.store("DIRTY", "zeroinitializer", kind=s.I)
        if shape.nz:
            s.do(f"call void @settle_lanes(ptr %ws, i{s.lanes} {due})")
        if shape.triggers:
            s.do(f"call void @cascade(ptr %ws, i{s.lanes} {due})")
        with s.lanes_of(due) as lane:
            s.lane_store("H", lane, s.lane_load("HEVENT", lane))
            s.lane_store("EVENTED", lane, bits(1.0))
            code = s.lane_load("CODE", lane, kind="i64")
            ended = s.get(f"icmp ne i64 {code}, 0")
            s.lane_store("NEED", lane, s.get(f"zext i1 {ended} to i64"), kind="i64")
    return s.function("serve", FULL)


def _first_levels(s: Driver, shape: Shape, fresh: str) -> None:
    """Levels at the start: a trigger that is above zero there waits until it has been below."""
    s.call_all(shape.parts("measure"))
    with s.lanes_of(fresh) as lane:
        for array in ("PENDING", "QUICK"):
            s.lane_store(array, lane, "0", kind="i64")
        s.lane_store("FIREDAT", lane, bits(float("-inf")))
        with s.loop(len(shape.triggers)) as k:
            s.lane_store("LAST", lane, s.lane_load("LEVEL", lane, k), k)


def _replace(s: Driver, lane: str) -> None:
    """End the individual of a lane if it is done, and give the lane the next one."""
    who = s.lane_load("ID", lane, kind="i64")
    code = s.lane_load("CODE", lane, kind="i64")
    time, stop = s.lane_load("T", lane), s.lane_load("STOP", lane)
    arrived = s.get(f"fcmp oge double {time}, {stop}")
    failed = s.get(f"icmp ne i64 {code}, 0")
    done = s.get(f"or i1 {arrived}, {failed}")
    real = s.get(f"icmp sge i64 {who}, 0")
    with s.when(s.get(f"and i1 {done}, {real}")):
        final = s.get(f"select i1 {failed}, i64 {code}, i64 {int(Status.OK)}")
        s.lane_store("CODE", lane, final, kind="i64")
        s.do(f"call void @finish({FULL}, i64 {lane})")
    unreal = s.get(f"xor i1 {real}, true")
    with s.when(s.get(f"or i1 {done}, {unreal}")):
        s.do(f"call void @take({FULL}, i64 {lane})")


def _begin(s: Driver, shape: Shape, lane: str) -> None:
    """The start values of a new individual."""
    s.lane_store("FRESH", lane, "0", kind="i64")
    states = s.pointer("states")
    given, computed, end = s.label("given"), s.label("computed"), s.label("begun")
    s.branch(s.given(states), given, computed)
    s.begin(given)
    first = s.get(f"mul i64 {s.lane_load('ID', lane, kind='i64')}, {shape.n}")
    with s.loop(shape.n) as i:
        s.lane_store("Y", lane, s.item(states, s.get(f"add i64 {first}, {i}")), i)
    s.jump(end)
    s.begin(computed)
    with s.loop(shape.n) as i:
        s.lane_store("Y", lane, s.lane_load("X0", lane, i), i)
    s.jump(end)
    s.begin(end)
