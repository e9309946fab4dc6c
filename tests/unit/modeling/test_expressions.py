"""Expressions: units checked on the author's line, and the traps of symbolic code."""

from __future__ import annotations

import math

import casadi as ca
import numpy as np
import pytest

from galenic import Model, Output, Parameter, State, Variable, der, quantity
from galenic.errors import ModelError, StructureError, UnitError
from galenic.modeling import functions as fn
from galenic.modeling.expression import Expression, lift, record
from galenic.units import unit

from . import evaluate, tanks


@pytest.fixture(autouse=True)
def recording():
    """Equations may be made freely in these tests."""
    before = record([])
    yield
    record(before)


def of(text, name="q"):
    return Expression(ca.SX.sym(name), unit(text))


class LostVolume(tanks.StirredTank):
    """A tank whose balance lacks the division by V."""

    def equations(m):
        yield der(m.c) == m.inlet.flow * (m.inlet.c - m.c) - m.k * m.c


def test_a_lost_division_names_units_line_and_cure():
    with pytest.raises(UnitError) as caught:
        LostVolume().flatten()

    message = str(caught.value).splitlines()
    assert message[0] == "cannot subtract [1/min * mol/L] from [mol/min]"
    assert message[1].startswith("  in LostVolume.equations, test_expressions.py:")
    assert message[2] == ("    yield der(m.c) == m.inlet.flow * (m.inlet.c - m.c) - m.k * m.c")
    assert message[3] == "  hint: the left term lacks a division by a volume"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: of("kg") + of("m"), r"cannot add \[m\] to \[kg\]"),
        (lambda: of("kg") - of("m"), r"cannot subtract \[m\] from \[kg\]"),
        (lambda: of("kg") > of("m"), r"cannot compare \[kg\] with \[m\]"),
        (lambda: of("kg") < 5, r"cannot compare \[kg\] with \[1\]"),
        (lambda: of("kg") + 1, r"cannot add \[1\] to \[kg\]"),
        (lambda: of("kg") == of("s"), r"the left side is \[kg\], the right side \[s\]"),
        (lambda: fn.exp(of("kg")), r"cannot take exp of \[kg\]"),
        (lambda: np.log(of("kg")), r"cannot take log of \[kg\]"),
        (lambda: fn.where(of("s") > 0, of("kg"), of("m")), r"cannot choose between \[kg\] and"),
        (lambda: fn.minimum(of("kg"), of("m")), r"cannot take the minimum of \[kg\] and \[m\]"),
        (lambda: fn.vertcat(of("kg"), of("m")), r"cannot stack \[kg\] and \[m\]"),
        (lambda: of("kg") ** of("1"), r"the base of a symbolic power has unit \[kg\]"),
        (lambda: of("1") ** of("s"), r"the exponent of a symbolic power has unit \[s\]"),
        (lambda: 2 ** of("s"), r"the exponent of a symbolic power has unit \[s\]"),
        (lambda: of("degC") + of("degC"), r"both are points on a scale"),
        (lambda: of("degC") > of("delta_degC"), r"cannot compare"),
        (lambda: of("rpm") + of("1/min"), r"cannot add \[1/min\] to \[rpm\]"),
    ],
)
def test_units_that_do_not_go_together(make, message):
    with pytest.raises(UnitError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: of("kg") + of("g"), "kg"),
        (lambda: of("L/min") * of("mol/L"), "mol/min"),
        (lambda: of("kg") / of("kg"), "1"),
        (lambda: of("m") ** 2, "m^2"),
        (lambda: fn.sqrt(of("m^2")), "m"),
        (lambda: of("kg") + 0, "kg"),
        (lambda: 0 - of("kg"), "kg"),
        (lambda: 1 / of("s"), "Hz"),
        (lambda: of("degC") - of("degC"), "K"),
        (lambda: of("degC") + of("delta_degC"), "K"),
        (lambda: of("kg") + "5 mg", "kg"),
        (lambda: quantity("2 m") * of("s"), "m*s"),
        (lambda: np.float64(2) * of("s"), "s"),
        (lambda: fn.maximum(of("kg"), 0), "kg"),
        (lambda: fn.clip(of("bar"), 0, "3 bar"), "Pa"),
        (lambda: fn.where(of("1") > 0.5, of("kg"), 0), "kg"),
        (lambda: fn.smooth_maximum(of("kg"), 0, "1 g"), "kg"),
        (lambda: fn.number_in(of("mg"), "g") + 1, "1"),
        (lambda: fn.as_unit(of("1"), "kg") + of("kg"), "kg"),
    ],
)
def test_units_of_results(make, text):
    assert make().unit.same_dimension(unit(text))


def test_a_difference_of_temperatures_is_no_point():
    warmer = of("degC") - of("degC")
    shifted = of("degC") + of("delta_degC")

    assert not warmer.unit.is_temperature_point
    assert shifted.unit.is_temperature_point


@pytest.mark.parametrize(
    "use",
    [
        lambda: bool(of("kg")),
        lambda: bool(of("kg") > 0),
        lambda: bool(of("kg") == of("kg")),
        lambda: max(of("kg"), of("kg", "b")),
        lambda: of("kg") > 0 and of("kg") < 1,
        lambda: float(of("1")),
        lambda: math.exp(of("1")),
        lambda: fn.where(of("1") == 1, 1, 2),
        lambda: (of("1") > 0) * of("1") + (of("1") == of("1")),
        lambda: of("1") != 2,
        lambda: of("1") + object(),
        lambda: np.cumsum(np.array([1.0]) * of("1")),
    ],
)
def test_what_python_would_decide_too_early_is_refused(use):
    with pytest.raises(ModelError):
        use()


def test_shapes_that_do_not_go_together_are_named():
    a = Expression(ca.SX.sym("a", 2))
    b = Expression(ca.SX.sym("b", 3))

    with pytest.raises(StructureError, match="shapes"):
        a + b
    with pytest.raises(StructureError, match="shape"):
        _ = a == b
    with pytest.raises(StructureError, match="shapes"):
        fn.dot(a, b)
    with pytest.raises(IndexError):
        a[5]
    assert len(list(a)) == 2


@pytest.mark.parametrize(
    "name",
    ["exp", "log", "log10", "sin", "cos", "tan", "tanh", "sinh", "cosh", "atan", "erf", "sqrt",
     "expm1", "log1p"],
)  # fmt: skip
def test_functions_agree_with_plain_numbers(name):
    x = Expression(ca.SX.sym("x"))

    traced = ca.Function("f", [x.sx], [getattr(fn, name)(x).sx])

    assert float(traced(0.7)) == pytest.approx(getattr(fn, name)(0.7), rel=1e-14)


def test_numpy_functions_and_arrays_work_on_expressions():
    x = Expression(ca.SX.sym("x", 2))

    y = np.array([1.0, 2.0]) * x + np.exp(x) + np.maximum(x, 0)

    value = np.asarray(ca.Function("f", [x.sx], [y.sx])([0.5, 1.0]), float).ravel()
    assert value == pytest.approx([0.5 + math.exp(0.5) + 0.5, 2 + math.e + 1])


def test_saturations():
    x = Expression(ca.SX.sym("x"))
    results = [
        fn.clip(x, 0, 1),
        fn.smooth_clip(x, 0, 1, 0.01),
        fn.smooth_step(x, 0.1),
        fn.where((x > 0) & ~(x > 1), x, 5),
        fn.where((x < 0) | (x > 1), fn.log(x), 5),
    ]

    f = ca.Function("f", [x.sx], [r.sx for r in results])

    assert [float(v) for v in f(0.5)] == pytest.approx([0.5, 0.5, 1.0, 0.5, 5], abs=1e-4)
    hard, smooth, step, choice, _ = (float(v) for v in f(-1.0))
    assert (hard, choice) == (0, 5)
    assert smooth == pytest.approx(0, abs=1e-4)
    assert step == pytest.approx(0, abs=1e-8)


def test_the_branch_not_taken_does_no_harm():
    x = Expression(ca.SX.sym("x"))
    safe = fn.where(x > 0, fn.log(x), 0)

    f = ca.Function("f", [x.sx], [safe.sx, ca.jacobian(safe.sx, x.sx)])

    value, slope = (float(v) for v in f(-1.0))
    assert (value, slope) == (0.0, 0.0)


def test_an_equation_outside_of_tracing_is_refused():
    record(None)

    with pytest.raises(ModelError, match="outside"):
        _ = lift(1) == lift(2)


class Forgot(tanks.StirredTank):
    """An equation is made but not yielded."""

    def equations(m):
        m.outlet.flow == m.inlet.flow  # noqa: B015
        yield der(m.c) == -m.k * m.c
        yield m.outlet.c == m.c


def test_an_equation_that_was_not_yielded_is_an_error():
    with pytest.raises(StructureError, match="made but not yielded") as caught:
        Forgot().flatten()

    assert "m.outlet.flow == m.inlet.flow" in caught.value.where


def test_der_is_for_states():
    class Bad(Model):
        """Derivative of a parameter."""

        a = Parameter(1.0, "kg")
        b = State(1.0, "kg")

        def equations(m):
            yield der(m.a) == 0

    with pytest.raises(ModelError, match="a has no derivative"):
        Bad().flatten()


def test_what_is_yielded_must_be_an_equation():
    class Bad(Model):
        """Yields a truth value."""

        b = State(1.0, "kg")

        def equations(m):
            yield m.b > "1 kg"

    with pytest.raises(StructureError, match="yields a Condition"):
        Bad().flatten()


def test_a_carrier_of_units_through_arrays_and_sums():
    class Mix(Model):
        """Sums over arrays."""

        a = State([1.0, 2.0], "g", shape=2)
        mass = Output("kg")
        share = Variable("1")
        product = Output("g^2")

        def equations(m):
            yield der(m.a) == 0 * m.a / "1 s"
            yield m.mass == fn.total(m.a)
            yield m.share == m.a[0] / m.mass
            yield m.product == fn.dot(m.a, m.a) + fn.mean(m.a) * m.mass * 0

    system = Mix().flatten()

    assert evaluate.output(system, "mass") == pytest.approx(3e-3)
    assert evaluate.output(system, "share") == pytest.approx(1 / 3)
    assert evaluate.output(system, "product") == pytest.approx(5e-6)
