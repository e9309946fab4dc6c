"""Functions of time over a short span as Chebyshev series of fixed degree."""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

DEGREE = 14
TERMS = DEGREE + 1
NODES = 0.5 - 0.5 * np.cos(np.pi * np.arange(TERMS) / DEGREE)
"""Places at which a function is known, as shares of the span: 0 to 1."""
GRID = tuple(float(node) for node in NODES[1:])

_FIT = np.linalg.inv(np.polynomial.chebyshev.chebvander(2.0 * NODES - 1.0, DEGREE))


def series(values: Array) -> Array:
    """Coefficients (..., TERMS) of the function with ``values`` (..., TERMS) at ``NODES``.

    Constants stay what they are, to the last bit.

    >>> bool(np.allclose(value(series(NODES**3), 0.3), 0.027))
    True
    """
    found = np.asarray(values @ _FIT.T)
    still = (values == values[..., :1]).all(axis=-1)
    found[still] = 0.0
    found[still, 0] = values[still, 0]
    return found


def value(coefficients: Array, share: Any) -> Array:
    """Values (...) of series (..., TERMS) at a share of the span."""
    terms = np.moveaxis(coefficients, -1, 0)
    return np.asarray(np.polynomial.chebyshev.chebval(2.0 * share - 1.0, terms, tensor=False))


def symbolic(coefficients: ca.SX, share: ca.SX) -> ca.SX:
    """A series as an expression of the share of the span, by Clenshaw's recurrence."""
    place = 2 * share - 1
    later, last = ca.SX(0), ca.SX(0)
    for k in range(DEGREE, 0, -1):
        later, last = last, coefficients[k] + 2 * place * last - later
    return coefficients[0] + place * last - later
