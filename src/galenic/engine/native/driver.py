"""The loop around the step: every lane has its own time, step size, events, outputs, individual.

Nothing computed in one lane is read by another; a lane that ends its individual takes the next one
from a counter shared by all threads. Lanes without an individual repeat a step that is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from galenic.engine.native import consistent, crossings, exact
from galenic.engine.native.driving import Driver
from galenic.engine.native.job import Kind, Status
from galenic.engine.native.scribe import Layout, bits

DOUBLES = (
    "T H HS TS NO ERR GUARD ERR2 FAC RTOL BEFORE STOP BEGAN POS TOUT HEVENT EVENTED TARGET".split()
)
_NARROW = 8  # outputs
INTEGERS = ("ID", "EI", "EE", "TP", "OP", "ACC", "REJ", "CODE", "NEED", "FRESH", "DIRTY", "TARGETS")
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


def lay_out(layout: Layout, shape: Shape) -> None:
    """Reserve the arrays the driver needs."""
    for name in (*DOUBLES, *INTEGERS):
        layout.add(name, 1)
    for name in ("Y", "YN", "X0", "ATOL"):
        layout.add(name, shape.n)
    if shape.resets:
        layout.add("AFTER", shape.n)
    sizes = consistent.settle_arrays(shape.nz) if shape.nz else {}
    sizes |= crossings.arrays(len(shape.triggers)) if shape.triggers else {}
    for name, size in sizes.items():
        layout.add(name, size)
    layout.add("THETA", shape.n_theta)
    layout.add("OB", shape.n_outputs)
    layout.add("TRASH", -(-shape.n_outputs // layout.lanes))


def driver(layout: Layout, shape: Shape) -> str:
    """The functions ``run``, ``serve`` and what they call."""
    parts = [_finish, _take, _events, _serve, _observe, _run]
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
    for field, array in (("accepted", "ACC"), ("rejected", "REJ")):
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
        _next_output(s, shape, "%lane", row)


def _next_output(s: Driver, shape: Shape, lane: str, row: str) -> None:
    """Go on to the next output time and row of a lane."""
    following = s.get(f"getelementptr double, ptr {row}, i64 {shape.n_outputs}")
    s.lane_store("OP", lane, following, kind="ptr")
    times = s.get(f"getelementptr double, ptr {s.lane_load('TP', lane, kind='ptr')}, i64 1")
    s.lane_store("TP", lane, times, kind="ptr")
    s.lane_store("NO", lane, s.item(times, 0))


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
    for array in ("ACC", "REJ", "CODE"):
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


def _observe(layout: Layout, shape: Shape) -> str:
    """record(ws, lanes): one output row for each lane of a mask, from OB."""
    s = Driver(layout)
    if shape.n_outputs > _NARROW:
        with s.lanes_of("%due") as lane:
            out = s.lane_load("OP", lane, kind="ptr")
            with s.loop(shape.n_outputs) as i:
                s.put(out, i, s.lane_load("OB", lane, i))
            _next_output(s, shape, lane, out)
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


def _run(layout: Layout, shape: Shape) -> str:
    """run(ws, job): all individuals the counter still gives."""
    s = Driver(layout)
    _prepare(s, shape)
    with s.forever() as (_, out):
        who = s.load("ID", kind=s.I)
        active = s.get(f"icmp sge {s.I} {who}, zeroinitializer")
        cancelled = s.get(f"icmp ne i64 {s.item(s.pointer('cancel'), 0, 'i64')}, 0")
        nobody = s.get(f"icmp eq i{s.lanes} {s.packed(active)}, 0")
        go = s.label("go")
        s.branch(s.get(f"or i1 {cancelled}, {nobody}"), out, go)
        s.begin(go)
        _advance(s, shape, active)
    for lane in range(s.lanes):
        who = s.lane_load("ID", lane, kind="i64")
        with s.when(s.get(f"icmp sge i64 {who}, 0")):
            s.lane_store("CODE", lane, str(int(Status.CANCELLED)), kind="i64")
            s.do(f"call void @finish({FULL}, i64 {lane})")
    return s.function("run", FULL, attributes="")


def _prepare(s: Driver, shape: Shape) -> None:
    """Tolerances into vectors; every lane asks for an individual."""
    s.store("RTOL", s.splat(s.number("rtol", "double")))
    s.store("BEFORE", s.splat(s.number("before", "double")))
    atol = s.pointer("atol")
    with s.loop(shape.n) as i:
        s.store("ATOL", s.splat(s.item(atol, i)), i)
    s.store("ID", s.whole(-1), kind=s.I)
    s.store("NEED", s.whole(1), kind=s.I)
    times = s.get(f"ptrtoint ptr {s.pointer('times')} to i64")
    s.store("TP", s.splat_whole(times), kind=s.I)
    for array in ("FRESH", "DIRTY", "CODE"):
        s.store(array, "zeroinitializer", kind=s.I)
    s.do(f"call void @serve({FULL})")


def _advance(s: Driver, shape: Shape, active: str) -> None:
    """Try one step in every lane, accept it where the error allows, serve who arrived."""
    time, size, goal = s.load("T"), s.load("H"), s.load("TS")
    if shape.exact:
        _record_now(s, shape, active, time)
        lands, tried = _next_stop(s, time, goal)
    else:
        left = s.binary("fsub", goal, time)
        lands = s.compare("oge", s.binary("fmul", size, s.const(1.0000001)), left)
        tried = s.pick(lands, left, size)
    s.store("HS", tried)
    s.call_all((*shape.parts("step"), *shape.parts("control")))
    reached = s.pick(lands, goal, s.binary("fadd", time, tried))
    if shape.exact:
        reached = s.pick(lands, goal, s.load("TARGET"))
    good = s.both(s.compare("ole", s.load("ERR2"), s.const(1.0)), active)
    bad = s.get(f"xor {s.M} {good}, {active}")
    back = ""
    if shape.triggers:
        back = crossings.search(s, len(shape.triggers), good, shape.parts)
        good = s.both(good, s.get(f"xor {s.M} {back}, {_trues(s)}"))
    _record_outputs(s, shape, good, time, tried, reached)
    _choose_size(s, good, lands, tried, size)
    if back:
        s.store("H", s.pick(back, tried, s.load("H")))
    _count(s, "ACC", good)
    _count(s, "REJ", s.get(f"xor {s.M} {good}, {active}"))
    s.store("T", s.pick(good, reached, time))
    with s.loop(shape.n) as i:
        s.blend("Y", good, s.load("YN", i), i)
    failed = bad if shape.exact else _judge(s, bad, tried, active)
    if shape.exact:
        code = s.pick(bad, s.whole(Status.NOT_FINITE), s.load("CODE", kind=s.I), s.I)
        s.store("CODE", code, kind=s.I)
    arrived = s.both(good, lands)
    needs = s.get(f"or {s.M} {arrived}, {failed}")
    with s.when(s.any(needs)):
        s.store("NEED", s.get(f"zext {s.M} {needs} to {s.I}"), kind=s.I)
        s.do(f"call void @serve({FULL})")


def _record_now(s: Driver, shape: Shape, active: str, time: str) -> None:
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


def _next_stop(s: Driver, time: str, goal: str) -> tuple[str, str]:
    """An exact step goes to the next output or event."""
    wanted = s.load("NO")
    sooner = s.both(s.compare("olt", wanted, goal), s.compare("ogt", wanted, time))
    target = s.pick(sooner, wanted, goal)
    s.store("TARGET", target)
    return s.compare("oge", target, goal), s.binary("fsub", target, time)


def _record_outputs(
    s: Driver, shape: Shape, good: str, time: str, tried: str, reached: str
) -> None:
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
        with s.forever() as (_, out):
            wanted, now = due()
            some = s.label("some")
            s.branch(s.any(now), some, out)
            s.begin(some)
            s.store("POS", s.binary("fdiv", s.binary("fsub", wanted, time), tried))
            s.store("TOUT", wanted)
            s.call_all(shape.parts("observe"))
            s.do(f"call void @record(ptr %ws, i{s.lanes} {s.packed(now)})")


def _choose_size(s: Driver, good: str, lands: str, tried: str, size: str) -> None:
    """The next step size; a step cut to land on an event does not shrink it."""
    fresh = s.compare("une", s.load("EVENTED"), s.const(0.0))
    settled = s.both(good, fresh)
    uncut = s.get(f"xor {s.M} {lands}, {_trues(s)}")
    s.blend("HEVENT", s.both(settled, uncut), tried)
    s.blend("EVENTED", settled, s.const(0.0))
    following = s.binary("fmul", tried, s.load("FAC"))
    larger = s.pick(s.compare("ogt", size, following), size, following)
    s.store("H", s.pick(s.both(good, lands), larger, following))


def _count(s: Driver, array: str, mask: str) -> None:
    more = s.get(f"zext {s.M} {mask} to {s.I}")
    s.store(array, s.get(f"add {s.I} {s.load(array, kind=s.I)}, {more}"), kind=s.I)


def _judge(s: Driver, bad: str, tried: str, active: str) -> str:
    """Set CODE where an individual cannot go on; gives those lanes."""
    near = s.binary("fmul", s.call("llvm.fabs", s.load("T")), s.const(8.9e-16))
    near = s.pick(s.compare("ogt", near, s.const(1e-40)), near, s.const(1e-40))
    stuck = s.both(bad, s.compare("ole", tried, near))
    finite = s.compare("olt", s.load("ERR2"), s.const(1e12))
    pivot = s.compare("ogt", s.load("GUARD"), s.const(1.0))
    reason = s.pick(pivot, s.whole(Status.PIVOT), s.whole(Status.STEP_TOO_SMALL), s.I)
    reason = s.pick(finite, reason, s.whole(Status.NOT_FINITE), s.I)
    taken = s.get(f"add {s.I} {s.load('ACC', kind=s.I)}, {s.load('REJ', kind=s.I)}")
    most = s.number("max_steps")
    limit = s.splat_whole(most)
    many = s.both(active, s.get(f"icmp sge {s.I} {taken}, {limit}"))
    arrived = s.both(active, s.compare("oge", s.load("T"), s.load("STOP")))
    many = s.both(many, s.get(f"xor {s.M} {arrived}, {_trues(s)}"))
    code = s.pick(stuck, reason, "zeroinitializer", s.I)
    code = s.pick(many, s.whole(Status.TOO_MANY_STEPS), code, s.I)
    failed = s.get(f"or {s.M} {stuck}, {many}")
    s.store("CODE", s.pick(failed, code, s.load("CODE", kind=s.I), s.I), kind=s.I)
    return failed


def _trues(s: Driver) -> str:
    return "<" + ", ".join(["i1 true"] * s.lanes) + ">"
