"""What SBML means, by formulas that can be solved on paper."""

from __future__ import annotations

import csv
import io
import math
import pickle
import re
import subprocess
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

pytest.importorskip("libsbml", reason="python-libsbml (extra sbml) reads SBML")

from galenic.engine import Simulator
from galenic.engine.export import compiler, export_c
from galenic.errors import DataError, SolveError
from galenic.modeling.sbml import NotExpressible, import_sbml

from .documents import Build

TIMES = np.linspace(0, 2, 9) + 0.013  # clear of event times
RTOL = 1e-6  # the runs are at 1e-9


def model_of(built: Build, folder: Any) -> Any:
    return import_sbml(built.write(folder)).model()


def run(built: Build, folder: Any, times: Any = TIMES) -> Any:
    return Simulator(model_of(built, folder)).run(times=times, rtol=1e-9)


def one_litre(**facts: Any) -> Build:
    return Build().compartment("C", **({"size": 2.0} | facts))


def clock() -> Build:
    """x is the time; a, b, n wait for events."""
    built = Build().parameter("x", 0.0, constant=False).rate("x", "1")
    for name, value in (("a", 1.0), ("b", 2.0), ("n", 0.0)):
        built.parameter(name, value, constant=False)
    return built


def test_species_count_as_concentrations_and_flow_as_amounts(tmp_path):
    """C k A with C = 2: A' = -k A as concentration; B gets twice the amount that A loses."""
    built = one_litre().species("A", initialAmount=3.0).species("B", initialConcentration=0.5)
    built.parameter("k", 0.7).reaction("R", "C*k*A", {"A": 1}, {"B": 2})

    result = run(built, tmp_path)
    left = np.exp(-0.7 * TIMES)

    assert_allclose(result["A"], 1.5 * left, rtol=RTOL)
    assert_allclose(result["A_amount"], 3 * left, rtol=RTOL)
    assert_allclose(result["B_amount"], 1 + 2 * 3 * (1 - left), rtol=RTOL)
    assert_allclose(result["R"], 2 * 0.7 * 1.5 * left, rtol=RTOL)


def test_a_start_concentration_follows_the_size_of_its_compartment(tmp_path):
    built = one_litre().species("A", initialConcentration=0.5, boundaryCondition=True)
    built.species("B", initialConcentration=0.5, hasOnlySubstanceUnits=True)
    built.reaction("R", "0", {}, {"B": 1})

    result = Simulator(model_of(built, tmp_path)).run(until=1, values={"C": 4})

    assert result["B"][0] == pytest.approx(2.0)


def test_amounts_stay_when_a_compartment_grows(tmp_path):
    """C = 2 exp(0.3 t); nothing touches I, whose concentration falls."""
    built = Build().compartment("C", 2.0, constant=False).rate("C", "0.3*C")
    built.species("A", initialAmount=3.0).species("I", initialConcentration=2.0)
    built.parameter("k", 0.7).reaction("R", "C*k*A", {"A": 1})

    result = run(built, tmp_path)
    size = 2 * np.exp(0.3 * TIMES)

    assert_allclose(result["A"], 3 * np.exp(-0.7 * TIMES) / size, rtol=RTOL)
    assert_allclose(result["I"], 4 / size, rtol=RTOL)


def test_units_are_declared_and_do_not_change_the_numbers(tmp_path):
    """Hours and millimoles outside, SBML's numbers inside, whatever the formulas mix."""
    built = Build(time="hour", substance="mmol", extent="mmol", volume="ml")
    built.unit("hour", ("second", 1, 0, 3600)).unit("mmol", ("mole", 1, -3, 1))
    built.unit("ml", ("litre", 1, -3, 1)).unit("per_hour", ("second", -1, 0, 3600))
    built.compartment("C", 2.0).species("A", initialAmount=3.0)
    built.parameter("k", 0.7, units="per_hour").reaction("R", "C*k*A", {"A": 1})

    model = model_of(built, tmp_path)
    result = Simulator(model).run(until="2 h", every="30 min", rtol=1e-9)
    units = {e.path: e.unit.text for e in model.flatten().entries()}

    assert (units["A"], units["A_amount"], units["k"]) == ("mmol/mL", "mmol", "1/h")
    assert units["R"] == "mmol/h"
    assert_allclose(result["A"], 1.5 * np.exp(-0.7 * np.arange(5) / 2), rtol=RTOL)


def test_units_that_do_not_agree_are_noted(tmp_path):
    built = Build(time="second", substance="mole", extent="mole", volume="litre")
    built.compartment("C", 2.0).species("A", initialAmount=3.0)
    built.parameter("k", 0.7, units="metre").reaction("R", "C*k*A", {"A": 1})

    notes = import_sbml(built.write(tmp_path)).notes

    assert any("R" in note and "units" in note for note in notes), notes


def test_functions_and_operators_have_their_values(tmp_path):
    """Against Python's own, at x = 0.4 + t."""
    formulas = {
        "ln(x)": math.log,
        "log10(x)": math.log10,
        "log(2, x)": math.log2,
        "root(3, x)": lambda x: x ** (1 / 3),
        "x^2.5": lambda x: x**2.5,
        "sqrt(x)": math.sqrt,
        "exp(-x)": lambda x: math.exp(-x),
        "abs(-x)": abs,
        "floor(3*x)": lambda x: math.floor(3 * x),
        "ceil(x)": math.ceil,
        "factorial(4)": lambda x: 24.0,
        "pi*exponentiale": lambda x: math.pi * math.e,
        "sec(x)": lambda x: 1 / math.cos(x),
        "csc(x)": lambda x: 1 / math.sin(x),
        "cot(x)": lambda x: 1 / math.tan(x),
        "arctan(x)": math.atan,
        "arccot(x)": lambda x: math.atan(1 / x),
        "arcsin(x/9)": lambda x: math.asin(x / 9),
        "arccos(x/9)": lambda x: math.acos(x / 9),
        "arcsec(3+x)": lambda x: math.acos(1 / (3 + x)),
        "arccsc(3+x)": lambda x: math.asin(1 / (3 + x)),
        "sinh(x)": math.sinh,
        "cosh(x)": math.cosh,
        "tanh(x)": math.tanh,
        "sech(x)": lambda x: 1 / math.cosh(x),
        "csch(x)": lambda x: 1 / math.sinh(x),
        "coth(x)": lambda x: 1 / math.tanh(x),
        "arcsinh(x)": math.asinh,
        "arccosh(1+x)": lambda x: math.acosh(1 + x),
        "arctanh(x/9)": lambda x: math.atanh(x / 9),
        "arcsech(x/9)": lambda x: math.acosh(9 / x),
        "arccsch(x)": lambda x: math.asinh(1 / x),
        "arccoth(3+x)": lambda x: math.atanh(1 / (3 + x)),
        "max(x, 1, 2)": lambda x: max(x, 2),
        "min(x, 1)": lambda x: min(x, 1),
        "quotient(-7*x, 2)": lambda x: math.trunc(-7 * x / 2),
        "rem(-7*x, 2)": lambda x: math.fmod(-7 * x, 2),
        "avogadro/1e24": lambda x: 0.602214179,
        "x / 2 / 3 - 1 - x": lambda x: x / 6 - 1 - x,
        "-x^2": lambda x: -(x**2),
    }
    built = Build().parameter("x", 0.4, constant=False).rate("x", "1")
    for i, formula in enumerate(formulas):
        built.parameter(f"y{i}", constant=False).assign(f"y{i}", formula)

    result = run(built, tmp_path)

    for i, (formula, function) in enumerate(formulas.items()):
        expected = [function(0.4 + t) for t in TIMES]
        assert_allclose(result[f"y{i}"], expected, rtol=1e-8, err_msg=formula)


def test_logic_is_that_of_the_truth_tables(tmp_path):
    built = Build().parameter("y", 0.0, constant=False)
    built.assign(
        "y",
        "piecewise(1, xor(time > 0.5, time > 1.5), 0) + 2*piecewise(1, !(time >= 1), 0)"
        " + 4*piecewise(1, (time > 0.25) || (time < 0.1), 0)"
        " + 8*piecewise(1, implies(time > 1, time > 1.75), 0) + 16*(time > 1.2)",
    )
    times = np.array([0.05, 0.2, 0.4, 0.7, 1.1, 1.3, 1.6, 1.9])

    result = run(built, tmp_path, times)

    expected = [
        (0.5 < t <= 1.5) + 2 * (t < 1) + 4 * (t > 0.25 or t < 0.1) + 8 * (t <= 1 or t > 1.75)
        + 16 * (t > 1.2)
        for t in times
    ]  # fmt: skip
    assert_allclose(result["y"], expected)


def test_function_definitions_take_arguments_in_order(tmp_path):
    built = Build().function("f", "lambda(a, b, a - 2*b)").function("g", "lambda(q, f(q, 3)*q)")
    built.parameter("x", 0.0, constant=False).rate("x", "g(5)")

    assert_allclose(run(built, tmp_path)["x"], (5 - 6) * 5 * TIMES, rtol=RTOL)


def test_a_short_pulse_in_an_equation_is_not_stepped_over(tmp_path):
    built = Build().parameter("x", 0.0, constant=False)
    built.rate("x", "piecewise(1000, (time > 1.234) && (time < 1.235), 0)")

    assert run(built, tmp_path, [2.0])["x"][-1] == pytest.approx(1.0, rel=1e-6)


def test_local_parameters_hide_global_ones(tmp_path):
    built = one_litre().species("A", initialAmount=3.0).species("B", initialAmount=1.0)
    built.parameter("k", 5.0).reaction("R", "C*k*A", {"A": 1}, local={"k": 0.1})
    built.reaction("S", "C*k*B", {"B": 1})

    result = run(built, tmp_path)

    assert_allclose(result["A_amount"], 3 * np.exp(-0.1 * TIMES), rtol=RTOL)
    assert_allclose(result["B_amount"], np.exp(-5 * TIMES), rtol=RTOL, atol=1e-10)


def test_initial_assignments_hold_at_the_start_only(tmp_path):
    """q and w are set from other starts and stay; B starts from A."""
    built = one_litre().species("A", initialAmount=3.0).species("B").parameter("k", 0.7)
    built.parameter("q").parameter("w", 5.0).initial("q", "A*2 + w").initial("w", "k*3")
    built.initial("B", "A + 1").reaction("R", "C*k*A", {"A": 1}, {"B": 1})

    result = run(built, tmp_path)

    assert_allclose(result["q"], 1.5 * 2 + 2.1, rtol=RTOL)
    assert_allclose(result["B"], 2.5 + 1.5 * (1 - np.exp(-0.7 * TIMES)), rtol=RTOL)


def test_stoichiometry_may_vary_and_be_converted(tmp_path):
    """sb = 1 + t; the conversion factor of B doubles what arrives."""
    built = one_litre().species("A", initialAmount=3.0, boundaryCondition=True)
    built.parameter("twice", 2.0).species("B", initialAmount=0.0, conversionFactor="twice")
    built.reaction("R", "A", {"A": 1}, {"B": 1}, ids={"B": "sb"}).assign("sb", "1 + time")

    expected = 2 * 1.5 * (TIMES + TIMES**2 / 2)
    assert_allclose(run(built, tmp_path)["B_amount"], expected, rtol=RTOL)


def test_algebraic_rules_determine_what_nothing_else_does(tmp_path):
    """y^3 + y = x + 2, nonlinear."""
    built = Build().parameter("x", 0.5, constant=False).parameter("y", 1.0, constant=False)
    built.rate("x", "1").algebraic("y^3 + y - x - 2")

    y = np.asarray(run(built, tmp_path)["y"])

    assert_allclose(y**3 + y, 2.5 + TIMES, rtol=RTOL)


def test_rates_of_quantities_can_be_used(tmp_path):
    built = one_litre().species("A", initialAmount=3.0).parameter("k", 0.7)
    built.parameter("y", constant=False).assign("y", "rateOf(A) + rateOf(k)")
    built.reaction("R", "C*k*A", {"A": 1})

    expected = -0.7 * 1.5 * np.exp(-0.7 * TIMES)
    assert_allclose(run(built, tmp_path)["y"], expected, rtol=RTOL)


def test_names_that_python_or_models_use_are_kept_apart(tmp_path):
    built = one_litre().species("_A", initialAmount=3.0).parameter("lambda", 0.7)
    built.parameter("events", 0.1, constant=False).rate("events", "1").parameter("m", 2.0)
    built.parameter("t", 0.5).parameter("self", 1.0)
    built.reaction("check", "C*lambda*_A*m*t*self", {"_A": 1})

    result = run(built, tmp_path)

    assert_allclose(result["x_A_amount"], 3 * np.exp(-0.7 * TIMES), rtol=RTOL)
    assert_allclose(result["events_"], 0.1 + TIMES, rtol=RTOL)


def test_a_trigger_that_holds_for_a_moment_is_met(tmp_path):
    built = clock().event("e", "(time > 1.234) && (time < 1.235)", {"n": "n + 1"})

    assert run(built, tmp_path, [2.0])["n"][-1] == 1


# -- events --


def test_an_event_fires_when_its_trigger_becomes_true(tmp_path):
    """A falls from 1.5 to 0.75 at ln 2 / 0.7 and is set to 1.2, which takes another 0.671."""
    built = one_litre().species("A", initialAmount=3.0).parameter("k", 0.7, constant=False)
    built.reaction("R", "C*k*A", {"A": 1}).event("e", "A < 0.75", {"A": "1.2"})

    result = run(built, tmp_path)

    first = math.log(2) / 0.7
    second = first + math.log(1.2 / 0.75) / 0.7
    assert [event.time for event in result.events] == pytest.approx([first, second], rel=1e-7)


@pytest.mark.parametrize(
    ("trigger", "initial", "fires"),
    [
        ("time >= 0", False, 1),
        ("time >= 0", True, 0),
        ("x > 0", True, 1),  # false at the start, true right after
        ("x >= 0", True, 0),
        ("x > 0.5 && x < 0.7", True, 1),
        ("not(x > 0.5)", False, 1),
        ("xor(x > 0.5, x > 0.9)", True, 1),
        ("sin(10*x) > 0.5", True, 3),
    ],
)
def test_triggers_at_the_start_and_later(trigger, initial, fires, tmp_path):
    built = clock().event("e", trigger, {"n": "n + 1"}, initial=initial)

    assert run(built, tmp_path, [1.5])["n"][-1] == fires


def test_assignments_of_one_event_are_made_at_once(tmp_path):
    result = run(clock().event("e", "x >= 1", {"a": "b", "b": "a"}), tmp_path)

    assert (result["a"][-1], result["b"][-1]) == (2, 1)


def test_a_delayed_event_uses_values_of_the_time_that_it_says(tmp_path):
    built = clock().event("e", "x > 1", {"a": "x"}, delay="0.5")
    built.event("f", "x > 1", {"b": "x"}, delay="0.5", at_trigger=False)

    result = run(built, tmp_path, [1.2, 1.499, 1.501])

    assert_allclose(result["a"], [1, 1, 1], rtol=1e-9)
    assert_allclose(result["b"], [2, 2, 1.5], rtol=1e-7)


def test_several_executions_of_a_delayed_event_can_be_pending(tmp_path):
    """Triggers at (pi/6 + 2 pi k) / 10, executed 1.3 later with the x of the trigger."""
    built = clock().event("e", "sin(10*x) > 0.5", {"n": "n + 1", "a": "x"}, delay="1.3")

    triggers = (math.pi / 6 + 2 * math.pi * np.arange(5)) / 10
    times = [1.3 + t + s for t in triggers[:3] for s in (-1e-3, 1e-3)]
    result = run(built, tmp_path, times)

    assert_allclose(result["n"], [0, 1, 1, 1, 1, 1])  # n was 0 at each of these triggers
    assert_allclose(np.asarray(result["a"])[1::2], triggers[:3], rtol=1e-6)


def test_more_pending_executions_than_can_be_kept_stop_the_run(tmp_path):
    built = clock().event("e", "sin(60*x) > 0.5", {"n": "n + 1"}, delay="5")

    with pytest.raises(SolveError):
        run(built, tmp_path, [2.0])


def test_an_event_that_is_not_persistent_is_called_off(tmp_path):
    built = clock().event("e", "x > 1 && x < 1.4", {"n": "5"}, delay="0.5", persistent=False)
    built.event("f", "x > 1 && x < 1.6", {"a": "7"}, delay="0.5", persistent=False)

    result = run(built, tmp_path)

    assert (result["n"][-1], result["a"][-1]) == (0, 7)


def test_higher_priority_goes_first_and_what_it_triggers_is_looked_at_next(tmp_path):
    """f (5): 1 to 10, which triggers g (3): 10.5, before e (1): 11.5."""
    built = clock().event("e", "x >= 1", {"a": "a + 1"}, priority="1", at_trigger=False)
    built.event("f", "x >= 1", {"a": "a*10"}, priority="5", at_trigger=False)
    built.event("g", "a > 5", {"a": "a + 0.5"}, priority="3", at_trigger=False)

    assert run(built, tmp_path)["a"][-1] == 11.5


def test_values_of_the_trigger_time_are_kept_for_those_that_come_later(tmp_path):
    """f writes 10 first, e then 2: computed from 1 before f was executed."""
    built = clock().event("e", "x >= 1", {"a": "a + 1"}, priority="1")
    built.event("f", "x >= 1", {"a": "a*10"}, priority="5")

    assert run(built, tmp_path)["a"][-1] == 2


def test_priorities_are_evaluated_when_events_are_executed(tmp_path):
    """By numbers the other way round: e is 3, f is a + 1 = 2."""
    built = clock().event("e", "x >= 1", {"b": "b*10"}, priority="3", at_trigger=False)
    built.event("f", "x >= 1", {"b": "b + 1"}, priority="a + 1", at_trigger=False)

    assert run(built, tmp_path)["b"][-1] == 21


def test_one_event_may_call_off_another_of_the_same_time(tmp_path):
    built = clock().event("e", "x >= 1 && b > 0.5", {"n": "1"}, priority="1", persistent=False)
    built.event("f", "x >= 1", {"b": "0"}, priority="5")
    built.event("g", "x >= 1 && b > 0.5", {"a": "9"}, priority="1", persistent=True)

    result = run(built, tmp_path)

    assert (result["n"][-1], result["a"][-1]) == (0, 9)


def test_an_event_on_a_compartment_keeps_amounts(tmp_path):
    built = Build().compartment("C", 2.0, constant=False).species("A", initialAmount=3.0)
    built.reaction("R", "0.1", {"A": 1}).event("e", "time > 1", {"C": "4"})

    result = run(built, tmp_path)

    assert_allclose(result["A_amount"], 3 - 0.1 * TIMES, rtol=RTOL)
    assert result["A"][-1] == pytest.approx((3 - 0.1 * TIMES[-1]) / 4, rel=RTOL)


@pytest.mark.skipif(compiler.compiler() is None, reason="no C compiler on this machine")
def test_the_exported_c_takes_events_in_the_same_order(tmp_path):
    """Priorities, calling off, delays and overlapping executions at once."""
    built = clock().parameter("d", 1.0, constant=False).parameter("k", 0.0, constant=False)
    built.event("e", "x >= 1", {"a": "a + 1"}, priority="1", at_trigger=False)
    built.event("f", "x >= 1", {"a": "a*10"}, priority="5", at_trigger=False)
    built.event("g", "a > 5", {"a": "a + 0.5"}, priority="3", at_trigger=False)
    built.event("h", "x >= 1 && d > 0.5", {"n": "n + 1"}, priority="1", persistent=False)
    built.event("i", "x >= 1", {"d": "0"}, priority="9")
    built.event("j", "sin(10*x) > 0.5", {"k": "k + x"}, delay="0.9", at_trigger=False)
    model = model_of(built, tmp_path)
    files = [path for path in export_c(model, tmp_path) if path.suffix == ".c"]
    made = compiler.build(files, tmp_path / "program")

    line = [str(made), "2.013", "0.671", "rtol=1e-9"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    head, *rows = csv.reader(io.StringIO(done.stdout))
    here = np.array(rows, dtype=float).T
    there = Simulator(model).run(times=here[0], rtol=1e-9)

    assert there["a"][-1] == 11.5
    for name, column in zip(head[1:], here[1:], strict=True):
        path = name.rpartition(" [")[0]
        assert_allclose(column, there[path], rtol=1e-7, atol=1e-9, err_msg=path)


# -- documents --


def test_level_2_is_read_with_the_units_that_it_leaves_unsaid(tmp_path):
    text = """<?xml version="1.0" encoding="UTF-8"?>
    <sbml xmlns="http://www.sbml.org/sbml/level2/version4" level="2" version="4">
    <model id="old"><listOfCompartments><compartment id="C" size="2"/></listOfCompartments>
    <listOfSpecies><species id="A" compartment="C" initialAmount="3"/></listOfSpecies>
    <listOfParameters><parameter id="k" value="0.7"/></listOfParameters>
    <listOfReactions><reaction id="R" reversible="false">
    <listOfReactants><speciesReference species="A"/></listOfReactants>
    <kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/>
    <ci> C </ci><ci> k </ci><ci> A </ci></apply></math></kineticLaw></reaction></listOfReactions>
    </model></sbml>"""
    path = tmp_path / "old.xml"
    path.write_text(text)

    model = import_sbml(path).model()
    result = Simulator(model).run(times=TIMES, rtol=1e-9)

    assert model.flatten().entry("A").unit.text == "mol/L"
    assert_allclose(result["A"], 1.5 * np.exp(-0.7 * TIMES), rtol=RTOL)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda b: b.parameter("y", constant=False).assign("y", "delay(x, x)"), "changes with x"),
        (lambda b: b.event("e", "x == 1", {"n": "1"}), "equality"),
        (lambda b: b.parameter("y", constant=False).parameter("z", constant=False)
         .algebraic("y + z - x"), "1 algebraic rules over 2 open quantities"),
        (lambda b: b.compartment("C", 1.0).species("A", initialAmount=1.0)
         .reaction("R", None, {"A": 1}), "no kinetic law"),
        (lambda b: b.compartment("C", 1.0).species("A").reaction("R", "x", {"A": 1}),
         "no start value"),
        (lambda b: b.compartment("C", 1.0, constant=False).species("A", initialAmount=1.0)
         .reaction("R", "x", {"A": 1}).event("e", "x > 1", {"A": "2", "C": "3"}),
         "both the concentration"),
        (lambda b: b.compartment("C", 1.0, constant=False).rate("C", "1")
         .species("A", initialAmount=1.0, constant=True, boundaryCondition=True),
         "constant species"),
        (lambda b: b.parameter("y", constant=False).assign("y", "factorial(x)"), "factorial"),
    ],
    ids=["delay", "equality", "algebraic", "law", "start", "both", "constant", "factorial"],
)  # fmt: skip
def test_what_cannot_be_said_exactly_is_refused_by_name(change, said, tmp_path):
    built = clock()
    change(built)

    with pytest.raises(NotExpressible, match=said):
        import_sbml(built.write(tmp_path))


def test_a_needed_package_is_refused_by_name(tmp_path):
    text = clock().text().replace(
        "<sbml ",
        '<sbml xmlns:comp="http://www.sbml.org/sbml/level3/version1/comp/version1" '
        'comp:required="true" ',
    )  # fmt: skip
    path = tmp_path / "comp.xml"
    path.write_text(text)

    with pytest.raises(NotExpressible, match="comp"):
        import_sbml(path)


def test_errors_of_the_document_are_told_with_their_line(tmp_path):
    path = clock().write(tmp_path)
    path.write_text(path.read_text().replace('variable="x"', 'variable="nobody"'))

    with pytest.raises(DataError, match="nobody") as caught:
        import_sbml(path)
    assert re.fullmatch(r"built\.xml:\d+", caught.value.where)
    with pytest.raises(DataError, match="cannot read"):
        import_sbml(tmp_path / "none.xml")


def test_an_imported_model_has_the_surfaces_of_any_model(tmp_path):
    built = one_litre().species("A", initialAmount=3.0).parameter("k", 0.7)
    built.reaction("R", "C*k*A", {"A": 1}).event("e", "A < 0.75", {"A": "1.2"})

    imported = import_sbml(built.write(tmp_path))
    model = imported.model()
    facts = model.card().to_dict()
    system = model.flatten()

    assert model.check().ok
    assert "R == C * k * A" in {equation["text"] for equation in facts["equations"]}
    assert "class Built(Model):" in imported.source
    assert pickle.loads(pickle.dumps(system)).identity == system.identity


def test_the_source_of_an_import_is_a_model_file(tmp_path):
    """It runs by itself, without libSBML and without the SBML file."""
    from galenic import plugins

    built = one_litre().species("A", initialAmount=3.0).parameter("k", 0.7)
    built.reaction("R", "C*k*A", {"A": 1})
    imported = import_sbml(built.write(tmp_path))
    (tmp_path / "built.py").write_text(imported.source)

    (entry,) = plugins.models_in(tmp_path / "built.py")

    assert entry.name == "built"
    assert entry.load()().flatten().identity == imported.model().flatten().identity
