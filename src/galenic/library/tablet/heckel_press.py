"""A tablet press whose powder follows Heckel instead of Kawakita."""

from __future__ import annotations

from galenic import Parameter
from galenic.library.tablet.compaction import heckel_pressure
from galenic.library.tablet.press import RotaryPress


class HeckelPress(RotaryPress):
    """Rotary press for flat round tablets; in-die density follows Heckel.

    ``ln(1/(1 - D)) = K P + A_H`` with the mean yield pressure ``1/K``. Needs a relative density
    below one and above the one that Heckel's intercept gives at no pressure.
    """

    K = Parameter(0.0100, "1/MPa", "Heckel slope, one over mean yield pressure", lower=0,
                  source="assumed")  # fmt: skip
    A_H = Parameter(0.60, "1", "Heckel intercept", source="assumed")

    def pressure_at(m, gap, mass, area):
        """Heckel pressure when the die contents are pressed to ``gap``."""
        return heckel_pressure(mass / (m.rho_true * area * gap), m.K, m.A_H)
