"""A model as an author writes it: declarations, references, overrides, parts, sizes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import galenic
from galenic import (
    Input,
    Model,
    Output,
    Parameter,
    Part,
    Parts,
    Port,
    Size,
    State,
    der,
    plugins,
    total,
)  # fmt: skip
from galenic.errors import ModelError, StructureError, UnitError, UnknownName
from galenic.modeling.declare import Ref
from galenic.modeling.ports import Liquid

from . import evaluate, tanks


def test_a_tank_becomes_one_differential_equation():
    system = tanks.StirredTank().flatten()

    rate = evaluate.at(system, system.ode, inlet__flow=1e-3, inlet__c=100.0, c=40.0)

    # dc/dt = F/V (c_in - c) - k c = 0.1 * 60 - 0.2/60 * 40
    assert rate == pytest.approx(0.1 * 60 - 0.2 / 60 * 40)
    assert [e.path for e in system.inputs] == ["inlet.flow", "inlet.c"]
    assert [e.path for e in system.outputs] == ["outlet.flow", "outlet.c"]


def test_outside_of_equations_names_are_references():
    model = tanks.TwoTanks()

    assert model.first.c == "first.c"
    assert {model.first.c: 1}["first.c"] == 1
    assert isinstance(model.second.inlet.flow, Ref)
    assert str(model.second.inlet.flow) == "second.inlet.flow"
    assert tanks.Line(n=2).tanks[1].c == "tanks[1].c"
    assert Ref("c")[2] == "c[2]"


def test_values_are_overridden_where_a_model_is_built():
    system = tanks.TwoTanks(first={"V": "7 L", "c": "1 mol/L"}, second={"k": 0.5}).flatten()

    assert system.entry("first.V").value == pytest.approx(7e-3)
    assert system.entry("second.V").value == pytest.approx(20e-3)
    assert system.entry("second.k").value == pytest.approx(0.5 / 60)
    assert system.entry("first.c").value == pytest.approx(1000)


def test_parts_are_overridden_together_or_one_by_one():
    line = tanks.Line(n=3, tanks={"V": "2 L", 1: {"V": "4 L"}})

    system = line.flatten()

    assert [system.entry(f"tanks[{i}].V").value for i in range(3)] == pytest.approx(
        [2e-3, 4e-3, 2e-3]
    )


@pytest.mark.parametrize("wrong", [{"v": 1}, {"inlet": 1}, {"first": 2}])
def test_an_override_of_what_is_not_there_is_named(wrong):
    with pytest.raises(UnknownName, match="there is no quantity"):
        tanks.StirredTank(**wrong)


def test_an_override_with_the_wrong_unit_is_named():
    with pytest.raises(UnitError, match=r"\[kg\] to \[L\]") as caught:
        tanks.StirredTank(V="5 kg")

    assert caught.value.where == "StirredTank.V"


def test_a_mistyped_name_is_suggested():
    with pytest.raises(UnknownName, match="there is no quantity 'inlett'") as caught:
        _ = tanks.StirredTank().inlett

    assert "'inlet'" in caught.value.hint
    assert not hasattr(tanks.StirredTank(), "volume")


def test_a_model_does_not_change():
    with pytest.raises(ModelError, match="cannot be assigned"):
        tanks.StirredTank().V = 3


def test_arrays_take_their_shape_from_sizes():
    class Chain(Model):
        """Compartments that leak into the next."""

        n = Size(3)
        a = State([1.0, 0, 0], "mol", "amounts", shape=n)
        k = Parameter(0.5, "1/s", shape="n")
        left = Output("mol", "what is left")

        def equations(m):
            yield der(m.a[0]) == -m.k[0] * m.a[0]
            yield der(m.a[1:]) == m.k[:-1] * m.a[:-1] - m.k[1:] * m.a[1:]
            yield m.left == total(m.a)

    system = Chain().flatten()

    assert [e.path for e in system.states] == ["a[0]", "a[1]", "a[2]"]
    assert system.expand("a") == ("a[0]", "a[1]", "a[2]")
    assert evaluate.at(system, system.ode) == pytest.approx([-0.5, 0.5, 0])
    with pytest.raises(UnknownName, match="is an array of 3"):
        system.index("a")
    with pytest.raises(StructureError, match="3 values"):
        Chain(n=4).flatten()


def test_matrices_are_named_by_row_and_column():
    class Plate(Model):
        """A plate of cells."""

        T = State(20.0, "degC", shape=(2, 3))

        def equations(m):
            yield der(m.T) == ("10 degC" - m.T) / "1 min"

    system = Plate().flatten()

    assert [e.path for e in system.states][:3] == ["T[0,0]", "T[1,0]", "T[0,1]"]
    assert len(system.expand("T")) == 6


def test_a_size_is_a_whole_number():
    for wrong in (0, 2.5, True):
        with pytest.raises(StructureError, match="is not a size"):
            tanks.Line(n=wrong)


def test_parts_take_parameters_of_the_whole():
    class Twins(Model):
        """Two tanks that share a volume."""

        n = Size(2)
        V = Parameter(8.0, "L", "volume of all tanks")
        one = Part(tanks.StirredTank, V=V)
        rest = Parts(tanks.StirredTank, n, V=lambda m: m.V / 2)
        inner = Part(tanks.Line, n=n)

    system = Twins().flatten()

    assert "one.V" not in {e.path for e in system.parameters}
    assert evaluate.output(system, "one.V") == pytest.approx(8e-3)
    assert evaluate.output(system, "rest[1].V", V=2e-3) == pytest.approx(1e-3)
    assert len(Twins(n=4).inner.tanks) == 4


def test_a_parameter_may_follow_from_others():
    class Die(Model):
        """A die."""

        D = Parameter(8.0, "mm", "diameter")
        A = Parameter(lambda m: 0.7853981633974483 * m.D**2, "mm^2", "area")
        m0 = State(lambda m: m.A * m.depth * "1 g/mL", "mg", "mass")
        depth = Input(10.0, "mm")

        def equations(m):
            yield der(m.m0) == 0 * m.m0 / "1 s"

    system = Die().flatten()

    assert evaluate.output(system, "A") == pytest.approx(50.265e-6, rel=1e-4)
    assert system.entry("m0").value == pytest.approx(502.65e-6, rel=1e-4)


def test_an_input_of_a_part_can_be_driven_by_the_whole():
    class Motor(Model):
        """Speed follows a set point."""

        set_point = Input(0.0, "rpm", role="manipulated")
        speed = State(0.0, "rpm")

        def equations(m):
            yield der(m.speed) == (m.set_point - m.speed) / "2 s"

    class Drive(Model):
        """A motor at a fixed ratio to a command."""

        command = Input(100.0, "rpm", role="manipulated")
        motor = Part(Motor)

        def equations(m):
            yield m.motor.set_point == 2 * m.command

    system = Drive().flatten()

    assert [e.path for e in system.inputs] == ["command"]
    assert system.inputs[0].role == "manipulated"
    assert evaluate.output(system, "motor.set_point") == pytest.approx(200 / 60)


def test_names_that_models_use_themselves_are_refused():
    with pytest.raises(ModelError, match="declares 'check'"):
        type("Bad", (Model,), {"check": State(0.0, "1")})


def test_an_unknown_role_is_refused():
    with pytest.raises(ModelError, match="no input role"):
        Input(0.0, "1", role="noise")


def test_declarations_are_inherited():
    class Heated(tanks.StirredTank):
        """A tank with a temperature."""

        T = State("20 degC", "degC")

        def equations(m):
            yield from super().equations()
            yield der(m.T) == 0 * m.k * (m.T - "0 degC")

    assert [e.path for e in Heated(c=1).flatten().states] == ["c", "T"]


def test_equations_may_be_returned_as_a_list():
    class Decay(Model):
        """Decay."""

        a = State(1.0, "g")

        def equations(m):
            return [der(m.a) == -m.a / "1 h"]

    assert len(Decay().flatten().states) == 1


def test_a_part_cannot_be_flattened_alone():
    with pytest.raises(ModelError, match="is a part"):
        tanks.TwoTanks().first.flatten()


def test_a_model_travels_even_after_flattening():
    model = tanks.TwoTanks(first={"V": "7 L"})
    identity = model.flatten().identity

    again = pickle.loads(pickle.dumps(model))

    assert again.flatten().identity == identity


def test_an_open_inlet_has_defaults():
    class Fed(tanks.StirredTank):
        """A tank with a usual feed."""

        inlet = Port(Liquid, flow="2 L/min", c=0.5)

    system = Fed().flatten()

    assert system.entry("inlet.flow").value == pytest.approx(2e-3 / 60)
    assert system.entry("inlet.c").value == pytest.approx(500)
    with pytest.raises(UnknownName, match="'flo'"):
        Port(Liquid, flo=1)


def test_a_new_model_takes_less_than_25_lines(tmp_path):
    lines = [
        "from galenic import Model, Output, Parameter, State, der",
        "class Oral(Model):",
        '    """Oral dose: absorption and elimination of first order."""',
        '    ka = Parameter(1.0, "1/h", "absorption", lower=0)',
        '    CL = Parameter(5.0, "L/h", "clearance", lower=0)',
        '    V = Parameter(40.0, "L", "volume", lower=0)',
        '    gut = State(100.0, "mg", "amount in the gut", lower=0)',
        '    body = State(0.0, "mg", "amount in the body", lower=0)',
        '    c = Output("mg/L", "concentration")',
        "    def equations(m):",
        "        yield der(m.gut) == -m.ka * m.gut",
        "        yield der(m.body) == m.ka * m.gut - m.CL / m.V * m.body",
        "        yield m.c == m.body / m.V",
    ]
    path = tmp_path / "oral.py"
    path.write_text("\n".join(lines))

    model = plugins.model(f"{path}:Oral")()
    result = model.simulate("4 h", every="1 h")

    # Bateman function
    exact = 100 / 40 * 1 / (1 - 0.125) * (np.exp(-0.125 * 4) - np.exp(-4.0))
    assert float(result["c"][-1]) == pytest.approx(exact, rel=1e-5)
    assert model.check().ok
    assert r"\frac{d \mathrm{gut}}{d t}" in model.latex()


def test_every_public_name_exists():
    for name in galenic.__all__:
        assert getattr(galenic, name) is not None
    assert "der" in dir(galenic)
    with pytest.raises(AttributeError):
        _ = galenic.nothing
