"""State events in the driver: find where a trigger crosses zero upward, land there, fire.

A trigger fires where it was below zero and is at or above it. On the dense output of each accepted
step it is enclosed in bounds, over parts of the step that are halved until the bounds exclude zero
or the trigger only rises or only falls there: so no crossing of the dense output is passed over,
however short. The first one is bisected, the step is made again to end at it, and the rules that
crossed are applied. A jump that carries a trigger over zero fires it as well.

Where neither can be shown on parts as short as ``_FINEST``, or within ``_PASSES`` parts, as at a
grazing contact, the signs at the ends decide and the individual is marked as doubtful.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import comb

from galenic.engine.intervals import Bounds, Enclosure
from galenic.engine.native.driving import Driver
from galenic.engine.native.equations import Equations, Values
from galenic.engine.native.graph import Graph, Program, Value
from galenic.engine.native.job import Status
from galenic.engine.native.scribe import Layout, bits
from galenic.engine.native.step import interpolate, load_all

MOST = 62  # triggers: one bit each in a 64-bit integer
_BISECTIONS = 52
_FINEST = 2.0**-30  # share of a step
_PASSES = 400
_COARSE = 2.0**-5  # share of a step that is looked at after that
_CHATTER = 100  # events of one individual within a billionth of its run


def arrays(count: int) -> dict[str, int]:
    """Arrays that triggers need: last levels (kept and tried), new levels, search interval."""
    sizes = {"LAST": count, "TRIED": count, "LEVEL": count, "CROSS": 1, "LOW": 1, "HIGH": 1}
    sizes |= {"FROM": 1, "WIDE": 1, "TRIES": 1, "CLEAR": 1, "DOUBT": 1}
    return sizes | {"FOUND": 1, "PENDING": 1, "FIRED": 1, "FIREDAT": 1, "QUICK": 1, "SPENT": 1}


def watch_program(equations: Equations, kept: list[int], rows: int) -> Program:
    """Reads POS, TRIED and the step; stores LEVEL, and CROSS where any trigger crosses."""
    g = equations.graph
    program = Program("watch", g)
    at = g.fma(g.load("POS", 0), g.load("HS", 0), g.load("T", 0))
    _store_levels(program, equations.levels(at, interpolate(g, kept, rows, equations.n)))
    return program


def bounds_program(equations: Equations, kept: list[int], rows: int) -> Program:
    """Reads FROM, WIDE, POS at their sum, TRIED and the step; stores LEVEL, CROSS, CLEAR.

    CLEAR is 1 where the signs at both ends tell whether a trigger crosses in between.
    """
    g = equations.graph
    program = Program("bounds", g)
    begin, width, step = g.load("FROM", 0), g.load("WIDE", 0), g.load("HS", 0)
    zero, one = g.const(0.0), g.const(1.0)
    y = [Bounds(zero, zero)] * equations.n
    slopes = list(y)
    for i in equations.watched:
        local = _local(g, _powers(g, kept, rows, i), begin, width)
        slope = [g.mul(g.const(float(k)), c) for k, c in enumerate(local)][1:]
        y[i], slopes[i] = _hull(g, local), _hull(g, slope)
    end = g.fma(g.load("POS", 0), step, g.load("T", 0))
    time = Bounds(g.fma(begin, step, g.load("T", 0)), end)
    speed = g.mul(step, width)
    enclosure = Enclosure(g)
    levels = equations.level_bounds(enclosure, time, y)
    smooth = g.op("lt", enclosure.may_jump(), one)
    rates = equations.rate_bounds(Enclosure(g), (time, Bounds(speed, speed)), y, slopes)
    ends = equations.levels(end, interpolate(g, kept, rows, equations.n))
    fine = g.op("le", width, g.const(_FINEST))
    clear = one
    for k, (level, rate, last) in enumerate(zip(levels, rates, ends, strict=True)):
        away = g.op("either", g.op("lt", level.high, zero), g.op("le", zero, level.low))
        one_way = g.op("either", g.op("le", zero, rate.low), g.op("le", rate.high, zero))
        known = g.op("either", away, g.op("both", smooth, one_way))
        jumps = g.op("either", g.op("lt", g.use(last), zero), g.op("neither", smooth, smooth))
        falls = g.op("both", g.op("le", zero, g.load("TRIED", k)), jumps)
        known = g.op("either", known, g.op("both", fine, falls))
        clear = g.pick(known, clear, zero)
    program.store("CLEAR", 0, clear)
    _store_levels(program, ends)
    return program


def _powers(g: Graph, kept: list[int], rows: int, i: int) -> list[Value]:
    """Coefficients of the dense output of an unknown in powers of the share of the step."""
    place = kept.index(i)
    d = [g.load("D", m * len(kept) + place) for m in range(rows)]
    old = g.load("Y", i)
    first = g.add(g.sub(g.load("YN", i), old), d[0])
    later = [g.sub(b, a) for a, b in pairwise(d)]
    return [old, first, *later, g.neg(d[-1])]


def _local(g: Graph, powers: list[Value], begin: Value, width: Value) -> list[Value]:
    """The same polynomial in the share of a part of the step (Taylor shift, scaled)."""
    c = list(powers)
    for i in range(len(c) - 1):
        for k in range(len(c) - 2, i - 1, -1):
            c[k] = g.fma(begin, c[k + 1], c[k])
    scale = g.const(1.0)
    for k in range(1, len(c)):
        scale = g.mul(scale, width)
        c[k] = g.mul(c[k], scale)
    return c


def _hull(g: Graph, powers: list[Value]) -> Bounds:
    """Bounds of a polynomial on [0, 1]: its least and greatest Bernstein coefficient."""
    degree = len(powers) - 1
    low = high = powers[0]
    for j in range(1, degree + 1):
        value = powers[0]
        for k in range(1, j + 1):
            value = g.fma(g.const(comb(j, k) / comb(degree, k)), powers[k], value)
        low, high = g.least(low, value), g.greatest(high, value)
    return Bounds(low, high)


def _store_levels(program: Program, levels: Values) -> None:
    """LEVEL, and CROSS where any trigger that was below zero is not any more."""
    g = program.graph
    program.store_all("LEVEL", levels)
    zero = g.const(0.0)
    crossing = []
    for k, level in enumerate(levels):
        below = g.op("lt", g.load("TRIED", k), zero)
        crossing.append(g.flag(g.op("both", below, g.op("le", zero, g.use(level)))))
    program.store("CROSS", 0, g.total(crossing))


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
    s.store("FROM", s.pick(looking, s.const(0.0), s.const(1.0)))
    s.store("WIDE", s.const(1.0))
    s.store("TRIES", s.const(0.0))
    with s.forever() as (_, out):
        searching = s.compare("olt", s.load("FROM"), s.const(1.0))
        some = s.label("some")
        s.branch(s.any(searching), some, out)
        s.begin(some)
        _look(s, count, searching, calls)
    found = s.both(looking, s.compare("ogt", s.load("FOUND"), s.const(0.0)))
    passed = s.both(looking, s.get(f"xor {s.M} {found}, {s.trues()}"))
    with s.loop(count) as k:
        s.store("LAST", s.pick(passed, s.load("TRIED", k), s.load("LAST", k)), k)
    with s.when(s.any(found)):
        _bisect(s, calls)
        _mark(s, count, found)
    return found


def _look(s: Driver, count: int, searching: str, calls: Callable[[str], tuple[str, ...]]) -> None:
    """One part of a step in each lane that searches: go on, stop at a crossing, or halve it."""
    begin, width = s.load("FROM"), s.load("WIDE")
    end = s.binary("fadd", begin, width)
    s.store("POS", end)
    s.call_all(calls("bounds"))
    tries = s.binary("fadd", s.load("TRIES"), s.const(1.0))
    s.store("TRIES", tries)
    spent = s.compare("oge", tries, s.const(float(_PASSES)))
    clear = s.compare("ogt", s.load("CLEAR"), s.const(0.0))
    fine = s.compare("ole", width, s.pick(spent, s.const(_COARSE), s.const(_FINEST)))
    judged = s.both(searching, s.get(f"or {s.M} {clear}, {fine}"))
    met = s.compare("ogt", s.load("CROSS"), s.const(0.0))
    crossed = s.both(judged, met)
    passed = s.both(judged, s.get(f"xor {s.M} {met}, {s.trues()}"))
    unknown = s.both(passed, s.get(f"xor {s.M} {clear}, {s.trues()}"))
    more = s.get(f"zext {s.M} {unknown} to {s.I}")
    s.store("DOUBT", s.get(f"add {s.I} {s.load('DOUBT', kind=s.I)}, {more}"), kind=s.I)
    s.store("LOW", s.pick(crossed, begin, s.load("LOW")))
    s.store("HIGH", s.pick(crossed, end, s.load("HIGH")))
    s.store("FOUND", s.pick(crossed, s.const(1.0), s.load("FOUND")))
    with s.loop(count) as k:
        s.store("TRIED", s.pick(passed, s.load("LEVEL", k), s.load("TRIED", k)), k)
    s.store("FROM", s.pick(crossed, s.const(1.0), s.pick(passed, end, begin)))
    left = s.binary("fsub", s.const(1.0), end)
    double = s.binary("fadd", width, width)
    wider = s.pick(s.compare("olt", double, left), double, left)
    s.store("WIDE", s.pick(passed, wider, s.binary("fmul", width, s.const(0.5))))


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
