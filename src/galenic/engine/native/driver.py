"""The loop around the step: every lane has its own time, step size, events, outputs, individual.

Nothing computed in one lane is read by another; a lane that ends its individual takes the next one
from a counter shared by all threads. Lanes without an individual repeat a step that is thrown away.
"""

from __future__ import annotations

from galenic.engine.native import consistent, crossings
from galenic.engine.native.driving import FULL, Driver, Shape
from galenic.engine.native.individuals import service
from galenic.engine.native.job import Status
from galenic.engine.native.recording import record_now, record_outputs, recorder
from galenic.engine.native.scribe import Layout

DOUBLES = (
    "T H HS TS NO ERR GUARD ERR2 FAC RTOL BEFORE STOP BEGAN POS TOUT HEVENT EVENTED TARGET".split()
)
INTEGERS = ("ID", "EI", "EE", "TP", "OP", "ACC", "REJ", "CODE", "NEED", "FRESH", "DIRTY", "TARGETS")


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
    parts = [service(layout, shape), recorder(layout, shape), _judge(layout, shape)]
    parts.append(_run(layout, shape))
    return "\n".join(parts)


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
        record_now(s, shape, active, time)
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
        good = s.both(good, s.get(f"xor {s.M} {back}, {s.trues()}"))
    record_outputs(s, shape, good, time, tried, reached)
    _choose_size(s, good, lands, tried, size)
    if back:
        s.store("H", s.pick(back, tried, s.load("H")))
    _count(s, "ACC", good)
    s.store("T", s.pick(good, reached, time))
    with s.loop(shape.n) as i:
        s.blend("Y", good, s.load("YN", i), i)
    arrived = s.both(good, lands)
    refused = s.get(f"xor {s.M} {good}, {active}")
    taken = s.get(f"add {s.I} {s.load('ACC', kind=s.I)}, {s.load('REJ', kind=s.I)}")
    many = s.get(f"icmp sge {s.I} {taken}, {s.splat_whole(s.number('max_steps'))}")
    trouble = s.get(f"or {s.M} {refused}, {many}")
    with s.when(s.any(s.get(f"or {s.M} {trouble}, {arrived}"))):
        s.store("NEED", s.get(f"zext {s.M} {arrived} to {s.I}"), kind=s.I)
        with s.when(s.any(trouble)):
            narrow = f"i{s.lanes}"
            s.do(f"call void @judge({FULL}, {narrow} {s.packed(bad)}, {narrow} "
                 f"{s.packed(refused)})")  # fmt: skip
        s.do(f"call void @serve({FULL})")


def _next_stop(s: Driver, time: str, goal: str) -> tuple[str, str]:
    """An exact step goes to the next output or event."""
    wanted = s.load("NO")
    sooner = s.both(s.compare("olt", wanted, goal), s.compare("ogt", wanted, time))
    target = s.pick(sooner, wanted, goal)
    s.store("TARGET", target)
    return s.compare("oge", target, goal), s.binary("fsub", target, time)


def _choose_size(s: Driver, good: str, lands: str, tried: str, size: str) -> None:
    """The next step size; a step cut to land on an event does not shrink it."""
    fresh = s.compare("une", s.load("EVENTED"), s.const(0.0))
    settled = s.both(good, fresh)
    with s.when(s.any(settled)):
        uncut = s.get(f"xor {s.M} {lands}, {s.trues()}")
        s.blend("HEVENT", s.both(settled, uncut), tried)
        s.blend("EVENTED", settled, s.const(0.0))
    following = s.binary("fmul", tried, s.load("FAC"))
    larger = s.pick(s.compare("ogt", size, following), size, following)
    s.store("H", s.pick(s.both(good, lands), larger, following))


def _count(s: Driver, array: str, mask: str) -> None:
    more = s.get(f"zext {s.M} {mask} to {s.I}")
    s.store(array, s.get(f"add {s.I} {s.load(array, kind=s.I)}, {more}"), kind=s.I)


def _judge(layout: Layout, shape: Shape) -> str:
    """judge(ws, job, bad, refused): count refused steps; CODE and NEED of who cannot go on."""
    s = Driver(layout)
    narrow = f"i{s.lanes}"
    bad, refused = (s.get(f"bitcast {narrow} {bits} to {s.M}") for bits in ("%bad", "%refused"))
    _count(s, "REJ", refused)
    code = s.load("CODE", kind=s.I)
    if shape.exact:
        failed, found = bad, s.pick(bad, s.whole(Status.NOT_FINITE), code, s.I)
    else:
        failed, found = _reasons(s, bad, code)
    s.store("CODE", found, kind=s.I)
    need = s.pick(failed, s.whole(1), s.load("NEED", kind=s.I), s.I)
    s.store("NEED", need, kind=s.I)
    return s.function("judge", f"{FULL}, {narrow} %bad, {narrow} %refused")


def _reasons(s: Driver, bad: str, before: str) -> tuple[str, str]:
    """The lanes whose step became too small or that took too many; CODE with the reason."""
    near = s.binary("fmul", s.call("llvm.fabs", s.load("T")), s.const(8.9e-16))
    near = s.pick(s.compare("ogt", near, s.const(1e-40)), near, s.const(1e-40))
    stuck = s.both(bad, s.compare("ole", s.load("HS"), near))
    finite = s.compare("olt", s.load("ERR2"), s.const(1e12))
    guard = s.load("GUARD")
    pivot = s.both(
        s.compare("ogt", guard, s.const(1.0)), s.compare("olt", guard, s.const(float("inf")))
    )
    reason = s.pick(finite, s.whole(Status.STEP_TOO_SMALL), s.whole(Status.NOT_FINITE), s.I)
    reason = s.pick(pivot, s.whole(Status.PIVOT), reason, s.I)
    taken = s.get(f"add {s.I} {s.load('ACC', kind=s.I)}, {s.load('REJ', kind=s.I)}")
    limit = s.splat_whole(s.number("max_steps"))
    active = s.get(f"icmp sge {s.I} {s.load('ID', kind=s.I)}, zeroinitializer")
    many = s.both(active, s.get(f"icmp sge {s.I} {taken}, {limit}"))
    arrived = s.compare("oge", s.load("T"), s.load("STOP"))
    many = s.both(many, s.get(f"xor {s.M} {arrived}, {s.trues()}"))
    code = s.pick(stuck, reason, "zeroinitializer", s.I)
    code = s.pick(many, s.whole(Status.TOO_MANY_STEPS), code, s.I)
    failed = s.get(f"or {s.M} {stuck}, {many}")
    return failed, s.pick(failed, code, before, s.I)
