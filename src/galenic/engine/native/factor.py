"""Sparse linear systems solved in straight-line code: order once, eliminate in the graph.

The matrix is split into strongly connected blocks, each ordered by Markowitz count and factorised
without fill in the coupling between blocks. Equal blocks are equal values of the graph, so the
columns of a sensitivity system share one factorisation by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from galenic.engine.native.graph import Graph, Value
from galenic.errors import StructureError

Place = tuple[int, int]
_CHAIN = 4  # products one after the other before a sum goes on in another chain
Entries = Mapping[Place, Value]


@dataclass(frozen=True)
class Ordering:
    """Blocks of pivots (row, column), a block after all blocks it needs.

    Row and column of a pivot are the same but for algebraic rows, which are matched to an unknown
    they depend on.
    """

    blocks: tuple[tuple[Place, ...], ...]

    @classmethod
    def of(
        cls, n: int, places: Sequence[Place], nx: int, size: Mapping[Place, float] | None = None
    ) -> Ordering:
        """Order a pattern of an n by n matrix whose first nx diagonal elements are not zero.

        ``size`` may give magnitudes of algebraic elements: pivots are the large ones.
        """
        pivot_of_row = {i: i for i in range(nx)} | _matching(n, places, nx, size)
        row_of_column = {column: row for row, column in pivot_of_row.items()}
        # Node i stands for pivot row i and its column; an edge r -> q: row r uses the column of q.
        uses: dict[int, set[int]] = {r: {r} for r in range(n)}
        for row, column in places:
            uses[row].add(row_of_column[column])
        blocks = []
        for component in _components(uses):
            inner = {r: uses[r] & component for r in component}
            blocks.append(tuple((r, pivot_of_row[r]) for r in _markowitz(inner)))
        return cls(tuple(blocks))


@dataclass(frozen=True)
class Factors:
    """The factors of a matrix as values of a graph."""

    graph: Graph
    ordering: Ordering
    lower: Mapping[Place, list[tuple[int, Value]]]
    upper: Mapping[Place, list[tuple[int, Value]]]
    inverse: Mapping[Place, Value]
    coupling: Mapping[int, list[tuple[int, Value]]]

    def solve(self, right: Sequence[Value]) -> list[Value]:
        """The solution for one right-hand side, whose elements are asked for once, when needed."""
        g = self.graph
        rest: dict[int, Value] = {}
        found: dict[int, Value] = {}
        for block in self.ordering.blocks:
            terms = {
                row: [(value, found[column]) for column, value in self.coupling.get(row, ())]
                for row, _ in block
            }
            for pivot in block:
                own = rest[pivot[0]] = _less(g, right[pivot[0]], terms[pivot[0]])
                for row, multiplier in self.lower[pivot]:
                    terms[row].append((multiplier, own))
            for pivot in reversed(block):
                above = [(entry, found[column]) for column, entry in self.upper[pivot]]
                value = _less(g, rest[pivot[0]], above)
                found[pivot[1]] = g.mul(value, self.inverse[pivot])
        return [found[i] for i in range(len(found))]


def _less(g: Graph, value: Value, terms: Sequence[tuple[Value, Value]]) -> Value:
    """``value`` less a sum of products; long sums run in several chains side by side."""
    chains: list[Value] = [value]
    for k, (a, b) in enumerate(terms):
        place = k // _CHAIN
        if place == len(chains):
            chains.append(g.neg(g.mul(a, b)))
        else:
            chains[place] = g.fma(g.neg(a), b, chains[place])
    return g.total(chains)


def factorise(graph: Graph, ordering: Ordering, entries: Entries) -> Factors:
    """Eliminate a matrix given by its non-zero elements."""
    block_of = {pivot[1]: i for i, block in enumerate(ordering.blocks) for pivot in block}
    row_block = {pivot[0]: i for i, block in enumerate(ordering.blocks) for pivot in block}
    coupling: dict[int, list[tuple[int, Value]]] = {}
    rows: dict[int, dict[int, Value]] = {}
    for (row, column), value in entries.items():
        if block_of[column] == row_block[row]:
            rows.setdefault(row, {})[column] = value
        else:
            coupling.setdefault(row, []).append((column, value))
    lower: dict[Place, list[tuple[int, Value]]] = {}
    upper: dict[Place, list[tuple[int, Value]]] = {}
    inverse: dict[Place, Value] = {}
    for block in ordering.blocks:
        for k, (row, column) in enumerate(block):
            pivot = (row, column)
            inverse[pivot] = graph.div(graph.const(1.0), rows[row].pop(column))
            upper[pivot] = sorted(rows[row].items())
            lower[pivot] = []
            for other, _ in block[k + 1 :]:
                if column not in rows[other]:
                    continue
                multiplier = graph.mul(rows[other].pop(column), inverse[pivot])
                lower[pivot].append((other, multiplier))
                for c, value in upper[pivot]:
                    before = rows[other].get(c, graph.const(0.0))
                    rows[other][c] = graph.fma(graph.neg(multiplier), value, before)
    return Factors(graph, ordering, lower, upper, inverse, coupling)


def _matching(
    n: int, places: Sequence[Place], nx: int, size: Mapping[Place, float] | None
) -> dict[int, int]:
    """An unknown for each algebraic row, by the largest product of magnitudes."""
    if n == nx:
        return {}
    from scipy.optimize import linear_sum_assignment

    cost = np.full((n - nx, n - nx), np.inf)
    for row, column in places:
        if row >= nx and column >= nx:
            weight = size.get((row, column), 1.0) if size else 1.0
            preferred = 1.0 if row == column else 0.0
            cost[row - nx, column - nx] = -np.log(max(weight, 1e-300)) - 1e-6 * preferred
    try:
        found = linear_sum_assignment(cost)
    except ValueError as error:
        raise StructureError(
            "the algebraic equations cannot be matched with the algebraic quantities",
            expected="index one: the algebraic equations determine all algebraic quantities",
        ) from error
    return {int(r) + nx: int(c) + nx for r, c in zip(*found, strict=True)}


def _components(uses: Mapping[int, set[int]]) -> list[set[int]]:
    """Strongly connected components, each after those it uses (Tarjan 1972, without recursion)."""
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    found: list[set[int]] = []
    for root in uses:
        if root in number:
            continue
        work = [(root, iter(sorted(uses[root])))]
        number[root] = low[root] = len(number)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, successors = work[-1]
            for successor in successors:
                if successor not in number:
                    number[successor] = low[successor] = len(number)
                    stack.append(successor)
                    on_stack.add(successor)
                    work.append((successor, iter(sorted(uses[successor]))))
                    break
                if successor in on_stack:
                    low[node] = min(low[node], number[successor])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    component = set()
                    while node not in component:
                        component.add(stack.pop())
                    on_stack -= component
                    found.append(component)
    return found


def _markowitz(uses: Mapping[int, set[int]]) -> list[int]:
    """Pivots of one block in the order of least (row count - 1)(column count - 1).

    Among equals the one that waits for fewest others: a chain is eliminated from both ends.
    """
    rows = {r: set(columns) for r, columns in uses.items()}
    columns: dict[int, set[int]] = {r: set() for r in uses}
    for r, used in rows.items():
        for c in used:
            columns[c].add(r)
    order = []
    left = set(rows)
    depth = dict.fromkeys(rows, 0)
    while left:
        pivot = min(left, key=lambda i: ((len(rows[i]) - 1) * (len(columns[i]) - 1), depth[i], i))
        order.append(pivot)
        left.discard(pivot)
        below, right = columns[pivot] - {pivot}, rows[pivot] - {pivot}
        for r in below:
            depth[r] = max(depth[r], depth[pivot] + 1)
            rows[r] |= right
            rows[r].discard(pivot)
        for c in right:
            columns[c] |= below
            columns[c].discard(pivot)
    return order
