"""Algebraic quantities that satisfy their equations: a damped Newton method in every lane.

One pass of the program is one Newton step of all lanes that are still LIVE. A trial is taken when
the next Newton step would be shorter (Deuflhard 2004); else the last step is halved.
"""

from __future__ import annotations

from galenic.engine.native.equations import Equations
from galenic.engine.native.factor import Ordering, factorise
from galenic.engine.native.graph import Program
from galenic.engine.native.step import load_all

PASSES = 100
_TOLERANCE = 1e-10
_SHORTEST = 1e-8


def settle_arrays(nz: int) -> dict[str, int]:
    """Arrays the program needs: z before the step, the step, its share and length, LIVE."""
    sizes = {"ZOLD": nz, "DIRECTION": nz, "SHARE": 1, "LENGTH": 1, "LIVE": 1}
    return sizes | {f"NEW{name}": size for name, size in sizes.items()} | {"ZNEW": nz}


def settle_program(equations: Equations) -> Program:
    """Reads Y, T and the arrays above; stores ZNEW and the new ones.

    A new lane starts with LENGTH infinite, SHARE 1, LIVE 1, ZOLD as z, DIRECTION 0; LIVE ends as 0
    where a solution is found and as -1 where there is none.
    """
    g, problem = equations.graph, equations.problem
    nz = problem.nz
    program = Program("settle", g)
    y = load_all(g, "Y", equations.n)
    z = y[equations.nx :]
    residuals, entries = equations.algebraic(g.load("T", 0), y)
    sizes = {
        (row - equations.nx, column - equations.nx): size
        for (row, column), size in equations.magnitudes.items()
        if column >= equations.nx
    }
    ordering = Ordering.of(nz, sorted(entries), 0, sizes)
    step = factorise(g, ordering, entries).solve([g.neg(r) for r in residuals])
    nominal = [float(v) for v in problem.nominal[equations.nx :]]
    length = _norm(equations, step, nominal)
    size = g.add(_norm(equations, z, nominal), g.const(1.0))
    share, before, live = g.load("SHARE", 0), g.load("LENGTH", 0), g.load("LIVE", 0)
    one, zero, half = g.const(1.0), g.const(0.0), g.const(0.5)
    target = g.mul(g.sub(one, g.mul(g.const(0.25), share)), before)
    taken = g.op("le", length, target)
    done = g.op("both", taken, g.op("le", length, g.mul(g.const(_TOLERANCE), size)))
    halved = g.mul(share, half)
    doubled = g.least(one, g.add(share, share))
    following = g.pick(taken, doubled, halved)
    waiting = g.op("lt", zero, live)
    hopeless = g.op("lt", following, g.const(_SHORTEST))
    for i in range(nz):
        old = g.pick(taken, z[i], g.load("ZOLD", i))
        direction = g.pick(taken, step[i], g.load("DIRECTION", i))
        share_now = g.pick(done, one, following)
        moved = g.fma(share_now, direction, old)
        program.store("ZNEW", i, g.pick(waiting, moved, z[i]))
        program.store("NEWZOLD", i, old)
        program.store("NEWDIRECTION", i, direction)
    program.store("NEWSHARE", 0, following)
    program.store("NEWLENGTH", 0, g.pick(taken, length, before))
    ended = g.pick(hopeless, g.const(-1.0), live)
    still = g.pick(waiting, g.pick(done, zero, ended), live)
    program.store("NEWLIVE", 0, still)
    return program


def _norm(equations: Equations, values: list[int], nominal: list[float]) -> int:
    g = equations.graph
    shares = [g.mul(v, g.const(1 / size)) for v, size in zip(values, nominal, strict=True)]
    return g.op("sqrt", g.total([g.mul(share, share) for share in shares]))
