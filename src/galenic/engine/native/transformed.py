"""Coefficients of a Rosenbrock method for stages in v = u + k, as ``together`` uses them."""

from __future__ import annotations

from fractions import Fraction

from galenic.engine.native.methods import Rosenbrock

Row = tuple[float, ...]


def combinations(method: Rosenbrock) -> tuple[list[Row], list[Row], list[Row]]:
    """Coefficients of (y, v_1, v_2, ...) for u_i, q_i and the D of the dense output."""
    size = method.stages + 1

    def unit(i: int) -> list[Fraction]:
        return [Fraction(int(i == k)) for k in range(size)]

    def total(start: list[Fraction], row: Row, terms: list[list[Fraction]]) -> list[Fraction]:
        shares = [Fraction(share) for share in row]
        return [
            value + sum(share * term[k] for share, term in zip(shares, terms, strict=False))
            for k, value in enumerate(start)
        ]

    arguments: list[list[Fraction]] = []
    sums: list[list[Fraction]] = []
    moved: list[list[Fraction]] = []
    for i in range(method.stages):
        argument = unit(i)
        if i - 1 < len(method.a):
            argument = total(unit(0), method.a[i - 1] if i else (), moved)
        start = [value / Fraction(method.gamma) for value in argument]
        sums.append(total(start, method.coupling[i - 1] if i else (), moved))
        arguments.append(argument)
        moved.append([a - b for a, b in zip(unit(i + 1), argument, strict=True)])
    dense = [total([Fraction(0)] * size, row, moved) for row in method.dense]
    return _rounded(arguments), _rounded(sums), _rounded(dense)


def shortened(method: Rosenbrock, sums: list[Row]) -> Row:
    """Shares of (q, v) of the two stages before in q of the last one; empty where it needs more.

    The last two right-hand sides are in proportion (``Rosenbrock.again``), and where both arguments
    are the v before, so is what they add to q: coefficients alone, whatever f is.
    """
    last, again, carry = method.stages - 1, method.again[-1], method.carry[-1][-1]
    found = [(1 + again) * b - again * a for a, b in zip(*sums[last - 2 : last], strict=True)]
    found[last] += carry
    found[last - 1] -= carry
    apart = max(abs(a - b) for a, b in zip(found, sums[last], strict=True))
    return (-again, 1 + again, -carry, carry) if again and apart < 1e-11 else ()


def _rounded(rows: list[list[Fraction]]) -> list[Row]:
    """As numbers, without what only the digits of the method leave."""
    return [tuple(float(v) if abs(v) > 1e-12 else 0.0 for v in row) for row in rows]
