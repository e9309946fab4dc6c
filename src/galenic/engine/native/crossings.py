"""State events in the driver: find where a trigger crosses zero upward, land there, fire.

A trigger fires where it was below zero and is at or above it. It is looked at four times per
accepted step, on the dense output; the first crossing is bisected there, the step is made again to
end at it, and the rules that crossed are applied. A jump that carries a trigger over zero fires it
as well.
"""

from __future__ import annotations

from collections.abc import Callable

from galenic.engine.native.driving import Driver
from galenic.engine.native.equations import Equations
from galenic.engine.native.graph import Program
from galenic.engine.native.job import Status
from galenic.engine.native.scribe import Layout, bits
from galenic.engine.native.step import interpolate, load_all

LOOKS = (0.25, 0.5, 0.75, 1.0)
MOST = 62  # triggers: one bit each in a 64-bit integer
_BISECTIONS = 52
_CHATTER = 100  # events of one individual within a billionth of its run


def arrays(count: int) -> dict[str, int]:
    """Arrays that triggers need: last levels (kept and tried), new levels, search interval."""
    sizes = {"LAST": count, "TRIED": count, "LEVEL": count, "CROSS": 1, "LOW": 1, "HIGH": 1}
    return sizes | {"FOUND": 1, "PENDING": 1, "FIRED": 1, "FIREDAT": 1, "QUICK": 1, "SPENT": 1}


def watch_program(equations: Equations, kept: list[int], rows: int) -> Program:
    """Reads POS, TRIED and the step; stores LEVEL, and CROSS where any trigger crosses."""
    g = equations.graph
    program = Program("watch", g)
    at = g.fma(g.load("POS", 0), g.load("HS", 0), g.load("T", 0))
    levels = equations.levels(at, interpolate(g, kept, rows, equations.n))
    program.store_all("LEVEL", levels)
    zero = g.const(0.0)
    crossing = []
    for k, level in enumerate(levels):
        below = g.op("lt", g.load("TRIED", k), zero)
        crossing.append(g.flag(g.op("both", below, g.op("le", zero, g.use(level)))))
    program.store("CROSS", 0, g.total(crossing))
    return program


def measure_program(equations: Equations) -> Program:
    """Reads Y, T; stores LEVEL."""
    g = equations.graph
    program = Program("measure", g)
    program.store_all("LEVEL", equations.levels(g.load("T", 0), load_all(g, "Y", equations.n)))
    return program


def search(s: Driver, count: int, good: str, calls: Callable[[str], tuple[str, ...]]) -> str:
    """Look for crossings in accepted steps; gives the lanes that must go back and land on one."""
    free = s.get(f"icmp eq {s.I} {s.load('PENDING', kind=s.I)}, zeroinitializer")
    looking = s.both(good, free)
    s.call_all(calls("dense"))
    with s.loop(count) as k:
        s.store("TRIED", s.load("LAST", k), k)
    s.store("FOUND", "zeroinitializer")
    low = 0.0
    for high in LOOKS:
        s.store("POS", s.const(high))
        s.call_all(calls("watch"))
        searching = s.both(looking, s.compare("oeq", s.load("FOUND"), s.const(0.0)))
        crossed = s.both(searching, s.compare("ogt", s.load("CROSS"), s.const(0.0)))
        s.store("LOW", s.pick(crossed, s.const(low), s.load("LOW")))
        s.store("HIGH", s.pick(crossed, s.const(high), s.load("HIGH")))
        s.store("FOUND", s.pick(crossed, s.const(1.0), s.load("FOUND")))
        moving = s.both(searching, s.get(f"xor {s.M} {crossed}, {s.trues()}"))
        with s.loop(count) as k:
            s.store("TRIED", s.pick(moving, s.load("LEVEL", k), s.load("TRIED", k)), k)
        low = high
    found = s.both(looking, s.compare("ogt", s.load("FOUND"), s.const(0.0)))
    passed = s.both(looking, s.get(f"xor {s.M} {found}, {s.trues()}"))
    with s.loop(count) as k:
        s.store("LAST", s.pick(passed, s.load("TRIED", k), s.load("LAST", k)), k)
    with s.when(s.any(found)):
        _bisect(s, calls)
        _mark(s, count, found)
    return found


def _bisect(s: Driver, calls: Callable[[str], tuple[str, ...]]) -> None:
    with s.loop(_BISECTIONS):
        low, high = s.load("LOW"), s.load("HIGH")
        middle = s.binary("fmul", s.binary("fadd", low, high), s.const(0.5))
        s.store("POS", middle)
        s.call_all(calls("watch"))
        beyond = s.compare("ogt", s.load("CROSS"), s.const(0.0))
        s.store("HIGH", s.pick(beyond, middle, high))
        s.store("LOW", s.pick(beyond, low, middle))
    s.store("POS", s.load("HIGH"))
    s.call_all(calls("watch"))


def _mark(s: Driver, count: int, found: str) -> None:
    """The lanes found stop at the crossing; PENDING holds a bit for each rule that fires there."""
    time = s.load("T")
    at = s.call("llvm.fma", s.load("HIGH"), s.load("HS"), time)
    least = s.call("llvm.fma", s.call("llvm.fabs", time), s.const(4.5e-16), time)
    least = s.pick(s.compare("ogt", least, time), least, s.const(1e-300))
    at = s.pick(s.compare("ogt", at, least), at, least)
    sooner = s.both(found, s.compare("olt", at, s.load("TS")))
    s.store("TS", s.pick(sooner, at, s.load("TS")))
    with s.lanes_of(s.packed(found)) as lane:
        s.lane_store("PENDING", lane, "0", kind="i64")
        with s.loop(count) as k:
            before, now = s.lane_load("TRIED", lane, k), s.lane_load("LEVEL", lane, k)
            below = s.get(f"fcmp olt double {before}, {bits(0.0)}")
            above = s.get(f"fcmp oge double {now}, {bits(0.0)}")
            one = s.get(f"zext i1 {s.get(f'and i1 {below}, {above}')} to i64")
            bit = s.get(f"shl i64 {one}, {k}")
            pending = s.lane_load("PENDING", lane, kind="i64")
            s.lane_store("PENDING", lane, s.get(f"or i64 {pending}, {bit}"), kind="i64")


def cascade(
    layout: Layout,
    rules: tuple[int, ...],
    n: int,
    terminal: frozenset[int],
    calls: Callable[[str], tuple[str, ...]],
    settles: bool,
) -> str:
    """cascade(ws, lanes): fire what is pending or was carried over zero, until nothing is."""
    s = Driver(layout)
    narrow = f"i{s.lanes}"
    s.store("SPENT", "zeroinitializer", kind=s.I)
    with s.forever() as (_, out):
        s.call_all(calls("measure"))
        s.store("FIRED", "zeroinitializer", kind=s.I)
        with s.lanes_of("%lanes") as lane:
            going = s.get(f"icmp eq i64 {s.lane_load('CODE', lane, kind='i64')}, 0")
            with s.when(going):
                _judge(s, len(rules), lane)
        fired = s.is_set("FIRED")
        some = s.label("some")
        s.branch(s.get(f"icmp ne {narrow} {fired}, 0"), some, out)
        s.begin(some)
        with s.lanes_of(fired) as lane:
            _fire(s, rules, n, terminal, calls, lane)
        if settles:
            s.do(f"call void @settle_lanes(ptr %ws, {narrow} {fired})")
    return s.function("cascade", f"ptr %ws, {narrow} %lanes")


def _judge(s: Driver, count: int, lane: str) -> None:
    """FIRED: the rules of one lane that fire now; LAST: its levels.

    A rule that fired leaves in LAST how near to zero its level may stay and still count as above
    it: a reset that does not move its own trigger would fire again and again. As in ``March``.
    """
    pending = s.lane_load("PENDING", lane, kind="i64")
    spent = s.lane_load("SPENT", lane, kind="i64")
    s.lane_store("PENDING", lane, "0", kind="i64")
    with s.loop(count) as k:
        before, now = s.lane_load("LAST", lane, k), s.lane_load("LEVEL", lane, k)
        below = s.get(f"fcmp olt double {before}, {bits(0.0)}")
        above = s.get(f"fcmp oge double {now}, {bits(0.0)}")
        due = s.get(f"trunc i64 {s.get(f'lshr i64 {pending}, {k}')} to i1")
        fires = s.get(f"or i1 {due}, {s.get(f'and i1 {below}, {above}')}")
        fell = s.get(f"fneg double {now}")
        small = s.get(f"fcmp ole double {fell}, {before}")
        done = s.get(f"trunc i64 {s.get(f'lshr i64 {spent}, {k}')} to i1")
        stays = s.get(f"and i1 {done}, {small}")
        kept = s.get(f"select i1 {stays}, double {before}, double {now}")
        near = s.get(f"select i1 {due}, double {_near(s, before, now)}, double {bits(1e-300)}")
        kept = s.get(f"select i1 {fires}, double {near}, double {kept}")
        s.lane_store("LAST", lane, kept, k)
        bit = s.get(f"shl i64 {s.get(f'zext i1 {fires} to i64')}, {k}")
        for array in ("FIRED", "SPENT"):
            known = s.lane_load(array, lane, kind="i64")
            s.lane_store(array, lane, s.get(f"or i64 {known}, {bit}"), kind="i64")


def _near(s: Driver, before: str, now: str) -> str:
    """How near to zero is at zero: ten times the level where the crossing was met, or round-off."""
    located = s.get(f"call double @llvm.fabs.f64(double {now})")
    begun = s.get(f"call double @llvm.fabs.f64(double {before})")
    met = s.get(f"fmul double {located}, {bits(10.0)}")
    rounding = s.get(f"fmul double {begun}, {bits(1e-12)}")
    either = s.get(f"fadd double {met}, {rounding}")
    return s.get(f"fadd double {either}, {bits(1e-300)}")


def _fire(
    s: Driver,
    rules: tuple[int, ...],
    n: int,
    terminal: frozenset[int],
    calls: Callable[[str], tuple[str, ...]],
    lane: str,
) -> None:
    fired = s.lane_load("FIRED", lane, kind="i64")
    for k, rule in enumerate(rules):
        bit = s.get(f"trunc i64 {s.get(f'lshr i64 {fired}, {k}')} to i1")
        with s.when(bit):
            s.call_all(calls(f"reset{rule}"))
            with s.loop(n) as i:
                s.lane_store("Y", lane, s.lane_load("AFTER", lane, i), i)
            if rule in terminal:
                s.lane_store("CODE", lane, str(int(Status.ENDED)), kind="i64")
    time = s.lane_load("T", lane)
    span = s.get(f"fsub double {s.lane_load('STOP', lane)}, {s.lane_load('BEGAN', lane)}")
    narrow = s.get(f"fmul double {span}, {bits(1e-9)}")
    since = s.get(f"fsub double {time}, {s.lane_load('FIREDAT', lane)}")
    close = s.get(f"fcmp ole double {since}, {narrow}")
    count = s.get(f"add i64 {s.lane_load('QUICK', lane, kind='i64')}, 1")
    quick = s.get(f"select i1 {close}, i64 {count}, i64 0")
    s.lane_store("QUICK", lane, quick, kind="i64")
    apart = s.get(f"xor i1 {close}, true")
    with s.when(apart):
        s.lane_store("FIREDAT", lane, time)
    with s.when(s.get(f"icmp sgt i64 {quick}, {_CHATTER}")):
        s.lane_store("CODE", lane, str(int(Status.CHATTERING)), kind="i64")
