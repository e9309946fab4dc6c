"""The residual error of $ERROR, recognised by what it does to Y.

Y is linear in EPS for NONMEM, so its variance is a form in the derivatives of Y by EPS at 0. It is
compared at random points with the forms that a :class:`~galenic.modeling.effects.Residual` has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from galenic import exp, log, maximum, minimum, where
from galenic.inference.algebra import Array
from galenic.inference.nonmem.code import Code
from galenic.inference.nonmem.refusal import refused
from galenic.inference.nonmem.stream import Block, Theta
from galenic.modeling.expression import Expression
from galenic.modeling.functions import absolute, cos, log10, sin, sqrt, tan
from galenic.modeling.sbml.language import above, at_least, at_most, below, equal, unequal

LANGUAGE: dict[str, Any] = {
    one.__name__: one
    for one in (
        above,
        absolute,
        at_least,
        at_most,
        below,
        cos,
        equal,
        exp,
        log,
        log10,
        maximum,
        minimum,
        sin,
        sqrt,
        tan,
        unequal,
        where,
    )
}
FORMS = "Y = F + EPS, F * (1 + EPS), F + W * EPS with W**2 = a + b F**2 or W = a + b F"
_POINTS = 12
_SWITCHES = {
    ca.OP_LT, ca.OP_LE, ca.OP_EQ, ca.OP_NE, ca.OP_NOT, ca.OP_AND, ca.OP_OR, ca.OP_IF_ELSE_ZERO,
    ca.OP_FMIN, ca.OP_FMAX,
}  # fmt: skip


@dataclass(frozen=True)
class Error:
    """An error: sd of its parts, how they combine, which are estimated, thetas it uses."""

    additive: float
    proportional: float
    combine: str
    held: tuple[str, ...]
    thetas: frozenset[int]


def sigma_of(blocks: Sequence[Block]) -> Array:
    """The covariance of effects that blocks declare."""
    size = sum(len(block.rows) for block in blocks)
    full, at = np.zeros((size, size)), 0
    for block in blocks:
        for i, row in enumerate(block.rows):
            for j, value in enumerate(row):
                full[at + i, at + j] = full[at + j, at + i] = value
        at += len(block.rows)
    return full


def recognise(code: Code, thetas: Sequence[Theta], blocks: Sequence[Block]) -> Error:
    """The error that $ERROR describes, or a refusal."""
    return _Recognised(code, thetas, blocks).error()


class _Recognised:
    def __init__(self, code: Code, thetas: Sequence[Theta], blocks: Sequence[Block]) -> None:
        self.code, self.thetas, self.blocks = code, thetas, blocks
        self.line = next((s.line for s in reversed(code.statements) if s.name == "Y"), 0)
        self.sigma = sigma_of(blocks)
        names = sorted(code.uses)
        self.eps = [n for n in names if n.startswith("EPS")]
        for name in self.eps:
            if int(name[3:]) > len(self.sigma):
                raise refused(f"{name} without $SIGMA", code.line_of(name), "a $SIGMA for each")
        if not self.eps:
            raise refused("Y without EPS", self.line, FORMS)
        self.own = [n for n in names if n.startswith("THETA")]
        self.free = [n for n in names if n not in self.eps and n not in self.own]
        self.mean, self.slopes = self._traced()
        self.rng = np.random.default_rng(1)
        self.points = self.rng.uniform(0.5, 2.0, (_POINTS, len(self.free)))

    def _traced(self) -> tuple[ca.Function, ca.Function]:
        symbols = {name: ca.SX.sym(name) for name in (*self.free, *self.own, *self.eps)}
        space: dict[str, Any] = {k: Expression(v) for k, v in symbols.items()} | LANGUAGE
        exec("\n".join(self.code.python()), space)
        y = space["Y"].sx
        groups = [
            ca.vertcat(*(symbols[n] for n in names)) for names in (self.free, self.own, self.eps)
        ]
        zero = ca.DM.zeros(len(self.eps), 1)
        slope = ca.substitute(ca.jacobian(y, groups[2]), groups[2], zero)
        mean = ca.substitute(y, groups[2], zero)
        self.in_mean = {n for n in self.own if ca.depends_on(mean, symbols[n])}
        found = ca.Function("slope", groups[:2], [slope])
        if any(found.instruction_id(k) in _SWITCHES for k in range(found.n_instructions())):
            raise refused(
                "a residual error that depends on a condition", self.line, FORMS,
                "one endpoint per control stream; leave other rows out by IGNORE",
            )  # fmt: skip
        return ca.Function("mean", groups[:2], [mean]), found

    def _moments(self, points: Array, own: Array, sigma: Array) -> tuple[Array, Array]:
        places = [int(n[3:]) - 1 for n in self.eps]
        part = sigma[np.ix_(places, places)]
        means, variances = [], []
        for point in points:
            s = np.asarray(self.slopes(point, own), float).ravel()
            means.append(float(self.mean(point, own)))
            variances.append(s @ part @ s)
        return np.array(means), np.array(variances)

    def _start(self) -> Array:
        return np.array([self.thetas[int(n[5:]) - 1].value for n in self.own], float)

    def _form(self, combine: str, own: Array, sigma: Array) -> Array | None:
        """Additive and proportional sd, where the form fits."""
        m, v = self._moments(self.points, own, sigma)
        if not (np.isfinite(m).all() and np.isfinite(v).all() and (v > 0).all()):
            return None
        left = v if combine == "variance" else np.sqrt(v)
        right = m**2 if combine == "variance" else np.abs(m)
        columns = np.column_stack([np.ones_like(right), right])
        if np.ptp(left) <= 1e-12 * left.max():
            found = np.array([left.mean(), 0.0])
        else:
            found = np.linalg.lstsq(columns, left, rcond=None)[0]
        if not np.allclose(columns @ found, left, rtol=1e-8, atol=0.0):
            return None
        found[np.abs(found) < 1e-9 * left.max()] = 0.0
        if (found < 0).any():
            return None
        return np.asarray(np.sqrt(found) if combine == "variance" else found, float)

    def error(self) -> Error:
        for combine in ("variance", "sd"):
            found = self._form(combine, self._start(), self.sigma)
            if found is not None:
                self._check_at_zero(combine, found)
                held = self._held(combine, found)
                additive, proportional = (float(f"{value:.12g}") for value in found)
                own = frozenset(int(n[5:]) for n in self.own if n not in self.in_mean)
                return Error(additive, proportional, combine, held, own)
        raise refused("this residual error", self.line, FORMS)

    def _check_at_zero(self, combine: str, found: Array) -> None:
        """A branch for predictions of 0 would be lost."""
        m, v = self._moments(np.zeros((1, len(self.free))), self._start(), self.sigma)
        if not (np.isfinite(m).all() and np.isfinite(v).all()):
            return
        a, b = found[0], found[1] * np.abs(m)
        wanted = a**2 + b**2 if combine == "variance" else (a + b) ** 2
        if not np.allclose(v, wanted, rtol=1e-8, atol=1e-14):
            raise refused(
                "an error of its own where the prediction is 0", self.line, FORMS,
                "leave rows with a prediction of 0 out (MDV 1) and take the branch away",
            )  # fmt: skip

    def _held(self, combine: str, found: Array) -> tuple[str, ...]:
        """Parts that no estimated number moves; one that moves both is refused."""
        movers: dict[int, list[str]] = {0: [], 1: []}
        for name, moved in self._changes().items():
            other = self._form(combine, *moved)
            if other is None:
                raise refused(f"the residual error changes its form with {name}", self.line, FORMS)
            places = [k for k in (0, 1) if not np.isclose(other[k], found[k], rtol=1e-7, atol=0)]
            if places and name in self.in_mean:
                raise refused(
                    f"{name} in the prediction and in its error", self.line, "one of both"
                )
            if len(places) == 2:
                raise refused(
                    f"{name} moves both parts of the residual error", self.line,
                    "an own THETA or SIGMA for each part",
                )  # fmt: skip
            for k in places:
                movers[k].append(name)
        parts = ("additive", "proportional")
        return tuple(parts[k] for k in (0, 1) if found[k] > 0 and not movers[k])

    def _changes(self) -> Mapping[str, tuple[Array, Array]]:
        """Vectors of thetas and sigmas with one estimated number changed."""
        changes: dict[str, tuple[Array, Array]] = {}
        for k, name in enumerate(self.own):
            if not self.thetas[int(name[5:]) - 1].fixed:
                own = self._start()
                own[k] *= 1.3
                changes[name] = own, self.sigma
        at = 0
        for block in self.blocks:
            for i in range(len(block.rows)):
                if not block.fixed and f"EPS{at + i + 1}" in self.eps:
                    sigma = self.sigma.copy()
                    sigma[at + i, at + i] *= 1.3
                    changes[f"SIGMA({at + i + 1},{at + i + 1})"] = self._start(), sigma
            at += len(block.rows)
        return changes
