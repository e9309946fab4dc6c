"""Orthogonal collocation on one interval: the building block of NLPs over a model."""

from __future__ import annotations

from functools import cached_property

import casadi as ca
import numpy as np
import numpy.typing as npt

from galenic.engine.compile import Compiled
from galenic.errors import ModelError

Array = npt.NDArray[np.float64]


class Collocation:
    """Polynomials of a degree through the start and the collocation points of an interval.

    Parameters
    ----------
    compiled : Compiled
        The model.
    degree : int
        Number of collocation points.
    kind : str
        ``radau`` (last point at the end; stiff) or ``legendre``.
    """

    def __init__(self, compiled: Compiled, degree: int = 3, kind: str = "radau") -> None:
        if kind not in ("radau", "legendre") or not 1 <= degree <= 9:
            raise ModelError(
                f"collocation of degree {degree} at {kind} points",
                expected="degree 1 to 9 and kind radau or legendre",
            )
        compiled.system.require_no_delays("collocation")
        self.compiled, self.degree, self.kind = compiled, degree, kind
        self.points = np.array(ca.collocation_points(degree, kind))
        slopes, end, weights = ca.collocation_coeff(self.points.tolist())
        self.slopes: Array = np.array(slopes)  # (degree + 1, degree): h x'(c_j) = [x0, X] C[:, j]
        self.end: Array = np.array(end).ravel()  # x(1) = [x0, X] D
        self.weights: Array = np.array(weights).ravel()  # integral = h f(X) B

    @cached_property
    def defects(self) -> ca.Function:
        """(t, h, x0, X, Z, u, p) -> defects (nx, degree), residuals (nz, degree), x at the end.

        ``X`` (nx, degree) and ``Z`` (nz, degree) are the unknowns at the collocation points; both
        outputs are zero where the model equations hold there.
        """
        c = self.compiled
        t, h = ca.SX.sym("t"), ca.SX.sym("h")
        x0, u, p = ca.SX.sym("x0", c.nx), ca.SX.sym("u", c.nu), ca.SX.sym("p", c.np)
        at_x = ca.SX.sym("X", c.nx, self.degree)
        at_z = ca.SX.sym("Z", c.nz, self.degree)
        line = ca.horzcat(x0, at_x)
        defects, residuals = [], []
        for j in range(self.degree):
            ode, alg = c.rhs(t + self.points[j] * h, at_x[:, j], at_z[:, j], u, p)
            defects.append(ca.mtimes(line, ca.DM(self.slopes[:, j])) - h * ode)
            residuals.append(alg)
        return ca.Function(
            "defects",
            [t, h, x0, at_x, at_z, u, p],
            [ca.horzcat(*defects), ca.horzcat(*residuals), ca.mtimes(line, ca.DM(self.end))],
            ["t", "h", "x0", "X", "Z", "u", "p"],
            ["defects", "residuals", "end"],
        )
