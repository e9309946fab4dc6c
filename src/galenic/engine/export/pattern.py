"""What the C solver must know of a Jacobian: its pattern, an order of columns, room for factors."""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca


@dataclass(frozen=True)
class Pattern:
    """A square pattern by columns, with an order of elimination and the room that factors need.

    ``lower`` and ``upper`` bound the entries of the factors whatever rows are chosen as pivots.
    """

    start: list[int]
    row: list[int]
    diagonal: list[int]
    order: list[int]
    lower: int
    upper: int


def pattern_of(sparsity: ca.Sparsity, states: int) -> Pattern:
    """The pattern of a Jacobian that holds the diagonal of the first ``states`` columns."""
    start, row = sparsity.colind(), sparsity.row()
    diagonal = [row.index(j, start[j], start[j + 1]) for j in range(states)]
    order = _order(sparsity)
    lower, upper = _room(sparsity, order)
    return Pattern(list(start), list(row), diagonal, order, lower, upper)


def with_diagonal(jacobian: ca.SX, states: int) -> ca.SX:
    """The Jacobian with an entry, zero if need be, for each state's own rate."""
    size = jacobian.shape[0]
    places = list(range(states))
    diagonal = ca.Sparsity.triplet(size, size, places, places)
    return ca.project(jacobian, jacobian.sparsity() + diagonal)


def _order(sparsity: ca.Sparsity) -> list[int]:
    """Columns by approximate minimum degree of the pattern of A'A."""
    if sparsity.nnz() == 0:
        return list(range(sparsity.size2()))
    ones = ca.DM(sparsity, 1)
    return list(ca.mtimes(ones.T, ones).sparsity().amd())


def _room(sparsity: ca.Sparsity, order: list[int]) -> tuple[int, int]:
    """Entries below and above the pivots under any choice of rows.

    Row merging of George and Ng (SIAM J. Sci. Stat. Comput. 8, 877, 1987): each row that could
    be the pivot takes the pattern of all that could. Patterns are bits of integers.
    """
    size = sparsity.size2()
    place = {column: k for k, column in enumerate(order)}
    waiting: dict[int, list[int]] = {k: [] for k in range(size)}
    for row in _rows(sparsity, place):
        if row:
            waiting[_first(row)].append(row)
    lower = upper = 0
    for k in range(size):
        rows = waiting.pop(k)
        if not rows:
            continue
        merged = 0
        for row in rows:
            merged |= row
        rest = merged & ~(1 << k)
        lower += len(rows) - 1
        upper += rest.bit_count()
        if rest:
            waiting[_first(rest)] += [rest] * (len(rows) - 1)
    return lower, upper


def _rows(sparsity: ca.Sparsity, place: dict[int, int]) -> list[int]:
    patterns = [0] * sparsity.size1()
    for i, j in zip(*sparsity.get_triplet(), strict=True):
        patterns[i] |= 1 << place[j]
    return patterns


def _first(row: int) -> int:
    return (row & -row).bit_length() - 1
