"""From parts and ports to one System: recycles, implicit equations, what cannot be solved."""

from __future__ import annotations

import subprocess
import sys
import time

import casadi as ca
import numpy as np
import pytest

from galenic import Model, Output, Parameter, Part, Port, State, Variable, der
from galenic.errors import StructureError
from galenic.modeling.ports import Flow, Mixer, PortType, Powder, Property, signal
from galenic.modeling.system import System

from . import evaluate, tanks


def test_a_recycle_is_solved_as_one_system():
    system = tanks.Recycle().flatten()

    flow = evaluate.output(system, "first.inlet.flow", feed__flow=0.7)
    joined = evaluate.output(
        system, "junction.outlet.c", feed__flow=0.7, feed__c=2.0, second__c=1.0
    )

    # F = F0 + 0.3 F gives F0 / 0.7; mixed: 0.7 of the feed, 0.3 of the recycle
    assert len(system.algebraics) == 0
    assert flow == pytest.approx(1.0)
    assert joined == pytest.approx(0.7 * 2 + 0.3 * 1)


def test_mixing_is_defined_at_zero_flow():
    system = tanks.Recycle().flatten()
    i = system.index("junction.outlet.c")[1]
    slope = ca.jacobian(system.y[i], ca.vertcat(system.u, system.x))

    value, slopes = evaluate.at(
        system, system.y[i], slope, feed__flow=0.0, feed__c=2.0, second__c=1.0
    )

    assert value == pytest.approx(1.5)
    assert np.all(np.isfinite(slopes))


def test_mixing_conserves_exactly_when_flow_is_normal():
    system = tanks.Recycle().flatten()

    report = tanks.Recycle().check()

    assert report.of("conservation") == ()
    assert evaluate.output(system, "product.flow", feed__flow=0.5) == pytest.approx(0.5)


def test_a_second_connection_is_refused():
    class Twice(tanks.TwoTanks):
        """Connects an outlet twice."""

        third = Part(tanks.StirredTank)

        def connections(m):
            yield from super().connections()
            yield m.first.outlet >> m.third.inlet

    with pytest.raises(StructureError, match="connected a second time as outlet") as caught:
        Twice().flatten()

    assert "Splitter" in caught.value.hint
    assert "m.first.outlet >> m.third.inlet" in caught.value.where


def test_different_materials_cannot_be_connected():
    class Silo(Model):
        """A source of powder."""

        outlet = Port(Powder)

        def equations(m):
            yield m.outlet.flow == "1 kg/h"
            yield m.outlet.x == 0.1

    class Wrong(Model):
        """Powder into a tank for liquid."""

        silo = Part(Silo)
        tank = Part(tanks.StirredTank)

        def connections(m):
            yield m.silo.outlet >> m.tank.inlet

    with pytest.raises(StructureError, match=r"carries Powder, tank\.inlet takes Liquid"):
        Wrong().flatten()


def test_port_types_are_extended_by_members():
    class Sized(Powder):
        """Powder with a particle size."""

        d50 = Property("um", "median particle size")

    class Heat(PortType):
        """Heat."""

        power = Flow("W")

    junction = Mixer(Sized, 3)().flatten()

    assert "inlet3.d50" in {e.path for e in junction.inputs}
    assert "outlet.d50" in {e.path for e in junction.outputs}
    assert list(Sized.members) == ["flow", "x", "d50"]
    assert Heat.flow_name() == "power"
    assert signal("kg/h") is signal("kg/h")


def test_what_is_implicit_and_linear_is_solved():
    class Bridge(Model):
        """Two nodes between resistors."""

        a = Variable("V")
        b = Variable("V")
        R = Parameter(2.0, "ohm")
        x = State(1.0, "V")

        def equations(m):
            yield (m.x - m.a) / m.R == (m.a - m.b) / m.R
            yield (m.a - m.b) / m.R == m.b / m.R
            yield der(m.x) == -m.a / "1 s"

    system = Bridge().flatten()

    assert len(system.algebraics) == 0
    assert evaluate.output(system, "a") == pytest.approx(2 / 3)
    assert evaluate.output(system, "b") == pytest.approx(1 / 3)


def test_what_is_nonlinear_stays_algebraic():
    class Valve(Model):
        """A level drained through a root law, written implicitly."""

        h = State(4.0, "m")
        v = Variable("m/s", "velocity", guess=1.0)
        y = Output("m^2/s^2")

        def equations(m):
            yield m.v**2 == 2 * m.h * "9.81 m/s^2"
            yield m.y == m.v * m.v
            yield der(m.h) == -m.v * 0.01

    system = Valve().flatten()

    assert [e.path for e in system.algebraics] == ["v"]
    assert evaluate.at(system, system.alg, v=(2 * 4 * 9.81) ** 0.5) == pytest.approx(0, abs=1e-12)
    assert evaluate.output(system, "y", v=3.0) == pytest.approx(9.0)


def test_derivatives_may_appear_implicitly_but_linearly():
    class Coupled(Model):
        """A mass matrix."""

        V = Parameter(2.0, "m^3")
        a = State(1.0, "kg/m^3")
        b = State(1.0, "kg/m^3")

        def equations(m):
            yield m.V * der(m.a) + m.V * der(m.b) == "-4 kg/s"
            yield der(m.a) == der(m.b)

    system = Coupled().flatten()

    assert evaluate.at(system, system.ode) == pytest.approx([-1, -1])


def test_a_nonlinear_derivative_is_refused():
    class Bad(Model):
        """Squared derivative."""

        a = State(1.0, "kg")

        def equations(m):
            yield der(m.a) ** 2 == "4 kg^2/s^2"

    with pytest.raises(StructureError, match=r"der\(a\) is given only implicitly"):
        Bad().flatten()


def test_a_loop_of_pass_throughs_has_one_equation_too_few():
    class Loop(Model):
        """Two tanks in a ring: nothing says how much flows."""

        a = Part(tanks.StirredTank)
        b = Part(tanks.StirredTank)

        def connections(m):
            yield m.a.outlet >> m.b.inlet
            yield m.b.outlet >> m.a.inlet

    with pytest.raises(StructureError, match="dependent equations") as caught:
        Loop().flatten()

    assert "a.inlet.flow" in caught.value.found
    assert "b.outlet >> a.inlet" in caught.value.where
    assert "pure pass-throughs" in caught.value.hint


def test_an_index_above_one_is_refused_with_an_explanation():
    class Pendulum(Model):
        """Cartesian pendulum: the rod constrains positions."""

        x = State(1.0, "m")
        y = State(0.0, "m")
        vx = State(0.0, "m/s")
        vy = State(0.0, "m/s")
        pull = Variable("1/s^2")

        def equations(m):
            yield der(m.x) == m.vx
            yield der(m.y) == m.vy
            yield der(m.vx) == -m.pull * m.x
            yield der(m.vy) == -m.pull * m.y - "9.81 m/s^2"
            yield m.x**2 + m.y**2 == "1 m^2"

    with pytest.raises(StructureError, match="index above one") as caught:
        Pendulum().flatten()

    assert "constrains the states x, y" in caught.value.found
    assert "x ** 2 + y ** 2 == '1 m^2'" in caught.value.where
    assert "differentiate" in caught.value.hint


def test_a_missing_equation_is_named():
    class Missing(Model):
        """Nothing gives b."""

        a = State(1.0, "kg")
        b = Variable("kg/s")

        def equations(m):
            yield der(m.a) == -m.b

    with pytest.raises(StructureError, match="1 equations for 2 unknowns") as caught:
        Missing().flatten()

    assert "no equation determines" in caught.value.hint
    assert "b" in caught.value.hint


def test_an_extra_equation_is_named():
    class Extra(Model):
        """b is given twice."""

        a = State(1.0, "kg")
        b = Variable("kg")

        def equations(m):
            yield der(m.a) == -m.a / "1 s"
            yield m.b == m.a
            yield m.b == 2 * m.a

    with pytest.raises(StructureError, match="3 equations for 2 unknowns") as caught:
        Extra().flatten()

    assert "b == 2 * a" in caught.value.where
    assert "extra" in caught.value.hint


def test_a_system_travels_without_its_class():
    system = tanks.Recycle().flatten()
    code = (
        "import sys; from galenic.modeling.system import System;"
        "s = System.deserialise(sys.stdin.buffer.read());"
        "print(s.identity, 'galenic.modeling.model' in sys.modules, s.ode.shape[0])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], input=system.serialise(), capture_output=True, check=True
    )

    assert done.stdout.decode().split() == [system.identity, "False", "2"]
    again = System.deserialise(system.serialise())
    assert again.serialise() == system.serialise()
    assert again.parts == system.parts
    assert again.states == system.states


def test_identity_follows_equations_and_values_not_lines():
    one, two = tanks.StirredTank().flatten(), tanks.StirredTank().flatten()

    assert one.identity == two.identity
    assert one.identity != tanks.StirredTank(V="5 L").flatten().identity


def test_open_inlets_become_inputs():
    system = tanks.Line(n=2).flatten()

    assert [e.path for e in system.inputs] == ["tanks[0].inlet.flow", "tanks[0].inlet.c"]
    assert system.connections == (("tanks[0].outlet", "tanks[1].inlet"),)
    assert system.parts.parts[0].ports == (("inlet", "Liquid"), ("outlet", "Liquid"))


def test_a_line_of_a_thousand_tanks_is_ready_within_three_seconds():
    line = tanks.Line(n=1000)

    start = time.process_time()
    system = line.flatten()
    report = line.check()
    unknown = ca.vertcat(system.x, system.z)
    ca.Function("rhs", [system.x, system.u, system.p], [system.ode], {"cse": True})
    ca.Function("slope", [system.x, system.u, system.p], [ca.jacobian(system.ode, unknown)])
    spent = time.process_time() - start

    assert len(system.states) == 1000
    assert report.ok
    assert spent < 3.0
