"""A whole kernel as LLVM IR: the programs of a model, the driver, and the layout they share."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from galenic.engine.native.consistent import settle_program
from galenic.engine.native.crossings import (
    MOST,
    bounds_program,
    measure_program,
    watch_program,
)
from galenic.engine.native.driver import driver, lay_out
from galenic.engine.native.driving import Shape
from galenic.engine.native.elementary import declarations, functions
from galenic.engine.native.emit import Emitted, emit
from galenic.engine.native.equations import Equations
from galenic.engine.native.exact import ExactStep, interpolated, is_exact
from galenic.engine.native.graph import Graph, Program
from galenic.engine.native.looped import LoopedStep
from galenic.engine.native.methods import Rosenbrock
from galenic.engine.native.problem import Problem
from galenic.engine.native.scribe import Layout
from galenic.engine.native.step import control_program, dense_program, interpolate, step_program
from galenic.engine.native.together import TogetherStep
from galenic.errors import ModelError

UNROLLED = 12  # unknowns up to which a whole step is one straight line
CHUNK = 1500
LOOPED_CHUNK = 250


@dataclass(frozen=True)
class Facts:
    """What Python must know to run a kernel, and what describes its size."""

    lanes: int
    workspace: int  # vectors
    n: int
    n_theta: int
    n_outputs: int
    rules: int
    hoisted: int
    operations: dict[str, int]

    def to_json(self) -> str:
        """Canonical text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Facts:
        """What ``to_json`` wrote."""
        return cls(**json.loads(text))


def assemble(problem: Problem, method: Rosenbrock | None, lanes: int) -> tuple[str, Facts]:
    """The IR of a kernel and the facts about it; without a method: exact steps."""
    graph = Graph()
    equations = Equations(problem, graph)
    kept = sorted({*equations.seen, *equations.watched})
    _check_triggers(problem)
    stepper = _stepper(equations, method, kept)
    rows = len(method.dense) if method else 0
    programs = [
        *(stepper.programs if stepper else []),
        *(_straight(equations, method, kept) if method and not stepper else []),
        *([control_program(graph, method)] if method else []),
        *_observe(equations, kept, rows),
        _start(equations),
        *(_reset(equations, rule) for rule in range(len(problem.rules))),
    ]
    if problem.nz:
        programs.append(settle_program(equations))
    if problem.triggers:
        programs.append(watch_program(equations, kept, rows))
        programs.append(bounds_program(equations, kept, rows))
        programs.append(measure_program(equations))
    programs.append(_init(graph))
    layout = Layout(lanes)
    chunk = LOOPED_CHUNK if isinstance(stepper, LoopedStep | TogetherStep) else CHUNK
    parts: dict[str, Emitted] = {}
    shape = Shape(
        n=problem.n,
        n_theta=problem.n_theta,
        n_outputs=int(problem.y.numel()),
        resets=len(problem.rules),
        terminal=problem.terminal,
        parts=lambda name: _calls(parts, name),
        nz=problem.nz,
        triggers=tuple(rule for rule, _ in problem.triggers),
        exact=method is None,
    )
    lay_out(layout, shape)
    layout.add("CACHE", len(graph.hoisted))
    layout.add("D", rows * len(kept))
    if stepper:
        stepper.lay_out(layout)
    elif method:
        layout.add("KS", method.stages * len(kept))
    layout.offsets["SPILL"] = layout.size
    parts |= {program.name: emit(program, layout, chunk) for program in programs}
    layout.size += max(part.spills for part in parts.values())
    texts = [declarations(layout), functions(layout), *(part.text for part in parts.values())]
    if stepper:
        texts.append(stepper.text(layout, shape.parts))
        parts["step"] = Emitted("", ("call void @step(ptr %ws)",), 0, 0)
    if isinstance(stepper, TogetherStep):
        parts["dense"] = Emitted("", ("call void @dense(ptr %ws)",), 0, 0)
    texts.append(driver(layout, shape))
    facts = Facts(
        lanes=lanes,
        workspace=layout.size,
        n=problem.n,
        n_theta=problem.n_theta,
        n_outputs=shape.n_outputs,
        rules=len(problem.rules),
        hoisted=len(graph.hoisted),
        operations={name: part.operations for name, part in parts.items()},
    )
    return "\n".join(texts), facts


def _check_triggers(problem: Problem) -> None:
    if len(problem.triggers) > MOST:
        raise ModelError(
            f"{len(problem.triggers)} state events",
            where=problem.name,
            expected=f"at most {MOST} in a population kernel",
        )


def _calls(parts: dict[str, Emitted], name: str) -> tuple[str, ...]:
    return parts[name].calls if name in parts else ()


def _stepper(
    equations: Equations, method: Rosenbrock | None, kept: list[int]
) -> LoopedStep | TogetherStep | ExactStep | None:
    """The step where it is more than one straight line."""
    if method is None:
        if not is_exact(equations):
            raise ModelError(
                f"{equations.problem.name} cannot be stepped exactly",
                expected="a small linear model with constant coefficients, without state events",
                hint="choose a Rosenbrock method",
            )
        return ExactStep(equations)
    if equations.problem.columns:
        problem, wrt = equations.problem.columns
        return TogetherStep(Equations(problem, equations.graph), wrt, method, kept)
    return LoopedStep(equations, method, kept) if equations.n > UNROLLED else None


def _straight(equations: Equations, method: Rosenbrock, kept: list[int]) -> list[Program]:
    """The step as one straight line, and its dense output."""
    dense = dense_program(equations.graph, method, range(len(kept)), len(kept))
    return [step_program(equations, method, kept), dense]


def _observe(equations: Equations, kept: list[int], rows: int) -> list[Program]:
    """Read POS, TOUT, D, Y, YN; store the outputs in OB, of all lanes or at times of one lane."""
    graph = equations.graph
    program = Program("observe", graph)
    n = equations.n
    y = interpolate(graph, kept, rows, n) if rows else interpolated(graph, n)
    program.store_all("OB", equations.outputs(graph.load("TOUT", 0), y))
    if not rows:
        return [program]
    alone = replace(program, name="observe_alone", alone=frozenset({"POS", "TOUT"}))
    return [program, alone]


def _start(equations: Equations) -> Program:
    program = Program("start", equations.graph, hoist=False)
    program.store_all("X0", equations.start())
    return program


def _reset(equations: Equations, rule: int) -> Program:
    graph = equations.graph
    program = Program(f"reset{rule}", graph)
    y = [graph.load("Y", i) for i in range(equations.n)]
    program.store_all("AFTER", equations.after(rule, graph.load("T", 0), y))
    return program


def _init(graph: Graph) -> Program:
    """Everything that depends on parameters alone, into the cache."""
    program = Program("init", graph, hoist=False, near=True)
    for value, slot in graph.hoisted.items():
        program.store("CACHE", slot, value)
    return program
