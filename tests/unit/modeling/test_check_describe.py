"""Reports and cards: what is said of a model."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from galenic import Conserved, Input, Model, Output, Parameter, Part, State, Variable, der, sqrt
from galenic.modeling.describe import Card
from galenic.modeling.source import symbol
from galenic.modeling.system import System

from . import tanks


def test_a_sound_model_has_a_clean_report():
    report = tanks.TwoTanks().check()

    assert report.ok
    assert report.findings == ()
    assert report.counts["states"] == 2
    assert json.loads(json.dumps(report.to_dict()))["ok"]
    assert str(report).startswith("TwoTanks: ok (2 states")


def test_open_ports_of_parts_are_named():
    (finding,) = tanks.Line(n=2).check().of("open port")

    assert "tanks[0].inlet" in finding.text
    assert finding.severity == "warning"


def test_unused_parameters_are_named():
    class Idle(tanks.StirredTank):
        """A parameter too many."""

        colour = Parameter(1.0, "1")
        wind = Input(1.0, "m/s")

    report = Idle().check()

    assert "colour" in report.of("unused parameter")[0].text
    assert "wind" in report.of("unused input")[0].text
    assert report.ok


def test_a_broken_balance_is_named():
    class Leaky(tanks.StirredTank):
        """Forgets the reaction in its balance."""

        def conserved(m):
            gain = m.inlet.flow * m.inlet.c - m.outlet.flow * m.outlet.c
            yield Conserved("A", amount=m.V * m.c, inflow=gain)
            yield Conserved("volume", amount=m.V, inflow=0)

    report = Leaky().check()

    (finding,) = report.of("conservation")
    assert "'A' is not kept" in finding.text
    assert not report.ok


def test_a_balance_may_rest_on_implicit_variables():
    class Buffer(Model):
        """Total of a dissolved species that dissociates: T = h + h^2."""

        total = State(2.0, "1")
        h = Variable("1", guess=1.0)

        def equations(m):
            yield m.h + m.h**2 == m.total
            yield der(m.total) == -m.h / "1 s"

        def conserved(m):
            yield Conserved("total", amount=m.h + m.h**2, inflow=-m.h / "1 s")

    assert Buffer().check().ok


def test_a_start_that_is_not_finite_is_named():
    class Edge(Model):
        """Slope of a root at zero."""

        a = State(0.0, "m^2")

        def equations(m):
            yield der(m.a) == "1 m/s" * sqrt(m.a)

    (finding,) = Edge().check().of("start")

    assert "the slope of der(a) over a" in finding.text


def test_rank_lost_at_zero_flow_is_a_warning():
    class Ratio(Model):
        """Content from a flow balance that is empty at zero flow."""

        flow = Input(1.0, "kg/s")
        active = Input(0.1, "kg/s")
        x = Output("1")

        def equations(m):
            yield m.flow * m.x == m.active

    (finding,) = Ratio().check().of("dependent")

    assert finding.severity == "warning"
    assert "zero flow" in finding.text
    assert "x" in finding.text


def test_errors_of_units_and_structure_are_findings_too():
    class Wrong(Model):
        """Two wrongs."""

        a = State(1.0, "kg")

        def equations(m):
            yield der(m.a) == m.a

    report = Wrong().check()

    assert report.errors[0].kind == "units"
    assert "Wrong.equations" in report.errors[0].where
    with Console(width=100).capture() as captured:
        pass
    console = Console(width=100)
    with console.capture() as captured:
        console.print(report)
    assert "not usable" in captured.get()


def test_a_card_shows_equations_as_written():
    card = tanks.StirredTank().card()

    (balance, flow, _) = card.equations()
    assert balance.text == ("der(c) == dilution * (inlet.c - c) - k * c, dilution = inlet.flow / V")
    assert balance.latex.startswith(r"\frac{d c}{d t} = \mathrm{dilution} \, \left(")
    assert flow.text == "outlet.flow == inlet.flow"
    assert card.title == "Ideally mixed tank in which A decays by first order."


def test_a_card_lists_quantities_in_declared_units():
    facts = tanks.StirredTank(V="5 L").card().to_dict()

    rows = {row["path"]: row for row in facts["parameters"]}
    assert (rows["V"]["value"], rows["V"]["unit"]) == (5.0, "L")
    assert (rows["k"]["spread"], rows["k"]["source"]) == (0.05, "assumed")
    assert facts["identity"] == tanks.StirredTank(V="5 L").flatten().identity
    json.dumps(facts, allow_nan=False)


def test_a_card_prints_and_typesets():
    card = tanks.Recycle().card()

    assert "branch.share1" in str(card)
    latex = tanks.StirredTank().latex()
    assert r"\begin{align}" in latex and r"\end{tabular}" in latex
    assert latex.count("&=") == 3
    assert latex.count("{") == latex.count("}")


def test_parts_of_one_class_share_their_equations_on_the_card():
    assert len(tanks.Line(n=20).card().equations()) == 3


def test_a_system_has_a_card_without_its_class():
    system = tanks.StirredTank().flatten()

    again = Card.of(System.deserialise(system.serialise()))

    assert again.to_dict()["equations"] == tanks.StirredTank().card().to_dict()["equations"]


@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("k", "k"), ("k_in", r"k_{\mathrm{in}}"), ("tau_ref", r"\tau_{\mathrm{ref}}"),
        ("c2", "c_{2}"), ("CL", r"\mathrm{CL}"), ("eps", r"\mathrm{eps}"),
    ],
)  # fmt: skip
def test_symbols_follow_the_literature(name, latex):
    assert symbol(name) == latex


def test_parts_are_described_as_a_tree():
    parts = tanks.Recycle().flatten().parts

    assert [part.path for part in parts.parts] == ["junction", "first", "second", "branch"]
    assert parts.parts[1].title == "Ideally mixed tank in which A decays by first order."
    assert Part(tanks.StirredTank).overrides == {}
