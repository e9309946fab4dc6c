"""All estimated numbers in one unbounded vector: fixed effects, Omega, sigmas.

Fixed effects stand on the scale of their kind (log, logit or plain), Omega as the Cholesky factor
of each block with logarithms on its diagonal, sigmas as logarithms of sd.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from galenic.errors import UnknownName
from galenic.inference.algebra import Array, inverse_positive
from galenic.inference.mixed.effects import Joined
from galenic.inference.mixed.errors import Errors


@dataclass(frozen=True, eq=False)
class Point:
    """One parameter vector taken apart.

    Parameters
    ----------
    fixed : array (n_fixed,)
        On their scales.
    omega : array (n_effects, n_effects)
        Covariance of all random effects, those of occasions included.
    sigma : array (n_sigma,)
        Logarithms of sd.
    """

    fixed: Array
    omega: Array
    sigma: Array

    @cached_property
    def precision(self) -> Array:
        """Inverse of Omega."""
        return inverse_positive(self.omega) if self.omega.size else self.omega


class Packing:
    """The order of the vector, and ways to and from it.

    Parameters
    ----------
    joined : Joined
    errors : Errors
    hold : sequence of str
        Names of ``names`` that are not estimated.
    """

    def __init__(self, joined: Joined, errors: Errors, hold: Sequence[str] = ()) -> None:
        self.joined, self.errors = joined, errors
        population = joined.population
        self.blocks = _blocks(np.asarray(population.omega), population)
        self.places = [(i, j) for block in self.blocks for i in block for j in block if j <= i]
        self.kappas = [float(t.sd) for t in population.occasions]
        terms = [t.parameter for t in population.between]
        self.names = [f.path for f in joined.fixed]
        self.names += [
            f"omega({terms[i]})" if i == j else f"omega({terms[i]},{terms[j]})"
            for i, j in self.places
        ]
        self.names += [f"omega_occasion({t.parameter})" for t in population.occasions]
        self.names += errors.names
        self.n_fixed, self.n_omega = len(joined.fixed), len(self.places)
        for name in hold:
            if name not in self.names:
                raise UnknownName.among("estimated number", name, self.names, where="hold")
        self.free = np.array([name not in hold for name in self.names])

    @property
    def size(self) -> int:
        return len(self.names)

    def start(self) -> Array:
        """The vector of the population's own values."""
        omega = np.asarray(self.joined.population.omega, float)
        root = np.linalg.cholesky(omega) if len(omega) else omega
        entries = [np.log(root[i, i]) if i == j else root[i, j] for i, j in self.places]
        kappas = [np.log(sd) for sd in self.kappas]
        return np.concatenate([self.joined.inner(), entries, kappas, self.errors.start])

    def root(self, xi: Array) -> Array:
        """Cholesky factor of Omega between subjects."""
        root = np.zeros((self.joined.n_eta,) * 2)
        for (i, j), value in zip(self.places, xi[self.n_fixed :], strict=False):
            root[i, j] = np.exp(value) if i == j else value
        return root

    def point(self, xi: Array) -> Point:
        """The vector taken apart."""
        root = self.root(xi)
        q = self.joined.n_effects
        omega = np.zeros((q, q))
        n = self.joined.n_eta
        omega[:n, :n] = root @ root.T
        first = self.n_fixed + self.n_omega
        for k in range(len(self.kappas)):
            for o in range(self.joined.occasions):
                place = n + k * self.joined.occasions + o
                omega[place, place] = np.exp(2 * xi[first + k])
        return Point(xi[: self.n_fixed], omega, xi[first + len(self.kappas) :])

    def pull(self, xi: Array, by_omega: Array) -> Array:
        """Derivatives (..., n_omega + n_kappa) by the vector from those by Omega (..., q, q)."""
        n = self.joined.n_eta
        root = self.root(xi)
        by_root = 2 * by_omega[..., :n, :n] @ root
        found = [
            by_root[..., i, j] * (root[i, i] if i == j else 1.0) for i, j in self.places
        ]  # fmt: skip
        first = self.n_fixed + self.n_omega
        for k in range(len(self.kappas)):
            places = [n + k * self.joined.occasions + o for o in range(self.joined.occasions)]
            total = sum(by_omega[..., p, p] for p in places)
            found.append(2 * np.exp(2 * xi[first + k]) * total)
        return np.stack(found, axis=-1) if found else np.zeros((*by_omega.shape[:-2], 0))

    def vector(self, point: Point) -> Array:
        """The vector of a Point."""
        n = self.joined.n_eta
        root = np.linalg.cholesky(point.omega[:n, :n]) if n else np.zeros((0, 0))
        entries = [np.log(root[i, i]) if i == j else root[i, j] for i, j in self.places]
        kappas = []
        for k in range(len(self.kappas)):
            place = n + k * self.joined.occasions
            kappas.append(0.5 * np.log(point.omega[place, place]))
        return np.concatenate([point.fixed, entries, kappas, point.sigma])

    def masked(self, omega: Array) -> Array:
        """Omega between subjects with zeros where no covariance is estimated."""
        keep = np.zeros_like(omega, bool)
        for i, j in self.places:
            keep[i, j] = keep[j, i] = True
        return np.where(keep, omega, 0.0)

    def natural(self, xi: Array) -> Array:
        """What is reported: declared units, entries of Omega (variances), sd of errors."""
        point = self.point(xi)
        fixed = [f.declared(x) for f, x in zip(self.joined.fixed, point.fixed, strict=True)]
        omega = [point.omega[i, j] for i, j in self.places]
        n = self.joined.n_eta
        kappas = np.diag(point.omega)[n :: self.joined.occasions]
        return np.array([*fixed, *omega, *kappas, *np.exp(point.sigma)], float)

    def units(self) -> list[str]:
        """Units of what is reported."""
        fixed = [f.unit.text for f in self.joined.fixed]
        rest = ["1"] * (self.n_omega + len(self.kappas))
        return fixed + rest + ["DV" if n.endswith("additive") else "1" for n in self.errors.names]


def _blocks(omega: Array, population: Any) -> list[list[int]]:
    """Random effects that are correlated, as groups."""
    names = [t.parameter for t in population.between]
    linked = np.eye(len(names), dtype=bool)
    for a, b in population.correlations:
        i, j = names.index(a), names.index(b)
        linked[i, j] = linked[j, i] = True
    left, found = set(range(len(names))), []
    while left:
        group, stack = set(), [min(left)]
        while stack:
            i = stack.pop()
            if i not in group:
                group.add(i)
                stack += [int(j) for j in np.flatnonzero(linked[i])]
        found.append(sorted(group))
        left -= group
    return found
