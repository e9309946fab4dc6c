"""The exported C, compiled by the machine's compiler, says what the Simulator says."""

from __future__ import annotations

import csv
import io
import subprocess
from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np
import pytest
from numpy.testing import assert_allclose

from galenic.engine import Experiment, Simulator, compile_system
from galenic.engine.export import c_source, compiler, export_c
from galenic.engine.export.compiler import build
from galenic.engine.export.pattern import pattern_of
from galenic.errors import ModelError, UnknownName
from galenic.modeling.system import EventRule

from ..systems import (
    ball,
    circle,
    decay,
    driven,
    oscillator,
    robertson,
    system,
    tanks,
    thermostat,
    two_compartment,
)

needs_compiler = pytest.mark.skipif(
    compiler.compiler() is None, reason="no C compiler on this machine (cc, gcc or clang)"
)
STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")


def program(model: Any, folder: Path, values: Any = None, main: str = "") -> Path:
    """The exported program, compiled; with another main program if ``main`` is given."""
    sources = [path for path in export_c(model, folder, values) if path.suffix == ".c"]
    if main:
        (folder / "main.c").write_text(main)
    return build(sources, folder / "program", STRICT)


def printed(made: Path, until: float, every: float, *given: str) -> dict[str, np.ndarray]:
    """The columns that the program prints, by path."""
    line = [str(made), repr(until), repr(every), *given]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    head, *rows = csv.reader(io.StringIO(done.stdout))
    table = np.array(rows, dtype=float).T
    return {name.rpartition(" [")[0]: column for name, column in zip(head, table, strict=True)}


def everything() -> Any:
    """Every operation of the tape that CasADi keeps, in one right-hand side."""
    return system(
        "Everything",
        {"x": (0.3, "1"), "w": (1.2, "1")},
        lambda m: {
            "x": ca.sin(m.w) * ca.erf(m.x) + ca.tanh(m.x - m.w) - ca.if_else(m.x > 0.5, m.x, m.w),
            "w": ca.sqrt(m.w**2 + 1) - ca.fmax(m.w, 2 * m.x) ** 1.5
            + ca.log1p(ca.fabs(m.x)) * ca.expm1(-m.w) + ca.atan2(m.x, m.w) - ca.sign(m.x) / m.w,
        },
        outputs={
            "floor": ("1", lambda m: ca.floor(7 * m.x) + ca.ceil(3 * m.w)),
            "rest": ("1", lambda m: ca.fmod(9 * m.w, 2) + ca.remainder(5 * m.w, 2)),
            "logic": (
                "1",
                lambda m: ca.logic_and(m.x > 0, ca.logic_or(m.w <= 1, m.x != m.w))
                + 10 * ca.logic_not(m.x < m.w),
            ),
            "other": (
                "1",
                lambda m: ca.asinh(m.x) + ca.acosh(1 + m.w**2) + ca.atanh(m.x / 9)
                + ca.cosh(m.x) * ca.sinh(m.w) + ca.tan(m.x) + ca.asin(m.x / 9)
                + ca.acos(m.w / 9) + ca.atan(m.x) + ca.log(2 + m.x) + ca.exp(-m.w)
                + ca.cos(m.x) + ca.hypot(m.x, m.w) + ca.copysign(m.w, m.x) + m.w**m.x,
            ),
        },
    )  # fmt: skip


@needs_compiler
@pytest.mark.parametrize(
    ("model", "until", "every"),
    [
        (decay(), 1800.0, 60.0),
        (robertson(), 4e4, 1e3),
        (circle(), 1.0, 0.05),
        (thermostat(), 30.0, 0.25),
        (ball(), 5.0, 0.05),
        (tanks(40), 100.0, 10.0),
        (everything(), 0.6, 0.05),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_adaptive_solver_agrees_with_the_simulator(model, until, every, tmp_path):
    """Both at 1e-9 to 1e-10 relative; the allowance is a hundred local errors."""
    here = printed(program(model, tmp_path), until, every, "rtol=1e-9")

    there = Simulator(model).run(until=until, every=every, rtol=1e-10)

    assert_allclose(here["time"], there.times, rtol=1e-12)
    for path in set(there.paths) & set(here):
        scale = np.abs(there[path]).max()
        assert_allclose(here[path], there[path], rtol=0, atol=1e-7 * scale, err_msg=path)


@needs_compiler
def test_the_fixed_step_method_is_of_fourth_order(tmp_path):
    """Halving the step divides the error of cos 2t by 16."""
    made = program(oscillator(), tmp_path)

    errors = [
        abs(printed(made, 5.0, 5.0, f"step={step}")["x"][-1] - np.cos(10.0))
        for step in (0.05, 0.025)
    ]

    assert errors[0] / errors[1] == pytest.approx(16, rel=0.1)


@needs_compiler
def test_the_fixed_step_method_keeps_algebraic_equations_and_events(tmp_path):
    arc = printed(program(circle(), tmp_path / "arc"), 1.0, 0.1, "step=0.01")
    drop = printed(program(ball(), tmp_path / "drop"), 5.0, 0.1, "step=0.01")
    there = Simulator(ball()).run(until=5, every=0.1, rtol=1e-10)

    assert_allclose(arc["y"], np.sin(arc["time"]), atol=1e-9)
    assert_allclose(arc["y"] ** 2 + arc["z"] ** 2, 1.0, rtol=1e-12)
    assert_allclose(drop["h"], there["h"], atol=1e-8)  # a parabola: exact but for event times
    assert_allclose(drop["count"], there["count"])


@needs_compiler
def test_values_and_start_values_are_given_in_declared_units(tmp_path):
    made = program(two_compartment(), tmp_path, {"CL": "6 L/h", "central": 100})
    values = {"CL": "6 L/h", "central": 100, "V1": 30, "infusion": 5}

    here = printed(made, 36000.0, 3600.0, "V1=30", "infusion=5", "rtol=1e-9")
    there = Simulator(two_compartment()).run(values=values, until="10 h", every="1 h", rtol=1e-10)

    assert_allclose(here["C"], there["C"].to("mg/L"), rtol=1e-7)


@needs_compiler
def test_scheduled_events_come_on_time_and_in_order(tmp_path):
    model = system(
        "Counter",
        {"x": (0.0, "1"), "y": (0.0, "1", {"role": "discrete"})},
        lambda m: {"x": 1, "y": 0},
        events=lambda m, at: [
            EventRule("tick", None, 2.0, 1.0, ((at["y"], m.y + 1),)),
            EventRule("once", None, None, 4.0, ((at["y"], m.y + 10),)),
            EventRule("both", m.x - 2.0, None, None, ((at["y"], 2 * m.y),)),
            EventRule("together", 3 * m.x - 6.0, None, None, ((at["y"], m.y + 0.5),)),
            EventRule("end", m.x - 5.5, None, None, (), terminal=True),
        ],
    )
    here = printed(program(model, tmp_path), 9.0, 1.0)

    assert_allclose(here["time"], [0, 1, 2, 3, 4, 5, 5.5], rtol=1e-9)
    assert_allclose(here["y"], [0, 1, 2.5, 3.5, 13.5, 14.5, 14.5])


@needs_compiler
def test_a_trigger_that_rises_and_falls_within_a_step_is_met(tmp_path):
    """The level is above zero for 1 s of a step that could be 100 s long."""
    model = system(
        "Blip",
        {"s": (0.0, "s"), "n": (0.0, "1", {"role": "discrete"})},
        lambda m: {"s": 1, "n": 0},
        events=lambda m, at: [
            EventRule("blip", 1 - (m.s - 37.0) ** 2 / 25, None, None, ((at["n"], m.n + 1),))
        ],
    )
    here = printed(program(model, tmp_path), 100.0, 50.0)

    assert_allclose(here["n"], [0, 1, 1])


@needs_compiler
def test_a_trigger_that_swings_where_no_state_does_is_met_each_time(tmp_path):
    """sin 20 s passes 0.5 upward 7 times within 2 s, in one call and without any step error."""
    model = system(
        "Swing",
        {"s": (0.0, "s"), "n": (0.0, "1", {"role": "discrete"})},
        lambda m: {"s": 1, "n": 0},
        events=lambda m, at: [
            EventRule("up", ca.sin(20 * m.s) - 0.5, None, None, ((at["n"], m.n + 1),))
        ],
    )
    here = printed(program(model, tmp_path), 2.0, 2.0)

    assert here["n"][-1] == 7


API = """
#include <stdio.h>
#include <stdlib.h>
#include "{name}.h"
int main(void) {{
  galenic_run *run = galenic_place(malloc(galenic_size(&{name})), &{name});
  {body}
  free(run);
  return 0;
}}
"""


def answers(model: Any, folder: Path, body: str) -> list[str]:
    """What a program written against the interface prints, line by line."""
    name = c_source(model).name
    made = program(model, folder, main=API.format(name=name, body=body))
    return subprocess.run([str(made)], capture_output=True, text=True, check=True).stdout.split()


@needs_compiler
def test_failures_have_a_status(tmp_path):
    explosive = system("Explosive", {"x": (1.0, "1")}, lambda m: {"x": m.x**2})
    body = 'printf("%d\\n%d\\n", galenic_set(run, "y", 1.0), galenic_advance(run, 20.0));'

    assert answers(explosive, tmp_path / "a", body) == ["-1", "-2"]
    assert answers(ball(), tmp_path / "b", body)[1] == "-5"
    body = 'galenic_set(run, "y", 2.0); printf("%d", galenic_advance(run, 1.0));'
    assert answers(circle(), tmp_path / "c", body) == ["-4"]
    sliding = system("Sliding", {"x": (1.0, "1")}, lambda m: {"x": ca.if_else(m.x > 0.5, -1, 1)})
    body = 'int s = galenic_advance(run, 9.0); printf("%d", s == -2 || s == -6);'
    assert answers(sliding, tmp_path / "d", body) == ["1"]


@needs_compiler
def test_a_change_from_outside_meets_events_as_in_an_experiment(tmp_path):
    body = """galenic_advance(run, 3.0); galenic_set(run, "T", 25.0); galenic_advance(run, 5.0);
      printf("%.15g %.15g %ld", galenic_get(run, "T"), galenic_get(run, "on"),
             galenic_events(run));"""
    there = Simulator(thermostat()).run(Experiment().set("T", 25, at=3), until=5, rtol=1e-10)

    temperature, on, count = (float(text) for text in answers(thermostat(), tmp_path, body))

    assert temperature == pytest.approx(there["T"][-1], rel=1e-5)
    assert (on, count) == (there["on"][-1], len(there.events))


@needs_compiler
def test_a_run_goes_on_from_what_was_saved_to_the_same_bits(tmp_path):
    body = """double *saved = malloc(galenic_saved(run_model) * sizeof(double)), a, b;
      galenic_advance(run, 1.2345);
      galenic_save(run, saved);
      galenic_advance(run, 4.0); a = galenic_get(run, "v");
      galenic_restore(run, saved);
      galenic_advance(run, 4.0); b = galenic_get(run, "v");
      free(saved);
      printf("%a %a %ld", a, b, galenic_events(run));""".replace("run_model", "&ball_model")

    first, second, events = answers(ball(), tmp_path, body)

    assert first == second
    assert int(events) == 2  # at 1.43 s and 3.71 s


@needs_compiler
@pytest.mark.parametrize("model", [circle(), robertson(), two_compartment(), tanks(7)],
                         ids=lambda m: m.name)  # fmt: skip
def test_the_exported_jacobian_is_that_of_casadi(model, tmp_path):
    """Entry by entry at a point off the start, where nothing vanishes by accident."""
    name = c_source(model).name
    body = f"""const galenic_model *m = &{name}; int i, j;
      double *v = malloc(m->jacobian.nonzeros * sizeof(double));
      double *b = malloc((m->nx + m->nz) * sizeof(double));
      for (i = 0; i < m->nx; i++) galenic_x(run)[i] = 0.3 + 0.1 * i;
      for (i = 0; i < m->nz; i++) galenic_z(run)[i] = 0.7;
      m->partials(2.0, galenic_x(run), galenic_z(run), galenic_u(run), galenic_p(run), v, b);
      for (j = 0; j < m->nx + m->nz; j++)
        for (i = m->jacobian.start[j]; i < m->jacobian.start[j + 1]; i++)
          printf("%d %d %.17g\\n", m->jacobian.row[i], j, v[i]);
      free(v); free(b);"""
    compiled = compile_system(model)
    x = 0.3 + 0.1 * np.arange(compiled.nx)
    point = (2.0, x, np.full(compiled.nz, 0.7), compiled.defaults("input"),
             compiled.defaults("parameter"))  # fmt: skip
    expected = np.array(compiled.jacobian(*point))

    found = np.zeros_like(expected)
    words = answers(model, tmp_path, body)
    for i, j, value in zip(words[::3], words[1::3], words[2::3], strict=True):
        found[int(i), int(j)] = float(value)

    assert_allclose(found, expected, rtol=1e-14, atol=1e-300)


def test_room_for_factors_holds_under_any_choice_of_pivots():
    """Numbers at random with rows swapped: SuperLU with free pivoting never needs more."""
    from scipy.sparse import csc_matrix
    from scipy.sparse.linalg import splu

    rng = np.random.default_rng(3)
    for size in (5, 20, 60):
        dense = np.where(rng.random((size, size)) < 3 / size, rng.standard_normal((size, size)), 0)
        dense += np.diag(1e-3 + rng.random(size))
        pattern = pattern_of(_sparsity(dense), size)
        factors = splu(csc_matrix(dense[:, pattern.order]), permc_spec="NATURAL")

        assert factors.L.nnz - size <= pattern.lower
        assert factors.U.nnz - size <= pattern.upper


def _sparsity(dense: np.ndarray) -> ca.Sparsity:
    rows, columns = np.nonzero(dense)
    return ca.Sparsity.triplet(*dense.shape, rows.tolist(), columns.tolist())


def test_a_missing_or_unknown_value_is_told():
    model = system("Open", {"x": (0.0, "1")}, lambda m: {"x": m.u}, inputs={"u": (np.nan, "1/s")})

    with pytest.raises(ModelError, match="input u has no value"):
        c_source(model)
    with pytest.raises(UnknownName, match="quantity 'q'"):
        c_source(driven(), {"q": 1})
    assert "1.5" in c_source(model, {"u": 1.5}).source
