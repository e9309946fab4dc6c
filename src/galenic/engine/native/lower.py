"""From the tape of a CasADi Function to values of a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from galenic.engine.native.graph import Graph, Value
from galenic.engine.tape import Tape

Rule = Callable[..., Value]


def lower(graph: Graph, tape: Tape, arguments: Sequence[Sequence[Value]]) -> list[list[Value]]:
    """Values of all outputs of a tape whose arguments are given as values.

    Parameters
    ----------
    graph : Graph
        Where the values are made.
    tape : Tape
        Elementary operations on work slots.
    arguments : sequence of sequences
        Per argument of the Function: its elements.

    Returns
    -------
    list of lists
        Per output of the Function: its elements, column-major.
    """
    rules = _rules(graph)
    zero = graph.const(0.0)
    work: list[Value] = [zero] * max(tape.work, 1)
    results = [[zero] * (rows * columns) for rows, columns in tape.shapes]
    for step in tape.instructions:
        if step.name == "input":
            work[step.slot] = arguments[step.place[0]][step.place[1]]
        elif step.name == "const":
            work[step.slot] = graph.const(step.value)
        elif step.name == "output":
            results[step.place[0]][step.place[1]] = work[step.slot]
        else:
            work[step.slot] = rules[step.name](*(work[i] for i in step.arguments))
    return results


def _rules(g: Graph) -> dict[str, Rule]:
    def comparison(name: str) -> Rule:
        return lambda a, b: g.flag(g.op(name, a, b))

    def logical(name: str) -> Rule:
        return lambda a, b: g.flag(g.op(name, g.truth(a), g.truth(b)))

    def plain(name: str) -> Rule:
        return lambda *arguments: g.op(name, *arguments)

    rules: dict[str, Any] = {
        "add": g.add,
        "sub": g.sub,
        "mul": g.mul,
        "div": g.div,
        "neg": g.neg,
        "pow": g.power,
        "min": g.least,
        "max": g.greatest,
        "copy": lambda a: a,
        "sq": lambda a: g.mul(a, a),
        "twice": lambda a: g.add(a, a),
        "inv": lambda a: g.div(g.const(1.0), a),
        "and": logical("both"),
        "or": logical("either"),
        "not": lambda a: g.flag(g.op("neither", g.truth(a), g.truth(a))),
        "select": lambda a, b: g.pick(g.truth(a), b, g.const(0.0)),
    }
    rules |= {name: comparison(name) for name in ("lt", "le", "eq", "ne")}
    return rules | {name: plain(name) for name in ELEMENTARY}


ELEMENTARY = (
    "sqrt exp log expm1 log1p sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh erf "
    "abs sign floor ceil fmod remainder copysign atan2 hypot"
).split()
