"""Fields against analytic solutions; tables against scipy."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from galenic import (
    Conserved,
    Experiment,
    Field,
    Grid,
    Input,
    Model,
    Output,
    Parameter,
    Size,
    Table,
    der,
)  # fmt: skip
from galenic.errors import StructureError, UnitError
from galenic.modeling.expression import Expression
from galenic.modeling.tables import interpolate
from galenic.units import unit

from . import evaluate


class Tube(Model):
    """Convection, dispersion and first-order decay in a tube."""

    n = Size(100)
    L = Parameter(1.0, "m", "length", lower=0)
    v = Input(0.1, "m/s", "velocity")
    D = Parameter(0.01, "m^2/s", "dispersion", lower=0)
    k = Parameter(0.1, "1/s", "rate", lower=0)
    c_in = Input(1.0, "mol/m^3", "inlet concentration")
    z = Grid("L", n)
    c = Field(z, 0.0, "mol/m^3", "concentration")
    out = Output("mol/m^3", "outlet concentration")
    scheme = "van leer"

    def equations(m):
        flux = m.z.convection(m.c, m.v, inlet=m.c_in, scheme=m.scheme) + m.z.dispersion(m.c, m.D)
        yield der(m.c) == -m.z.divergence(flux) - m.k * m.c
        yield m.out == m.z.at_outlet(m.c)

    def conserved(m):
        held = m.z.integral(m.c)
        gain = m.v * m.c_in - m.v * m.z.at_outlet(m.c) - m.k * m.z.integral(m.c)
        if m.scheme == "upwind":
            yield Conserved("A", amount=held, inflow=gain)


class UpwindTube(Tube):
    """The same with the first-order scheme."""

    scheme = "upwind"


def outlet_of_danckwerts(peclet, damkohler):
    """Outlet over inlet concentration, closed-closed vessel (Danckwerts 1953, eq. 37)."""
    a = np.sqrt(1 + 4 * damkohler / peclet)
    top = 4 * a * np.exp(peclet / 2)
    return top / ((1 + a) ** 2 * np.exp(a * peclet / 2) - (1 - a) ** 2 * np.exp(-a * peclet / 2))


@pytest.mark.parametrize(("n", "tolerance"), [(50, 1e-3), (200, 1e-4)])
def test_steady_conversion_is_that_of_danckwerts(n, tolerance):
    result = Tube(n=n).simulate(until="200 s", every="100 s")

    expected = outlet_of_danckwerts(peclet=10.0, damkohler=1.0)

    assert float(result["out"][-1]) == pytest.approx(expected, rel=tolerance)


def test_residence_time_has_mean_and_variance_of_the_closed_vessel():
    experiment = Experiment().set("c_in", 0.0).set("c_in", 1.0, at="10 s")

    result = Tube(n=100, k=0.0).simulate(experiment, until="80 s", every="0.1 s")

    t = np.arange(0, 70.05, 0.1)
    late = 1 - np.array([result.at(10 + s)["out"] for s in t])
    mean = np.trapezoid(late, t)
    variance = 2 * np.trapezoid(t * late, t) - mean**2
    # Levenspiel, closed vessel: 2/Pe - 2/Pe^2 (1 - exp(-Pe)), Pe = 10
    assert mean == pytest.approx(10.0, rel=1e-3)
    assert variance / mean**2 == pytest.approx(0.2 - 0.02 * (1 - np.exp(-10)), rel=0.01)


def test_what_leaves_one_cell_enters_the_next():
    assert UpwindTube(n=7).check().ok


def test_diffusion_between_held_ends_is_a_straight_line():
    class Slab(Model):
        """A slab between two temperatures."""

        n = Size(10)
        z = Grid("20 cm", n)
        T = Field(z, "20 degC", "degC", "temperature")

        def equations(m):
            flux = m.z.dispersion(m.T, "1e-4 m^2/s", inlet="100 degC", outlet="0 degC")
            yield der(m.T) == -m.z.divergence(flux)

    result = Slab().simulate(until="2 h", every="1 h")

    last = [float(result[f"T[{i}]"][-1]) for i in range(10)]
    assert last == pytest.approx([95 - 10 * i for i in range(10)], abs=1e-3)


def test_a_flow_may_reverse():
    system = UpwindTube(n=3, D=0.0, k=0.0).flatten()

    rates = evaluate.at(system, system.ode, v=-0.1, **{"c[0]": 1.0, "c[1]": 2.0, "c[2]": 4.0})

    assert rates == pytest.approx([0.3, 0.6, 0.0])


def test_fields_of_the_wrong_shape_are_named():
    def bad(body):
        return type("Bad", (Tube,), {"equations": body, "__doc__": "Bad."})(n=4)

    with pytest.raises(StructureError, match="a flux of shape"):
        bad(lambda m: [der(m.c) == m.z.divergence(m.c * m.v)]).flatten()
    with pytest.raises(StructureError, match="a field of shape"):
        bad(lambda m: [der(m.c) == m.z.integral(m.c_in)]).flatten()
    with pytest.raises(StructureError, match="no scheme 'central'"):
        bad(lambda m: [m.out == m.z.convection(m.c, m.v, inlet=0, scheme="central")]).flatten()
    with pytest.raises(UnitError, match="use as a length"):
        type("Bad", (Tube,), {"z": Grid("k", 4)})(n=4).flatten()


POINTS = ([0.0, 1.0, 2.5, 4.0, 5.0], [0.0, 2.0, 3.0, 3.0, 1.0])


@pytest.mark.parametrize("kind", ["linear", "smooth"])
def test_tables_agree_with_scipy(kind):
    x = Expression(ca.SX.sym("x"), unit("bar"))
    y = Table(POINTS[0], "bar", POINTS[1], "g/min", kind=kind)(x)
    at = np.linspace(-1, 6, 57)

    found = np.asarray(ca.Function("f", [x.sx], [y.sx]).map(at.size)(at[None] * 1e5)).ravel()

    inside = np.clip(at, 0, 5)
    if kind == "linear":
        expected = np.interp(inside, *POINTS)
    else:
        expected = PchipInterpolator(*POINTS)(inside)
        edges = (at < 1) | (at > 4)  # scipy uses another end slope
        expected, found = expected[~edges], found[~edges]
    assert found * 60e3 == pytest.approx(expected, abs=1e-9)


def test_tables_check_units_and_points():
    x = Expression(ca.SX.sym("x"), unit("bar"))

    assert interpolate(x, [0, 1], "bar", [0, 1], "kg").unit == unit("kg")
    with pytest.raises(UnitError, match="look up"):
        interpolate(x, [0, 1], "kg", [0, 1], "kg")
    with pytest.raises(StructureError, match="must rise"):
        Table([0, 0], "bar", [1, 2], "kg")
    with pytest.raises(StructureError, match="a table of"):
        Table([0], "bar", [1], "kg")


def test_a_table_belongs_to_a_model():
    class Valve(Model):
        """A measured curve."""

        opening = Input(0.5, "1")
        curve = Table([0, 1], "1", [0, 10], "L/min")
        flow = Output("L/min")

        def equations(m):
            yield m.flow == m.curve(m.opening)

    assert evaluate.output(Valve().flatten(), "flow") == pytest.approx(5e-3 / 60)
