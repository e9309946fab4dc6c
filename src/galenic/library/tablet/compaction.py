"""Laws of powder compaction and tablet strength, for numbers and for model expressions.

Arguments are in consistent units; D is the relative density, C the relative volume reduction, P
the punch pressure, eps the porosity.
"""

from __future__ import annotations

from math import pi

from galenic import exp, log


def heckel_density(P, K, A):
    """In-die relative density of Heckel: ``ln(1/(1 - D)) = K P + A``.

    Reference: Heckel, Trans. Metall. Soc. AIME 221 (1961) 671-675 (from general knowledge).

    Examples
    --------
    >>> round(float(heckel_density(100.0, 0.01, 0.6)), 8)
    0.79810348
    """
    return 1 - exp(-(K * P + A))


def heckel_pressure(D, K, A):
    """Punch pressure that gives relative density ``D``; the inverse of ``heckel_density``."""
    return (-log(1 - D) - A) / K


def kawakita_reduction(P, a, b):
    """Relative volume reduction of Kawakita: ``C = a b P/(1 + b P)``.

    Reference: Kawakita, Ludde, Powder Technol. 4 (1971) 61-68 (from general knowledge).

    Examples
    --------
    >>> round(float(kawakita_reduction(50.0, 0.72, 0.12)), 8)
    0.61714286
    """
    return a * b * P / (1 + b * P)


def kawakita_pressure(C, a, b):
    """Punch pressure at volume reduction ``C``: ``P = C/(b (a - C))``; needs ``C < a``."""
    return C / (b * (a - C))


def ryshkewitch_duckworth(eps, sigma_0, k):
    """Tensile strength at porosity ``eps``: ``sigma_0 exp(-k eps)``."""
    return sigma_0 * exp(-k * eps)


def leuenberger(P, D, sigma_max, gamma):
    """Tensile strength: ``sigma_max (1 - exp(-gamma P D))``."""
    return sigma_max * (1 - exp(-gamma * P * D))


def flat_tensile(F, D, t):
    """Tensile strength of a flat tablet broken across: ``2 F/(pi D t)``.

    ``D`` is the diameter, ``t`` the thickness, ``F`` the breaking force.

    Examples
    --------
    >>> round(flat_tensile(100.0, 8e-3, 3.5e-3) / 1e6, 10)
    2.2736420442
    """
    return 2 * F / (pi * D * t)


def flat_breaking_force(sigma, D, t):
    """Breaking force of a flat tablet of tensile strength ``sigma``."""
    return sigma * pi * D * t / 2


def convex_tensile(F, D, t, W):
    """Tensile strength of a convex round tablet (Pitt, Newton, Stanley 1988).

    ``t`` is the overall thickness and ``W`` the height of the cylinder. The coefficients are
    those of USP <1217>, from general knowledge.

    Examples
    --------
    >>> round(convex_tensile(100.0, 8e-3, 4e-3, 2.6e-3) / 1e6, 10)
    2.2007980473
    """
    return 10 * F / (pi * D**2 * (2.84 * t / D - 0.126 * t / W + 3.15 * W / D + 0.01))
