"""The exported FMI 3.0 unit, validated and run by FMPy, says what the Simulator says."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np
import pytest
from numpy.testing import assert_allclose

from galenic import plugins
from galenic.engine import Experiment, Simulator, compile_system
from galenic.engine.export import c_source, compiler, export_fmu
from galenic.modeling.system import EventRule
from galenic.units import unit

from ..systems import ball, circle, driven, system, tanks, thermostat, two_compartment

fmpy = pytest.importorskip("fmpy", reason="FMPy (extra dev) validates and runs the units")
fmi3 = pytest.importorskip("fmpy.fmi3")
validation = pytest.importorskip("fmpy.validation")
needs_compiler = pytest.mark.skipif(
    compiler.compiler() is None, reason="no C compiler on this machine (cc, gcc or clang)"
)
MODES = ("CoSimulation", "ModelExchange")


def exported(model: Any, folder: Path, **options: Any) -> str:
    return str(export_fmu(model, folder / "unit.fmu", **options).path)


@contextmanager
def instance(path: str, folder: Path, kind: str = "ModelExchange", start: bool = True) -> Iterator:
    """An instance of a unit, in event mode (model exchange) or step mode after the start."""
    facts = fmpy.read_model_description(path)
    fmpy.extract(path, str(folder / "open"))
    cls = {"ModelExchange": fmi3.FMU3Model, "CoSimulation": fmi3.FMU3Slave}[kind]
    one = cls(
        guid=facts.guid,
        unzipDirectory=str(folder / "open"),
        modelIdentifier=facts.modelExchange.modelIdentifier,
        instanceName="one",
    )
    one.instantiate()
    one.references = {v.name: v.valueReference for v in facts.modelVariables}
    if start:
        one.enterInitializationMode()
        one.exitInitializationMode()
        if kind == "ModelExchange":
            one.updateDiscreteStates()
    yield one
    one.freeInstance()


def value(one: Any, name: str) -> float:
    return one.getFloat64([one.references[name]])[0]


def counter() -> Any:
    """A state of slope 1, counted by scheduled and triggered events; ends at 5.5 s."""
    return system(
        "Counter",
        {"x": (0.0, "1"), "y": (0.0, "1", {"role": "discrete"})},
        lambda m: {"x": 1, "y": 0},
        events=lambda m, at: [
            EventRule("tick", None, 2.0, 1.0, ((at["y"], m.y + 1),)),
            EventRule("once", None, None, 4.0, ((at["y"], m.y + 10),)),
            EventRule("passed", m.x - 2.5, None, None, ((at["y"], 2 * m.y),)),
        ],
    )


@needs_compiler
@pytest.mark.parametrize("kind", MODES)
@pytest.mark.parametrize(
    ("model", "until", "every"),
    [
        (two_compartment(), 86400.0, 3600.0),
        (circle(), 1.0, 0.05),
        (ball(), 5.0, 0.05),
        (thermostat(), 30.0, 0.25),
        (counter(), 5.0, 0.5),
        (tanks(30), 60.0, 2.0),
    ],
    ids=lambda given: getattr(given, "name", None),
)
def test_fmpy_validates_and_runs_it_in_both_modes(model, until, every, kind, tmp_path):
    """Co-simulation is our own solver at 1e-9; model exchange is FMPy's CVODE at 1e-9, whose
    global error is some hundred times its tolerance, as docs/validation/engine.md found."""
    path = exported(model, tmp_path, until=until)
    given = {"depot": 100.0} if model.name == "TwoCompartment" else {}

    there = Simulator(model).run(until=until, every=every, rtol=1e-10, values=given)
    here = fmpy.simulate_fmu(
        path, fmi_type=kind, stop_time=until, output_interval=every, relative_tolerance=1e-9,
        start_values=given, output=list(there.paths), record_events=False,
    )  # fmt: skip

    assert validation.validate_fmu(path) == []
    for name in there.paths:
        scale = max(np.abs(there[name]).max(), 1e-12)
        allowed = (1e-7 if kind == "CoSimulation" else 2e-6) * scale
        # the Simulator leaves out what is scheduled for the very end
        assert_allclose(here[name][:-1], there[name][:-1], rtol=0, atol=allowed, err_msg=name)


@needs_compiler
@pytest.mark.parametrize("kind", MODES)
def test_inputs_step_and_ramp_as_in_an_experiment(kind, tmp_path):
    path = exported(driven(), tmp_path, until=8)
    times = np.array([0.0, 2.0, 2.0, 8.0])
    signal = np.array(list(zip(times, [1.0, 1.0, 3.0, 3.0], strict=True)),
                      dtype=[("time", float), ("u", float)])  # fmt: skip

    there = Simulator(driven()).run(
        Experiment().set("u", 1).set("u", 3, at=2), until=8, every=0.5, rtol=1e-10
    )
    here = fmpy.simulate_fmu(
        path, fmi_type=kind, stop_time=8, output_interval=0.5, relative_tolerance=1e-9,
        start_values={"k": 0.5}, input=signal, output=["x"], record_events=False,
    )  # fmt: skip

    assert_allclose(here["x"], there["x"], atol=5e-6)


@needs_compiler
def test_names_units_and_starts_stand_in_the_description(tmp_path):
    path = exported(two_compartment(), tmp_path, values={"CL": "6 L/h"}, until="1 d")

    facts = fmpy.read_model_description(path, validate=True)
    variables = {v.name: v for v in facts.modelVariables}
    units = {u.name: u.baseUnit for u in facts.unitDefinitions}

    assert (variables["CL"].causality, variables["CL"].unit) == ("parameter", "L/h")
    assert float(variables["CL"].start) == pytest.approx(6.0)
    assert (variables["infusion"].causality, variables["C"].causality) == ("input", "output")
    assert variables["der(central)"].derivative.name == "central"
    assert units["L/h"].factor == pytest.approx(unit("L/h").scale)
    assert (units["L/h"].m, units["L/h"].s) == (3, -1)
    assert facts.defaultExperiment.stopTime == "86400.0"
    assert len(facts.derivatives) == 3
    rate = {u.variable.name: u for u in facts.derivatives}["der(depot)"]
    assert [v.name for v in rate.dependencies] == ["depot"]


def test_without_a_compiler_the_unit_holds_sources_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("galenic.engine.export.fmu.compiler", lambda: None)

    made = export_fmu(ball(), tmp_path / "ball.fmu")
    names = zipfile.ZipFile(made.path).namelist()

    assert made.binaries == ()
    assert [name for name in names if name.startswith("binaries")] == []
    assert {"sources/fmi3.c", "sources/buildDescription.xml", "modelDescription.xml"} <= set(names)
    assert validation.validate_fmu(str(made.path)) == []


@pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")
@needs_compiler
def test_an_importing_tool_builds_the_sources_as_described(tmp_path, monkeypatch):
    """FMPy reads the build description, as it would on a platform without our binary."""
    build = pytest.importorskip("fmpy.build")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    path = exported(ball(), tmp_path, binary=False, until=5)
    fmpy.extract(path, str(tmp_path / "open"))

    (tmp_path / "build").mkdir()
    build.build_platform_binary(tmp_path / "open", build_dir=tmp_path / "build")
    here = fmpy.simulate_fmu(str(tmp_path / "open"), stop_time=5, output=["count"])

    assert here["count"][-1] == 2


@needs_compiler
def test_equal_models_give_equal_files(tmp_path):
    one, two = (export_fmu(ball(), tmp_path / name) for name in ("one.fmu", "two.fmu"))

    assert one.path.read_bytes() == two.path.read_bytes()


@needs_compiler
def test_what_is_written_from_the_standard_agrees_with_its_headers(tmp_path):
    """The official headers, which FMPy carries, and ours define the same functions."""
    headers = Path(fmpy.__file__).parent / "c-code"
    with zipfile.ZipFile(exported(ball(), tmp_path)) as archive:
        archive.extractall(tmp_path / "open")
    sources = tmp_path / "open" / "sources"
    (sources / "fmi3.h").write_text('#define FMI3_EXPORT\n#include "fmi3Functions.h"\n')
    official = {
        word
        for line in (headers / "fmi3Functions.h").read_text().splitlines()
        if line.startswith("FMI3_Export")
        for word in [line.split()[-1].rstrip(";")]
    }

    target = str(tmp_path / "ours.o")
    strict = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-fPIC", f"-I{headers}"]
    line = [*compiler.compiler(), *strict, "-c", str(sources / "fmi3.c"), "-o", target]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    library = ctypes.CDLL(str(next((tmp_path / "open" / "binaries").rglob("*.so"))))

    assert done.stderr == ""
    assert len(official) > 60
    assert [name for name in sorted(official) if not hasattr(library, name)] == []


@needs_compiler
def test_the_state_of_a_unit_is_kept_given_back_and_travels_as_bytes(tmp_path):
    """The same bits follow from it, events included."""
    with instance(exported(ball(), tmp_path), tmp_path, "CoSimulation") as one:
        one.doStep(0.0, 1.3)
        kept = one.getFMUState()
        bytes_ = one.serializeFMUState(kept)
        one.doStep(1.3, 2.0)
        first = value(one, "h"), value(one, "v"), value(one, "count")
        one.setFMUState(kept)
        one.doStep(1.3, 2.0)
        second = value(one, "h"), value(one, "v"), value(one, "count")
        one.freeFMUState(kept)
        one.reset()
        one.enterInitializationMode()
        one.exitInitializationMode()
        from_bytes = one.deserializeFMUState(bytes_)
        one.setFMUState(from_bytes)
        one.doStep(1.3, 2.0)
        third = value(one, "h"), value(one, "v"), value(one, "count")
        one.freeFMUState(from_bytes)

    assert first == second == third
    assert first[2] == 1


@needs_compiler
def test_reset_begins_anew(tmp_path):
    with instance(exported(ball(), tmp_path), tmp_path, "CoSimulation") as one:
        one.doStep(0.0, 2.0)
        one.setFloat64([one.references["e"]], [0.1])
        one.reset()
        one.enterInitializationMode()
        one.exitInitializationMode()

        assert (value(one, "time"), value(one, "h"), value(one, "e")) == (0.0, 10.0, 0.8)
        assert value(one, "count") == 0


@needs_compiler
def test_start_values_follow_from_parameters_or_are_set(tmp_path):
    """The ball's height follows from h0; its speed may be set, in its declared unit."""
    with instance(exported(ball(), tmp_path), tmp_path, "CoSimulation", start=False) as one:
        one.setFloat64([one.references["h0"], one.references["v"]], [3.0, 2.0])
        one.enterInitializationMode()
        during = value(one, "h")
        with pytest.raises(Exception, match="fmi3SetFloat64"):
            one.setFloat64([one.references["h"]], [4.0])
        one.exitInitializationMode()

        assert (during, value(one, "h"), value(one, "v")) == (3.0, 3.0, 2.0)
        with pytest.raises(Exception, match="fmi3SetFloat64"):
            one.setFloat64([one.references["v"]], [4.0])


@needs_compiler
def test_a_parameter_may_change_between_steps(tmp_path):
    """Half-lives before and after; 1e-6 is the unit's default tolerance."""
    with instance(exported(driven(), tmp_path), tmp_path, "CoSimulation", start=False) as one:
        one.setFloat64([one.references["x"]], [8.0])
        one.enterInitializationMode()
        one.exitInitializationMode()
        one.doStep(0.0, 2.0)
        one.setFloat64([one.references["k"]], [1.5])
        one.doStep(2.0, 1.0)

        assert value(one, "x") == pytest.approx(8 * np.exp(-0.5 * 2 - 1.5), rel=1e-5)


@needs_compiler
def test_a_terminal_event_ends_co_simulation_at_its_time(tmp_path):
    model = system(
        "Ends",
        {"x": (0.0, "1")},
        lambda m: {"x": 1},
        events=lambda m, at: [EventRule("full", m.x - 2.5, None, None, (), terminal=True)],
    )
    with instance(exported(model, tmp_path), tmp_path, "CoSimulation") as one:
        _, terminate, _, last = one.doStep(0.0, 4.0)

        assert bool(terminate)
        assert last == pytest.approx(2.5, rel=1e-9)


@needs_compiler
def test_directional_derivatives_agree_with_central_differences(tmp_path):
    """Through algebraic equations too; the level is about 1, so its differences round at 1e-11."""
    model = system(
        "Mixed",
        {"a": (2.0, "mg"), "T": (25.0, "degC")},
        lambda m: {"a": -m.k * m.a * m.z + m.u, "T": (300 - m.T) * m.k * m.z},
        inputs={"u": (1.0, "mg/h")},
        parameters={"k": (0.3, "1/h")},
        algebraics={"z": (1.0, "1")},
        alg=lambda m: [m.z**3 + m.z * m.T / 300 - 2 - ca.sin(m.t)],
        outputs={"y": ("mg", lambda m: m.a * m.z)},
        events=lambda m, at: [EventRule("high", m.a * m.z - 1, None, None, ((at["a"], 0 * m.a),))],
    )
    with instance(exported(model, tmp_path), tmp_path) as one:
        unknowns = [one.references[n] for n in ("der(a)", "der(T)", "y", "z", "trigger_1")]
        states = np.array([2.0, 25.0])

        def at(shift: float, known: str) -> np.ndarray:
            moved = states + shift * np.array([known == "a", known == "T"])
            one.setContinuousStates((ctypes.c_double * 2)(*moved), 2)
            inputs = [1.0 + shift * (known == "u"), 0.3 + shift * (known == "k")]
            one.setFloat64([one.references["u"], one.references["k"]], inputs)
            one.setTime(0.4 + shift * (known == "time"))
            return np.array(one.getFloat64(unknowns))

        for known in ("a", "T", "u", "k", "time"):
            numeric = (at(1e-5, known) - at(-1e-5, known)) / 2e-5
            at(0.0, known)
            exact = one.getDirectionalDerivative(unknowns, [one.references[known]], [1.0])
            assert_allclose(exact, numeric, rtol=1e-7, atol=1e-10, err_msg=known)


@needs_compiler
def test_a_ball_that_comes_back_between_two_steps_does_not_fall_through(tmp_path):
    """A coarse integrator that looks only at the ends of its steps is told of the event."""
    with instance(exported(ball(), tmp_path), tmp_path) as one:
        one.enterContinuousTimeMode()
        states = (ctypes.c_double * 2)(-0.5, -14.0)
        one.setTime(1.5)
        one.setContinuousStates(states, 2)
        event, _ = one.completedIntegratorStep()
        one.enterEventMode()
        changed = one.updateDiscreteStates()

        assert bool(event)
        assert bool(changed[3])
        assert (value(one, "v"), value(one, "count")) == (pytest.approx(11.2), 1)


@needs_compiler
@pytest.mark.parametrize("name", sorted(plugins.models()))
def test_every_model_of_the_library_is_a_valid_unit(name, tmp_path):
    model = plugins.model(name)()
    missing = {
        entry.path: 1.0
        for entry in (*model.flatten().inputs, *model.flatten().parameters)
        if np.isnan(entry.value)
    }

    path = exported(model, tmp_path, values=missing, binary=False)

    assert validation.validate_fmu(path) == []
    facts = fmpy.read_model_description(path)
    assert facts.numberOfContinuousStates == sum(
        entry.role != "discrete" for entry in compile_system(model).system.states
    )
    assert facts.modelName == c_source(model, missing).system.name
