"""The curved part of a right-hand side: f = A y + b + B phi(t, y) with A, b, B of parameters alone.

A Rosenbrock method meets the straight part through its matrix: J k of an earlier stage is known
from the system that was solved for k. Only the terms phi must be computed again in every stage.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush

import casadi as ca
import numpy as np

Place = tuple[int, int]
_ALIKE = 1e-12


@dataclass(frozen=True)
class Curved:
    """Terms phi, and their shares B in the rows of f by (row, term)."""

    terms: ca.SX
    shares: dict[Place, ca.SX]

    def __len__(self) -> int:
        return int(self.terms.numel())


def curved_part(f: ca.SX, changing: ca.SX, theta: ca.SX) -> Curved:
    """The curved part of f, with as few terms as the rows share.

    Parameters
    ----------
    f : casadi.SX (n, 1)
        Dense right-hand side.
    changing : casadi.SX
        The unknowns, then the time.
    theta : casadi.SX
        What does not change within a step.
    """
    nodes = _Nodes(f, changing)
    rows = [nodes.curved(root) for root in nodes.roots]
    groups = _alike(rows, theta)
    curved = [i for i, row in enumerate(rows) if row]
    if len(groups) > len(curved):
        groups = [({i: ca.SX(1)}, [(m, share) for m, share in rows[i].items()]) for i in curved]
    terms: list[ca.SX] = []
    shares: dict[Place, ca.SX] = {}
    for place, (by_row, inside) in enumerate(groups):
        terms.append(sum((share * nodes.sx[m] for m, share in inside), ca.SX(0)))
        shares |= {(row, place): share for row, share in by_row.items()}
    return Curved(ca.vertcat(*terms) if terms else ca.SX(0, 1), shares)


Row = dict[int, ca.SX]
Group = tuple[dict[int, ca.SX], list[tuple[int, ca.SX]]]  # shares by row; (node, share) inside


def _alike(rows: list[Row], theta: ca.SX) -> list[Group]:
    """Nodes in groups: those whose shares keep the same proportions over the rows are one term."""
    columns: dict[int, Row] = {}
    for i, row in enumerate(rows):
        for node, share in row.items():
            columns.setdefault(node, {})[i] = share
    found: dict[tuple[tuple[int, float], ...], list[int]] = {}
    alone: list[int] = []
    for node, ratios in zip(columns, _ratios(columns.values(), theta), strict=True):
        if ratios is None:
            alone.append(node)
        else:
            found.setdefault(ratios, []).append(node)
    groups: list[Group] = [(columns[node], [(node, ca.SX(1))]) for node in alone]
    for ratios, nodes in found.items():
        if len(nodes) == 1:
            groups.append((columns[nodes[0]], [(nodes[0], ca.SX(1))]))
            continue
        first = ratios[0][0]
        inside = [(node, columns[node][first]) for node in nodes]
        groups.append(({row: ca.SX(ratio) for row, ratio in ratios}, inside))
    return groups


def _ratios(columns: Iterable[Row], theta: ca.SX) -> list[tuple[tuple[int, float], ...] | None]:
    """Per column (row, share over the first share) where that is a number, else None."""
    listed = list(columns)
    flat = [share for column in listed for share in column.values()]
    if not flat:
        return []
    function = ca.Function("shares", [theta], [ca.vertcat(*flat)])
    points = np.random.default_rng(1).uniform(0.5, 2.0, (theta.numel(), 3))
    values = np.array(function(points)).reshape(len(flat), 3)
    found: list[tuple[tuple[int, float], ...] | None] = []
    begin = 0
    for column in listed:
        part = values[begin : begin + len(column)]
        begin += len(column)
        with np.errstate(all="ignore"):
            ratio = part / part[0]
        steady = np.abs(ratio - ratio[:, :1]) <= _ALIKE * np.abs(ratio[:, :1])
        rounded = [float(f"{value:.12g}") for value in ratio[:, 0]]
        found.append(tuple(zip(column, rounded, strict=True)) if steady.all() else None)
    return found


class _Nodes:
    """The expression graph of f: nodes numbered so that operands come first."""

    def __init__(self, f: ca.SX, changing: ca.SX) -> None:
        self.sx: list[ca.SX] = []
        self.operands: list[list[int]] = []
        self.fixed: list[bool] = []
        self._number: dict[int, int] = {}
        *unknowns, time = [changing[i].element_hash() for i in range(changing.numel())]
        self._unknowns, self._changing = set(unknowns), {*unknowns, time}
        self._flat: set[int] = set()
        dense = ca.cse(f)
        self.roots = [self._add(dense[i]) for i in range(dense.numel())]

    def _add(self, root: ca.SX) -> int:
        """Number a node after its operands."""
        stack = [(root, root.element_hash(), False)]
        while stack:
            sx, key, ready = stack.pop()
            if key in self._number:
                continue
            inner = [sx.dep(k) for k in range(sx.n_dep())]
            if not ready and inner:
                stack.append((sx, key, True))
                stack += [(one, one.element_hash(), False) for one in inner]
                continue
            operands = [self._number[one.element_hash()] for one in inner]
            self._number[key] = len(self.sx)
            if key in self._unknowns:
                self._flat.add(len(self.sx))
            self.sx.append(sx)
            self.operands.append(operands)
            self.fixed.append(key not in self._changing and all(self.fixed[i] for i in operands))
        return self._number[root.element_hash()]

    @cached_property
    def _codes(self) -> list[int]:
        return [sx.op() for sx in self.sx]

    def curved(self, root: int) -> Row:
        """The nodes that are no linear combination of unknowns, with their share in a root."""
        shares = {root: ca.SX(1)}
        heap = [-root]
        found: Row = {}
        while heap:
            node = -heappop(heap)
            share = shares.pop(node)
            if self.fixed[node] or node in self._flat:
                continue
            inner = self._linear(node, share)
            if inner is None:
                found[node] = share
                continue
            for operand, part in inner:
                if operand in shares:
                    shares[operand] = shares[operand] + part
                else:
                    shares[operand] = part
                    heappush(heap, -operand)
        return found

    def _linear(self, node: int, share: ca.SX) -> list[tuple[int, ca.SX]] | None:
        """The operands of a linear operation with their shares; None for any other operation."""
        code, operands = self._codes[node], self.operands[node]
        if code == ca.OP_ADD:
            return [(operands[0], share), (operands[1], share)]
        if code == ca.OP_SUB:
            return [(operands[0], share), (operands[1], -share)]
        if code == ca.OP_NEG:
            return [(operands[0], -share)]
        if code == ca.OP_TWICE:
            return [(operands[0], 2 * share)]
        if code == ca.OP_ASSIGN:
            return [(operands[0], share)]
        if code == ca.OP_MUL:
            for a, b in (operands, operands[::-1]):
                if self.fixed[a]:
                    return [(b, share * self.sx[a])]
        if code == ca.OP_DIV and self.fixed[operands[1]]:
            return [(operands[0], share / self.sx[operands[1]])]
        return None
