"""Which parameters, or which combinations of them, can the data tell?

Local: the singular values of the standardised derivative say how sharply each direction of
parameter space is seen. Directions that are not seen leave only combinations: on the log scale a
combination is a product of powers, such as ``rho_bulk*h_fill``. They are named by the reduced row
echelon form of the seen directions, which gives the sparsest products with a pivot each.
Structural: the rank of the derivative at random points; a rank below the number of parameters at
every point means that no amount of data of this kind helps. Practical: profile likelihood.

Sources: Raue et al. 2009, doi:10.1093/bioinformatics/btp358; Chis, Banga and Balsa-Canto, PLoS ONE
6(11):e27755, 2011, doi:10.1371/journal.pone.0027755.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from galenic.errors import DataError
from galenic.inference.algebra import Array
from galenic.inference.fit import Fit, first_values
from galenic.inference.problem import Problem
from galenic.inference.profile import Profile

RANK_TOLERANCE = 1e-7


@dataclass(frozen=True)
class Combination:
    """A combination of parameters and how well it is known.

    Parameters
    ----------
    text : str
        ``"rho_bulk*h_fill"`` on log scales, ``"a + 2*b"`` on linear ones.
    exponents : mapping name -> power (or factor)
    sd : float
        Standard deviation on the combination's own scale: relative for a product.
    value : float [SI]
        Its value where it was judged.
    estimable : bool
        Whether ``sd`` is below the tolerance.
    """

    text: str
    exponents: dict[str, float]
    sd: float
    value: float
    estimable: bool

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, eq=False)
class Identifiability:
    """What can be estimated, in numbers and words.

    ``structural_rank`` is the rank for noise-free data of this kind, ``practical_rank`` the number
    of directions known better than ``tolerance`` with the stated noise.
    """

    names: tuple[str, ...]
    structural_rank: int
    practical_rank: int
    singular_values: Array
    directions: Array
    combinations: tuple[Combination, ...]
    alone: tuple[str, ...]
    unseen: tuple[str, ...]
    tolerance: float
    profiles: tuple[Profile, ...] = ()

    @property
    def is_identifiable(self) -> bool:
        """Whether every parameter can be estimated by itself."""
        return len(self.alone) == len(self.names)

    @property
    def estimable(self) -> tuple[Combination, ...]:
        """The combinations that can be estimated, best known first."""
        return tuple(c for c in self.combinations if c.estimable)

    def report(self) -> str:
        """The finding in words."""
        n = len(self.names)
        lines = [
            f"{n} parameters; structural rank {self.structural_rank}; "
            f"{self.practical_rank} direction(s) known better than {self.tolerance:.0%}."
        ]
        if self.structural_rank < n:
            lines.append(
                f"No amount of data of this kind can separate all {n}: "
                f"{n - self.structural_rank} direction(s) leave the readings unchanged."
            )
        if self.unseen:
            lines.append(f"Without any effect on the readings: {', '.join(self.unseen)}.")
        if self.alone:
            lines.append(f"Known by themselves: {', '.join(self.alone)}.")
        for c in self.combinations:
            verdict = "can be estimated" if c.estimable else "too uncertain"
            lines.append(f"  {c.text} = {c.value:.6g} (SI), sd {c.sd:.2g}: {verdict}")
        for p in self.profiles:
            sides = [
                s for s, is_open in (("below", p.open_below), ("above", p.open_above)) if is_open
            ]
            state = f"open {' and '.join(sides)}" if sides else "bounded"
            lines.append(f"  profile of {p.name}: {state}, {p.lower:.6g} to {p.upper:.6g} (SI)")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "parameters": list(self.names),
            "structural_rank": self.structural_rank,
            "practical_rank": self.practical_rank,
            "singular_values": self.singular_values.tolist(),
            "directions": self.directions.tolist(),
            "combinations": [c.to_dict() for c in self.combinations],
            "alone": list(self.alone),
            "unseen": list(self.unseen),
            "is_identifiable": self.is_identifiable,
            "report": self.report(),
        }


def identify(
    problem: Problem,
    at: Array | None = None,
    *,
    tolerance: float = 0.3,
    points: int = 4,
    rng: np.random.Generator | None = None,
    profiles: Fit | None = None,
) -> Identifiability:
    """Judge which parameters of a problem can be estimated.

    Parameters
    ----------
    at : array, optional
        Parameters on their own scale; the problem's start if left out.
    tolerance : float
        A combination counts as known if its sd (relative on log scales; as a share of its value
        on linear ones) is below this.
    points : int
        Random points, besides ``at``, for the structural rank (needs ``rng``).
    profiles : Fit, optional
        A fit whose profile likelihoods are added.
    """
    theta = problem.start if at is None else np.asarray(at, dtype=float)
    scale = _scales(problem, theta)
    jacobian = problem.linear(theta)[1] / problem.sds[:, None] * scale
    if not np.all(np.isfinite(jacobian)):
        raise DataError("the derivative is not finite", where="identify")
    _, s, vt = np.linalg.svd(jacobian, full_matrices=True)
    n = len(theta)
    s = np.concatenate([s, np.zeros(n - len(s))])
    structural = _structural_rank(problem, theta, points, rng)
    practical = int(np.sum(s * tolerance > 1.0))
    seen = min(practical, structural)
    names = problem.names
    seeing = (s, vt, structural)
    combos = _combinations(problem, theta, scale, seeing, seen, tolerance)
    alone = tuple(
        name for i, name in enumerate(names) if marginal_sd(np.eye(n)[i], *seeing) < tolerance
    )
    unseen = tuple(
        name for i, name in enumerate(names) if np.linalg.norm(jacobian[:, i]) <= 1e-12 * s[0]
    )
    shown = tuple(profiles.profile(name) for name in names) if profiles is not None else ()
    return Identifiability(
        names, structural, practical, s, vt, combos, alone, unseen, tolerance, shown
    )


def _scales(problem: Problem, theta: Array) -> Array:
    """Unit of each coordinate: 1 on a log scale (relative), the value itself on a linear one."""
    size = np.maximum(np.abs(theta), 1e-12)
    return np.where(problem.logs, 1.0, size)


def marginal_sd(row: Array, s: Array, vt: Array, rank: int) -> float:
    """Standard deviation of a combination, infinite if an invisible direction contains it."""
    parts = vt @ row
    if np.linalg.norm(parts[rank:]) > 1e-6 * np.linalg.norm(row):
        return float("inf")
    return float(np.linalg.norm(parts[:rank] / s[:rank]))


def _structural_rank(
    problem: Problem, theta: Array, points: int, rng: np.random.Generator | None
) -> int:
    """The largest numeric rank of the column-scaled derivative over several points."""
    places = [theta]
    if rng is not None and points > 0:
        places += first_values(problem, points + 1, rng)[1:]
    ranks = []
    for place in places:
        jacobian = problem.linear(place)[1] / problem.sds[:, None]
        norms = np.linalg.norm(jacobian, axis=0)
        scaled = jacobian / np.where(norms > 0, norms, 1.0)
        s = np.linalg.svd(scaled, compute_uv=False)
        ranks.append(int(np.sum(s > RANK_TOLERANCE * s[0])) if s[0] > 0 else 0)
    return max(ranks)


def _combinations(
    problem: Problem,
    theta: Array,
    scale: Array,
    seeing: tuple[Array, Array, int],
    rank: int,
    tolerance: float,
) -> tuple[Combination, ...]:
    """Named combinations that span the seen directions, best known first."""
    s, vt, _ = seeing
    found = []
    for exact in echelon(vt[:rank], s[:rank]):
        row = simplest(exact, seeing, tolerance)
        sd = marginal_sd(row, *seeing)
        found.append(_named(problem, theta, scale, row, sd, tolerance))
    return tuple(sorted(found, key=lambda c: c.sd))


def echelon(basis: Array, weights: Array) -> Array:
    """Reduced row echelon form of the row space, pivots on the best seen coordinates.

    Coordinates are taken in order of how much they take part in well-seen directions.
    """
    table = basis.copy()
    importance = np.linalg.norm(basis * weights[:, None], axis=0)
    order = np.argsort(-importance, kind="stable")
    row = 0
    for column in order:
        if row == len(table):
            break
        pivot = row + int(np.argmax(np.abs(table[row:, column])))
        if abs(table[pivot, column]) < 1e-6:
            continue
        table[[row, pivot]] = table[[pivot, row]]
        table[row] /= table[row, column]
        for other in range(len(table)):
            if other != row:
                table[other] -= table[other, column] * table[row]
        row += 1
    return table


def simplest(row: Array, seeing: tuple[Array, Array, int], tolerance: float) -> Array:
    """The roundest exponents that are known about as well as the exact ones.

    Tried from coarse to fine: small powers dropped and others rounded to halves, as long as the
    standard deviation grows by no more than a tenth. A power within 0.02 of a half is rounded if
    the result is still well inside the tolerance.
    """
    exact = marginal_sd(row, *seeing)
    for within, limit in ((0.25, 0.0), (0.1, 0.0), (0.02, 0.5 * tolerance), (1e-6, 0.0)):
        near = np.round(row * 2) / 2
        rounded = np.where(np.abs(row - near) < within, near, row) + 0.0
        if rounded.any() and marginal_sd(rounded, *seeing) <= max(1.1 * exact, limit):
            return rounded
    return row


def _named(
    problem: Problem, theta: Array, scale: Array, row: Array, sd: float, tolerance: float
) -> Combination:
    """The combination as text: a product of powers if all its parameters are on log scales."""
    taking_part = [i for i in range(len(row)) if row[i] != 0.0]
    names, logs = problem.names, problem.logs
    if all(logs[i] for i in taking_part):
        text = _product([(names[i], row[i]) for i in taking_part])
        value = float(np.exp(row @ np.where(row != 0.0, theta, 0.0)))
        powers = {names[i]: float(row[i]) for i in taking_part}
        return Combination(text, powers, sd, value, sd < tolerance)
    factors = row / scale
    lead = factors[taking_part[int(np.argmax(np.abs(row[taking_part])))]]
    factors = factors / lead
    parts = [
        f"{factors[i]:.4g}*{'log ' if logs[i] else ''}{names[i]}".removeprefix("1*")
        for i in taking_part
    ]
    value = float(factors @ theta)
    linear = {names[i]: float(factors[i]) for i in taking_part}
    own = sd / abs(lead)
    return Combination(" + ".join(parts), linear, own, value, sd < tolerance)


def _product(powers: Sequence[tuple[str, float]]) -> str:
    above = [_power(name, power) for name, power in powers if power > 0]
    below = [_power(name, -power) for name, power in powers if power < 0]
    text = "*".join(above) or "1"
    if not below:
        return text
    return text + "/" + (below[0] if len(below) == 1 else f"({'*'.join(below)})")


def _power(name: str, power: float) -> str:
    return name if power == 1 else f"{name}^{power:.3g}"
