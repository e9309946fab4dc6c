"""Elementary functions of vectors, written out so that every machine gives the same bits.

Errors against mpmath are in docs/validation/native.md. What is not written out here is done lane
by lane with the mathematics library of the system.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from galenic.engine.native.scribe import Layout, Scribe

LIBM = {
    "sin": 1, "cos": 1, "tan": 1, "asin": 1, "acos": 1, "atan": 1, "asinh": 1, "acosh": 1,
    "atanh": 1, "erf": 1, "fmod": 2, "remainder": 2, "atan2": 2, "hypot": 2,
}  # fmt: skip
INTRINSIC = {
    "sqrt": "llvm.sqrt", "abs": "llvm.fabs", "floor": "llvm.floor", "ceil": "llvm.ceil",
    "min": "llvm.minnum", "max": "llvm.maxnum", "copysign": "llvm.copysign",
}  # fmt: skip
_BINARY_INTRINSICS = ("llvm.minnum", "llvm.maxnum", "llvm.copysign")

_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_SHIFT = 6755399441055744.0  # 1.5 * 2**52: adding it leaves a whole number in the low bits
_LOG = (  # fdlibm, Lg1 to Lg7
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)
_HALF_PI = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)
_SIN = (  # fdlibm, S1 to S6
    -1.66666666666666324348e-01,
    8.33333333332248946124e-03,
    -1.98412698298579493134e-04,
    2.75573137070700676789e-06,
    -2.50507602534068634195e-08,
    1.58969099521155010221e-10,
)
_COS = (  # fdlibm, C1 to C6
    4.16666666666666019037e-02,
    -1.38888888888741095749e-03,
    2.48015872894767294178e-05,
    -2.75573143513906633035e-07,
    2.08757232129817482790e-09,
    -1.13596475577881948265e-11,
)
_LOG2_SHORT = (  # least squares of log2(1 + f) / f on [sqrt(1/2) - 1, sqrt(2) - 1]
    1.4426475745511165,
    -0.7205412109097553,
    0.4852140571817424,
    -0.39112317300326593,
    0.2556668716309235,
)
_EXP2_SHORT = (  # least squares of 2**r on [-1/2, 1/2]
    0.9999244814555217,
    0.693121033991551,
    0.2426400828327712,
    0.05592203564724129,
)


def declarations(layout: Layout) -> str:
    """Intrinsics and library functions that a module may call."""
    s = Scribe(layout)
    unary = ("llvm.sqrt", "llvm.fabs", "llvm.floor", "llvm.ceil", "llvm.rint")
    suffix = f".v{s.lanes}f64"
    lines = [f"declare {s.V} @{name}{suffix}({s.V})" for name in unary]
    lines += [f"declare {s.V} @{name}{suffix}({s.V}, {s.V})" for name in _BINARY_INTRINSICS]
    lines.append(f"declare {s.V} @llvm.fma{suffix}({s.V}, {s.V}, {s.V})")
    lines.append(f"declare i{s.lanes} @llvm.cttz.i{s.lanes}(i{s.lanes}, i1)")
    lines.append(f"declare i{s.lanes} @llvm.ctpop.i{s.lanes}(i{s.lanes})")
    for name, count in LIBM.items():
        lines.append(f"declare double @{name}({', '.join(['double'] * count)})")
    return "\n".join(lines) + "\n"


def functions(layout: Layout) -> str:
    """The functions that are called rather than written where they are used."""
    parts = [_function(layout, "pow", "ab", lambda s: _pow(s, "%a", "%b"))]
    for name, body in _CALLED.items():
        parts.append(_function(layout, name, "a", partial(body, x="%a")))
    parts += [_by_lane(Scribe(layout), name, count) for name, count in LIBM.items()]
    return "\n".join(parts)


def _function(layout: Layout, name: str, letters: str, body: Callable[[Scribe], str]) -> str:
    s = Scribe(layout)
    result = body(s)
    arguments = ", ".join(f"{s.V} %{letter}" for letter in letters)
    head = f"define internal {s.V} @vector_{name}({arguments}) noinline nounwind {{\nentry:\n"
    return head + "\n".join(s.lines) + f"\n ret {s.V} {result}\n}}\n"


def elementary(s: Scribe, name: str, arguments: list[str]) -> str:
    """The value of a function by its name in the graph."""
    if name in INTRINSIC:
        return s.call(INTRINSIC[name], *arguments)
    if name == "root":
        return root(s, *arguments)
    if name == "pow" or name in _CALLED:
        return s.call(f"vector_{name}", *arguments)
    if name in LIBM:
        return s.call(f"library_{name}", *arguments)
    return {"exp": exp, "log": log, "sign": sign, "two_to": two_to}[name](s, arguments[0])


def sign(s: Scribe, x: str) -> str:
    """-1, 0 or 1; nan stays nan."""
    one = s.call("llvm.copysign", s.const(1.0), x)
    return s.pick(s.compare("une", x, s.const(0.0)), s.pick(s.compare("ord", x, x), one, x), x)


def exp(s: Scribe, x: str) -> str:
    """e**x: reduction by multiples of ln 2 in two parts, Taylor polynomial of degree 13."""
    return _exp_sum(s, x, None)


def _exp_sum(s: Scribe, x: str, low: str | None) -> str:
    """exp(x + low) where low is a small correction of x."""
    large = s.const(745.2)
    t = s.pick(s.compare("ogt", x, large), large, x)
    t = s.pick(s.compare("olt", t, s.const(-745.2)), s.const(-745.2), t)
    n = s.call("llvm.rint", s.binary("fmul", t, s.const(math.log2(math.e))))
    r = s.call("llvm.fma", n, s.const(-_LN2_HIGH), t)
    r = s.call("llvm.fma", n, s.const(-_LN2_LOW), r)
    if low is not None:
        r = s.binary("fadd", r, low)
    q = s.const(1 / math.factorial(13))
    for k in range(12, -1, -1):
        q = s.call("llvm.fma", q, r, s.const(1 / math.factorial(k)))
    # 2**n in two factors, so that results below the normal range and just above it are right.
    half = s.call("llvm.floor", s.binary("fmul", n, s.const(0.5)))
    q = s.binary("fmul", q, two_to(s, half))
    q = s.binary("fmul", q, two_to(s, s.binary("fsub", n, half)))
    return s.pick(s.compare("ogt", x, s.const(709.782712893384)), s.const(math.inf), q)


def two_to(s: Scribe, n: str) -> str:
    """Exactly 2**n for a whole n from -1022 to 1023."""
    shifted = s.get(f"bitcast {s.V} {s.binary('fadd', n, s.const(_SHIFT + 1023))} to {s.I}")
    return s.get(f"bitcast {s.I} {s.get(f'shl {s.I} {shifted}, {s.whole(52)}')} to {s.V}")


def expm1(s: Scribe, x: str) -> str:
    """e**x - 1 = 2**n (e**r - 1) + (2**n - 1); at the ends of the range e**x itself."""
    n, r = _reduced(s, x)
    q = s.const(1 / math.factorial(14))
    for k in range(13, 1, -1):
        q = s.call("llvm.fma", q, r, s.const(1 / math.factorial(k)))
    q = s.call("llvm.fma", s.binary("fmul", q, r), r, r)
    power = two_to(s, n)
    inside = s.call("llvm.fma", power, q, s.binary("fsub", power, s.const(1.0)))
    outside = s.binary("fsub", exp(s, x), s.const(1.0))
    near = s.compare("olt", s.call("llvm.fabs", x), s.const(40.0))
    value = s.pick(near, inside, outside)
    return s.pick(s.compare("oeq", x, s.const(0.0)), x, value)


def _reduced(s: Scribe, x: str) -> tuple[str, str]:
    """Give n and r with x = n ln 2 + r, |r| <= ln 2 / 2."""
    n = s.call("llvm.rint", s.binary("fmul", x, s.const(math.log2(math.e))))
    r = s.call("llvm.fma", n, s.const(-_LN2_HIGH), x)
    return n, s.call("llvm.fma", n, s.const(-_LN2_LOW), r)


def log1p(s: Scribe, x: str) -> str:
    """log(1 + x) with what the sum 1 + x loses put back."""
    whole = s.binary("fadd", s.const(1.0), x)
    lost = s.binary("fsub", x, s.binary("fsub", whole, s.const(1.0)))
    value = s.binary("fadd", log(s, whole), s.binary("fdiv", lost, whole))
    limit = s.compare("oeq", whole, s.const(math.inf))
    value = s.pick(limit, x, value)
    zero = s.compare("oeq", whole, s.const(0.0))
    value = s.pick(zero, s.const(-math.inf), value)
    return s.pick(s.compare("oeq", x, s.const(0.0)), x, value)


def tanh(s: Scribe, x: str) -> str:
    """Hyperbolic tangent from t = e**(2|x|) - 1 as t / (t + 2)."""
    size = s.call("llvm.fabs", x)
    large = s.compare("ogt", size, s.const(22.0))
    t = expm1(s, s.binary("fadd", size, size))
    value = s.binary("fdiv", t, s.binary("fadd", t, s.const(2.0)))
    value = s.pick(large, s.const(1.0), value)
    return s.call("llvm.copysign", value, x)


def sinh(s: Scribe, x: str) -> str:
    """Hyperbolic sine from t = e**|x| - 1 as (t + t / (t + 1)) / 2."""
    size = s.call("llvm.fabs", x)
    t = expm1(s, size)
    part = s.binary("fdiv", t, s.binary("fadd", t, s.const(1.0)))
    value = s.binary("fmul", s.const(0.5), s.binary("fadd", t, part))
    large = s.compare("ogt", size, s.const(40.0))
    return s.call("llvm.copysign", s.pick(large, _half_exp(s, size), value), x)


def cosh(s: Scribe, x: str) -> str:
    """Hyperbolic cosine as (e**|x| + e**-|x|) / 2."""
    size = s.call("llvm.fabs", x)
    e = exp(s, size)
    value = s.binary("fmul", s.const(0.5), s.binary("fadd", e, s.binary("fdiv", s.const(1.0), e)))
    return s.pick(s.compare("ogt", size, s.const(40.0)), _half_exp(s, size), value)


def _half_exp(s: Scribe, x: str) -> str:
    """e**x / 2 without overflow before its time."""
    e = exp(s, s.binary("fmul", s.const(0.5), x))
    return s.binary("fmul", s.binary("fmul", s.const(0.5), e), e)


def sine(s: Scribe, x: str) -> str:
    """Sine; zero keeps its sign."""
    return _circular(s, x, "sin", 0)


def cosine(s: Scribe, x: str) -> str:
    """Cosine."""
    return _circular(s, x, "cos", 1)


def _circular(s: Scribe, x: str, name: str, quarter: int) -> str:
    """Reduction by pi/2 in three parts and the polynomials of fdlibm; above 2**50 the library."""
    n = s.call("llvm.rint", s.binary("fmul", x, s.const(2 / math.pi)))
    r = x
    for part in _HALF_PI:
        r = s.call("llvm.fma", n, s.const(-part), r)
    shifted = s.get(f"bitcast {s.V} {s.binary('fadd', n, s.const(_SHIFT + quarter))} to {s.I}")
    odd = s.get(f"trunc {s.I} {shifted} to {s.M}")
    second = s.get(f"lshr {s.I} {shifted}, {s.whole(1)}")
    flip = s.get(f"trunc {s.I} {second} to {s.M}")
    value = s.pick(odd, _cosine_near_zero(s, r), _sine_near_zero(s, r))
    value = s.pick(flip, s.get(f"fneg {s.V} {value}"), value)
    if quarter == 0:
        value = s.pick(s.compare("oeq", x, s.const(0.0)), x, value)
    far = s.compare("uge", s.call("llvm.fabs", x), s.const(2.0**50))
    near, beyond = s.label("near"), s.label("beyond")
    s.branch(s.any(far), beyond, near)
    s.begin(beyond)
    slow = s.pick(far, s.call(f"library_{name}", x), value)
    s.do(f"ret {s.V} {slow}")
    s.begin(near)
    return value


def _sine_near_zero(s: Scribe, r: str) -> str:
    z = s.binary("fmul", r, r)
    return s.call("llvm.fma", s.binary("fmul", z, r), _series(s, z, _SIN), r)


def _cosine_near_zero(s: Scribe, r: str) -> str:
    z = s.binary("fmul", r, r)
    half = s.binary("fmul", s.const(0.5), z)
    w = s.binary("fsub", s.const(1.0), half)
    lost = s.binary("fsub", s.binary("fsub", s.const(1.0), w), half)
    tail = s.call("llvm.fma", s.binary("fmul", z, z), _series(s, z, _COS), lost)
    return s.binary("fadd", w, tail)


def _series(s: Scribe, z: str, coefficients: tuple[float, ...]) -> str:
    total = s.const(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = s.call("llvm.fma", total, z, s.const(c))
    return total


_CALLED: dict[str, Callable[..., str]] = {
    "expm1": expm1, "log1p": log1p, "tanh": tanh, "sinh": sinh, "cosh": cosh,
    "sin": sine, "cos": cosine,
}  # fmt: skip


def root(s: Scribe, x: str, power: str) -> str:
    """x**power for a normal x > 0 to about 2e-4: good enough for a step size, and short."""
    m, k = _split(s, x)
    f = s.binary("fsub", m, s.const(1.0))
    q = s.const(_LOG2_SHORT[-1])
    for c in reversed(_LOG2_SHORT[:-1]):
        q = s.call("llvm.fma", q, f, s.const(c))
    t = s.binary("fmul", s.call("llvm.fma", q, f, k), power)
    n = s.call("llvm.rint", t)
    r = s.binary("fsub", t, n)
    p = s.const(_EXP2_SHORT[-1])
    for c in reversed(_EXP2_SHORT[:-1]):
        p = s.call("llvm.fma", p, r, s.const(c))
    return s.binary("fmul", p, two_to(s, n))


def log(s: Scribe, x: str) -> str:
    """The natural logarithm after fdlibm; log(0) = -inf, of a negative number nan."""
    m, k = _split(s, x)
    f = s.binary("fsub", m, s.const(1.0))
    ratio = s.binary("fdiv", f, s.binary("fadd", s.const(2.0), f))
    z = s.binary("fmul", ratio, ratio)
    series = s.const(_LOG[-1])
    for c in reversed(_LOG[:-1]):
        series = s.call("llvm.fma", series, z, s.const(c))
    series = s.binary("fmul", series, z)
    half = s.binary("fmul", s.binary("fmul", s.const(0.5), f), f)
    low = s.binary("fmul", ratio, s.binary("fadd", half, series))
    low = s.call("llvm.fma", k, s.const(_LN2_LOW), low)
    y = s.binary("fsub", s.binary("fsub", half, low), f)
    y = s.binary("fsub", s.binary("fmul", k, s.const(_LN2_HIGH)), y)
    return _log_edges(s, x, y)


def _split(s: Scribe, x: str) -> tuple[str, str]:
    """Give m in [sqrt(1/2), sqrt(2)) and k with x = m 2**k; subnormal numbers are scaled first."""
    tiny = s.compare("olt", x, s.const(2.2250738585072014e-308))
    scaled = s.pick(tiny, s.binary("fmul", x, s.const(2.0**54)), x)
    raw = s.get(f"bitcast {s.V} {scaled} to {s.I}")
    moved = s.get(f"add {s.I} {raw}, {s.whole((1024 << 52) - 0x3FE6A09E667F3BCD)}")
    biased = s.get(f"lshr {s.I} {moved}, {s.whole(52)}")
    exponent = s.get(f"shl {s.I} {s.get(f'sub {s.I} {biased}, {s.whole(1024)}')}, {s.whole(52)}")
    m = s.get(f"bitcast {s.I} {s.get(f'sub {s.I} {raw}, {exponent}')} to {s.V}")
    packed = s.get(f"or {s.I} {biased}, {s.whole(0x4330000000000000)}")
    k = s.get(f"bitcast {s.I} {packed} to {s.V}")
    bias = s.pick(tiny, s.const(2.0**52 + 1024 + 54), s.const(2.0**52 + 1024))
    return m, s.binary("fsub", k, bias)


def _log_edges(s: Scribe, x: str, y: str) -> str:
    zero = s.const(0.0)
    at_zero = s.pick(s.compare("oeq", x, zero), s.const(-math.inf), s.const(math.nan))
    y = s.pick(s.compare("oeq", x, s.const(math.inf)), x, y)
    return s.pick(s.compare("ogt", x, zero), y, at_zero)


def _pow(s: Scribe, x: str, y: str) -> str:
    """x**y by a logarithm of |x| in two parts; negative bases with whole exponents."""
    size = s.call("llvm.fabs", x)
    high, low = _log_pair(s, size)
    product = s.binary("fmul", high, y)
    rest = s.call("llvm.fma", high, y, s.get(f"fneg {s.V} {product}"))
    rest = s.call("llvm.fma", low, y, rest)
    usable = s.compare("olt", s.call("llvm.fabs", product), s.const(1e300))
    rest = s.pick(usable, rest, s.const(0.0))
    value = _exp_sum(s, product, rest)
    zero, one = s.const(0.0), s.const(1.0)
    positive = s.compare("ogt", y, zero)
    at_zero = s.pick(positive, zero, s.const(math.inf))
    value = s.pick(s.compare("oeq", size, zero), at_zero, value)
    at_infinity = s.pick(positive, s.const(math.inf), zero)
    value = s.pick(s.compare("oeq", size, s.const(math.inf)), at_infinity, value)
    whole = s.compare("oeq", s.call("llvm.floor", y), y)
    half = s.binary("fmul", y, s.const(0.5))
    odd = s.both(whole, s.compare("une", s.call("llvm.floor", half), half))
    signed = s.pick(odd, s.call("llvm.copysign", value, x), value)
    value = s.pick(s.compare("olt", x, zero), s.pick(whole, signed, s.const(math.nan)), signed)
    value = s.pick(s.compare("uno", x, y), s.const(math.nan), value)
    value = s.pick(s.compare("oeq", y, zero), one, value)
    return s.pick(s.compare("oeq", x, one), one, value)


def _log_pair(s: Scribe, x: str) -> tuple[str, str]:
    """The logarithm of x as a sum of two doubles, good to about 2**-70.

    log m = 2 atanh(r) with r = f / (2 + f) in two parts; the leading 2 r is exact to both parts.
    """
    m, k = _split(s, x)
    f = s.binary("fsub", m, s.const(1.0))
    below = s.binary("fadd", s.const(2.0), f)
    below_low = s.binary("fsub", f, s.binary("fsub", below, s.const(2.0)))
    r = s.binary("fdiv", f, below)
    minus = s.get(f"fneg {s.V} {r}")
    rest = s.call("llvm.fma", minus, below, f)
    rest = s.call("llvm.fma", minus, below_low, rest)
    r_low = s.binary("fdiv", rest, below)
    z = s.binary("fmul", r, r)
    z_low = s.call("llvm.fma", r, r, s.get(f"fneg {s.V} {z}"))
    z_low = s.call("llvm.fma", s.binary("fadd", r, r), r_low, z_low)
    # atanh(r)/r - 1 = z/3 + z^2/5 + ...: z/3 in two parts, the rest in one
    series = s.const(1 / 25)
    for d in (23, 21, 19, 17, 15, 13, 11, 9, 7):
        series = s.call("llvm.fma", series, z, s.const(1 / d))
    # 1/5 needs its own low part, since z^2/5 reaches 2**-8 of the result
    fifth, third = 0.2, 1 / 3
    fifth_low, third_low = -1.1102230246251566e-17, 1.850371707708594e-17
    top, top_low = _product_sum(s, series, z, fifth, fifth_low)
    top, top_low = _product_pair(s, top, top_low, z, z_low)
    total = s.binary("fadd", s.const(third), top)
    back = s.binary("fsub", total, s.const(third))
    total_low = s.binary("fadd", s.binary("fsub", top, back), s.const(third_low))
    total_low = s.binary("fadd", total_low, top_low)
    part, part_low = _product_pair(s, total, total_low, z, z_low)
    twice, twice_low = s.binary("fadd", r, r), s.binary("fadd", r_low, r_low)
    tail, tail_low = _product_pair(s, part, part_low, twice, twice_low)
    # sum: k ln2_high (exact) + 2 r + tail, largest first
    base = s.binary("fmul", k, s.const(_LN2_HIGH))
    first, error = _two_sum(s, base, twice)
    second, error2 = _two_sum(s, first, tail)
    low = s.binary("fadd", error, error2)
    low = s.binary("fadd", low, s.binary("fadd", twice_low, tail_low))
    low_ln2 = s.binary("fmul", k, s.const(_LN2_LOW))
    high, error3 = _two_sum(s, second, low_ln2)
    low = s.binary("fadd", low, error3)
    return _two_sum(s, high, low)


def _product_sum(s: Scribe, a: str, b: str, c: float, c_low: float) -> tuple[str, str]:
    """Give c + a b in two parts, |a b| < |c|."""
    product = s.binary("fmul", a, b)
    error = s.call("llvm.fma", a, b, s.get(f"fneg {s.V} {product}"))
    total = s.binary("fadd", s.const(c), product)
    low = s.binary("fsub", product, s.binary("fsub", total, s.const(c)))
    low = s.binary("fadd", s.binary("fadd", low, s.const(c_low)), error)
    return total, low


def _product_pair(s: Scribe, a: str, a_low: str, b: str, b_low: str) -> tuple[str, str]:
    """(a + a_low)(b + b_low) in two parts."""
    product = s.binary("fmul", a, b)
    low = s.call("llvm.fma", a, b, s.get(f"fneg {s.V} {product}"))
    low = s.call("llvm.fma", a, b_low, low)
    return product, s.call("llvm.fma", a_low, b, low)


def _two_sum(s: Scribe, a: str, b: str) -> tuple[str, str]:
    """The sum a + b and its rounding error (Knuth)."""
    total = s.binary("fadd", a, b)
    virtual = s.binary("fsub", total, a)
    left = s.binary("fsub", a, s.binary("fsub", total, virtual))
    return total, s.binary("fadd", left, s.binary("fsub", b, virtual))


def _by_lane(s: Scribe, name: str, count: int) -> str:
    """A vector function that calls the library for each lane."""
    letters = "ab"[:count]
    arguments = ", ".join(f"{s.V} %{letter}" for letter in letters)
    result = "poison"
    for lane in range(s.lanes):
        given = [s.get(f"extractelement {s.V} %{c}, i64 {lane}") for c in letters]
        one = s.get(f"call double @{name}({', '.join(f'double {g}' for g in given)})")
        result = s.get(f"insertelement {s.V} {result}, double {one}, i64 {lane}")
    head = f"define internal {s.V} @library_{name}({arguments}) noinline nounwind {{\nentry:\n"
    return head + "\n".join(s.lines) + f"\n ret {s.V} {result}\n}}\n"
