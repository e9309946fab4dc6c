"""Solving a system of equations in block-lower-triangular order.

Unknowns that one equation gives explicitly are substituted, small linear blocks are solved
symbolically after tearing, the rest stays algebraic. What cannot be solved is named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import casadi as ca

from galenic.modeling.expression import elements

Pivot = tuple[tuple[int, ...], tuple[int, ...], ca.SX]
SYMBOLIC = 3  # largest torn linear block that is solved symbolically


class Singular(Exception):
    """Equations that cannot determine their unknowns: rows and columns concerned."""

    def __init__(self, rows: Sequence[int], columns: Sequence[int]) -> None:
        super().__init__("dependent equations")
        self.rows = tuple(rows)
        self.columns = tuple(columns)


@dataclass
class Solution:
    """Definitions in an order in which each needs only earlier ones, and what stays implicit.

    ``columns`` says which unknown each definition is for. ``pivots`` are the matrices by which
    blocks were divided (rows, columns, matrix): where one is
    singular, its equations are dependent.
    """

    symbols: list[ca.SX] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    definitions: list[ca.SX] = field(default_factory=list)
    algebraic: list[int] = field(default_factory=list)
    residuals: list[ca.SX] = field(default_factory=list)
    pivots: list[Pivot] = field(default_factory=list)

    def define(self, incidence: Incidence, columns: list[int], definition: ca.SX) -> None:
        """Note what the unknowns ``columns`` are."""
        self.columns += columns
        self.symbols.append(incidence.w[columns])
        self.definitions.append(definition)

    def substituted(self, expressions: list[ca.SX]) -> tuple[list[ca.SX], ca.SX]:
        """``expressions`` free of solved unknowns, and the definitions likewise."""
        if not self.symbols:
            return expressions, ca.SX(0, 1)
        symbols, definitions = ca.vertcat(*self.symbols), ca.vertcat(*self.definitions)
        solved, rest = ca.substitute_inplace([symbols], [definitions], expressions, False)
        return rest, solved[0]


@dataclass
class Incidence:
    """The equations ``left == right`` (columns) over the unknowns ``w``."""

    left: ca.SX
    right: ca.SX
    w: ca.SX

    def __post_init__(self) -> None:
        self.left, self.right = ca.densify(self.left), ca.densify(self.right)
        self.residual = self.left - self.right
        self.sparsity = ca.jacobian_sparsity(self.residual, self.w)
        columns = {symbol.element_hash(): j for j, symbol in enumerate(elements(self.w))}
        self.assigns = [
            columns.get(left.element_hash(), -1) if left.is_symbolic() else -1
            for left in elements(self.left)
        ]
        rows, cols = ca.jacobian_sparsity(self.right, self.w).get_triplet()
        self.on_right = set(zip(rows, cols, strict=True))

    def explicit(self, row: int, column: int) -> bool:
        """Whether the equation says ``unknown == something without it``."""
        return self.assigns[row] == column and (row, column) not in self.on_right

    def structural_rank(self) -> int:
        """How many unknowns the equations can determine at best."""
        return int(ca.sprank(ca.SX(self.sparsity, 1)))

    def faults(self) -> tuple[list[int], list[int], list[int], list[int]]:
        """Rows too many with their columns, and columns too many with their rows."""
        _, rows, cols, _, _, coarse_rows, coarse_cols = self.sparsity.btf()
        over = rows[: coarse_rows[2]], cols[: coarse_cols[1]]
        under = rows[coarse_rows[3] :], cols[coarse_cols[2] :]
        return list(over[0]), list(over[1]), list(under[0]), list(under[1])


def solve(incidence: Incidence, keep: Iterable[int] = ()) -> Solution:
    """Solve a structurally regular system; ``keep`` are columns that should rather be solved."""
    count, rows, cols, row_starts, col_starts, _, _ = incidence.sparsity.btf()
    solution = Solution()
    kept = set(keep)
    run: list[tuple[int, int]] = []
    for k in range(count):
        block_rows = rows[row_starts[k] : row_starts[k + 1]]
        block_cols = cols[col_starts[k] : col_starts[k + 1]]
        if len(block_rows) == 1 and incidence.explicit(block_rows[0], block_cols[0]):
            run.append((block_rows[0], block_cols[0]))
            continue
        _flush(incidence, solution, run)
        _solve_block(incidence, solution, block_rows, block_cols, kept)
    _flush(incidence, solution, run)
    return solution


def _flush(incidence: Incidence, solution: Solution, run: list[tuple[int, int]]) -> None:
    """Define a run of explicitly given unknowns at once."""
    if run:
        rows = [i for i, _ in run]
        solution.define(incidence, [j for _, j in run], incidence.right[rows])
        run.clear()


def _solve_block(
    incidence: Incidence, solution: Solution, rows: list[int], cols: list[int], kept: set[int]
) -> None:
    chain, torn_rows, torn_cols = _tear(incidence, rows, cols, kept)
    residual = incidence.residual[torn_rows]
    if chain:
        symbols = incidence.w[[j for j, _ in chain]]
        definitions = ca.vertcat(*(definition for _, definition in chain))
        _, (residual,) = ca.substitute_inplace([symbols], [definitions], [residual], False)
    if torn_cols:
        _solve_torn(incidence, solution, rows, cols, torn_cols, torn_rows, residual)
    for column, definition in chain:
        solution.define(incidence, [column], definition)


def _solve_torn(
    incidence: Incidence,
    solution: Solution,
    rows: list[int],
    cols: list[int],
    torn_cols: list[int],
    torn_rows: list[int],
    residual: ca.SX,
) -> None:
    torn = incidence.w[torn_cols]
    matrix = ca.jacobian(residual, torn)
    linear = not ca.depends_on(matrix, torn)
    if linear and _never_regular(matrix):
        raise Singular(rows, cols)
    solution.pivots.append((tuple(rows), tuple(cols), matrix))
    if linear and len(torn_cols) <= SYMBOLIC:
        constant = ca.substitute(residual, torn, ca.SX.zeros(*torn.shape))
        solution.define(incidence, torn_cols, -_divided(matrix, constant))
    else:
        solution.algebraic += torn_cols
        solution.residuals.append(incidence.residual[torn_rows])


def _divided(matrix: ca.SX, right: ca.SX) -> ca.SX:
    """The solution of ``matrix`` times it equals ``right``, up to size :data:`SYMBOLIC`."""
    if matrix.numel() == 1:
        return right / matrix
    return ca.mtimes(ca.inv_minor(ca.densify(matrix)), right)


def _never_regular(matrix: ca.SX) -> bool:
    """Whether a matrix is singular whatever its symbols stand for, as far as SX can tell."""
    dense = ca.densify(matrix)
    if matrix.shape[0] <= SYMBOLIC:
        determinant = ca.simplify(ca.det(dense)) if matrix.shape[0] > 1 else dense
        return bool(determinant.is_constant() and abs(float(determinant)) < 1e-14)
    return bool(ca.sprank(ca.sparsify(matrix)) < matrix.shape[0])


def _tear(
    incidence: Incidence, rows: list[int], cols: list[int], kept: set[int]
) -> tuple[list[tuple[int, ca.SX]], list[int], list[int]]:
    """Choose torn unknowns so that the others follow one after the other.

    Gives the others with their definitions, the equations left over, and the torn unknowns.
    """
    solvable, touches = _block_graph(incidence, rows, cols)
    open_vars = {row: set(columns) for row, columns in touches.items()}
    rows_of: dict[int, set[int]] = defaultdict(set)
    for row, columns in touches.items():
        for column in columns:
            rows_of[column].add(row)
    chain: list[tuple[int, ca.SX]] = []
    torn: list[int] = []
    left_over: list[int] = []
    ready = [row for row in rows if len(open_vars[row]) == 1]

    def assign(column: int) -> None:
        for row in rows_of.pop(column, set()):
            if row in open_vars:
                open_vars[row].discard(column)
                if len(open_vars[row]) == 1:
                    ready.append(row)

    while rows_of:
        while ready:
            row = ready.pop()
            if row not in open_vars or len(open_vars[row]) != 1:
                continue
            (column,) = open_vars[row]
            if (row, column) in solvable:
                del open_vars[row]
                chain.append((column, solvable[row, column]))
                assign(column)
        if rows_of:
            column = max(rows_of, key=lambda j: (j not in kept, len(rows_of[j] & open_vars.keys())))
            torn.append(column)
            assign(column)
    left_over = sorted(open_vars)
    return chain, left_over, torn


def _block_graph(
    incidence: Incidence, rows: list[int], cols: list[int]
) -> tuple[dict[tuple[int, int], ca.SX], dict[int, list[int]]]:
    """Which equation can be solved for which unknown (with its solution), and what each touches."""
    w = incidence.w[cols]
    matrix = ca.jacobian(incidence.residual[rows], w)
    solvable: dict[tuple[int, int], ca.SX] = {}
    touches: dict[int, list[int]] = {row: [] for row in rows}
    for a, b, coefficient in zip(*matrix.sparsity().get_triplet(), elements(matrix), strict=True):
        row, column = rows[a], cols[b]
        touches[row].append(column)
        if incidence.explicit(row, column):
            solvable[row, column] = incidence.right[row]
        elif coefficient.is_constant() and float(coefficient) != 0.0:
            rest = ca.substitute(incidence.residual[row], incidence.w[column], 0)
            solvable[row, column] = -rest / float(coefficient)
    return solvable, touches
