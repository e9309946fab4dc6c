"""What the liver extracts, from its intrinsic clearance; and that from in-vitro measurements.

Sources: Pang and Rowland, J Pharmacokinet Biopharm 5:625-653, 1977, doi:10.1007/BF01059688
(well-stirred and parallel-tube); Roberts and Rowland, J Pharmacokinet Biopharm 14:227-260, 1986,
doi:10.1007/BF01106706 (dispersion).
"""

from __future__ import annotations

import math

MICROSOMAL_PROTEIN = 40.0
"""mg microsomal protein per g liver; as in the OSP midazolam report."""
HEPATOCYTES = 110e6
"""Cells per g liver; as in httk."""
DISPERSION = 0.17
"""Dispersion number of the human liver; Roberts and Rowland 1986."""


def well_stirred(unbound: float, flow: float) -> float:
    """Extraction ratio of a liver that is mixed throughout.

    Parameters
    ----------
    unbound : float [L/h]
        Clearance from blood that the enzymes would give without limit of flow: fu CLint / Rb.
    flow : float [L/h]
        Blood flow of the liver.

    Examples
    --------
    >>> round(well_stirred(0.031 * 300 / 0.66, 90), 6)
    0.135371
    """
    return unbound / (flow + unbound)


def parallel_tube(unbound: float, flow: float) -> float:
    """Extraction ratio of a liver through which blood passes in plug flow.

    Examples
    --------
    >>> round(parallel_tube(0.031 * 300 / 0.66, 90), 6)
    0.144925
    """
    return -math.expm1(-unbound / flow)


def dispersed(unbound: float, flow: float, number: float = DISPERSION) -> float:
    """Extraction ratio between the two, with axial dispersion ``number``.

    Examples
    --------
    >>> round(dispersed(0.031 * 300 / 0.66, 90), 6)
    0.14208
    """
    efficiency = unbound / flow
    a = math.sqrt(1.0 + 4.0 * efficiency * number)
    # Both exponentials over exp((a - 1) / 2 number), which overflows for a small number.
    down, up = math.exp(-(a - 1.0) / (2.0 * number)), math.exp(-a / number)
    return 1.0 - 4.0 * a * down / ((1.0 + a) ** 2 - (1.0 - a) ** 2 * up)


def of_microsomes(
    clint: float, liver_mass: float, protein: float = MICROSOMAL_PROTEIN, unbound: float = 1.0
) -> float:
    """Intrinsic clearance of the whole liver [L/h] from microsomes.

    Parameters
    ----------
    clint : float [uL/min/mg protein]
    liver_mass : float [g]
    protein : float [mg/g]
    unbound : float
        Free share in the incubation.

    Examples
    --------
    >>> of_microsomes(10.0, 1800.0)
    43.2
    """
    return clint / unbound * protein * liver_mass * 60e-6


def of_hepatocytes(
    clint: float, liver_mass: float, cells: float = HEPATOCYTES, unbound: float = 1.0
) -> float:
    """Intrinsic clearance of the whole liver [L/h] from hepatocytes [uL/min/1e6 cells].

    Examples
    --------
    >>> round(of_hepatocytes(10.0, 1800.0), 6)
    118.8
    """
    return clint / unbound * (cells / 1e6) * liver_mass * 60e-6
