"""Continuous blender with axial dispersion and dead time, resolved along its length."""

from __future__ import annotations

from galenic import Field, Grid, Model, Parameter, Port, Size, delay, der
from galenic.modeling.ports import Powder


class AxialBlender(Model):
    """Blender of constant hold-up in which powder moves as a plug and disperses along the way.

    Powder passes a conveying zone of plug flow (``dead_time``) and then a mixing zone with Peclet
    number ``Pe``, closed to dispersion at both ends (Danckwerts 1953,
    doi:10.1016/0009-2509(53)80001-1): mean time ``dead_time + M/flow``, variance of the mixing
    zone ``2/Pe - 2/Pe^2 (1 - exp(-Pe))`` of its squared mean. The conveying zone is a chain of
    lags (see ``delay``), which adds ``dead_time^2/20`` to the variance.
    """

    inlet = Port(Powder, flow="20 kg/h", x=0.1)
    outlet = Port(Powder)

    n = Size(40, "number of cells")

    M = Parameter(0.33, "kg", "mass in the mixing zone", lower=0, source="assumed")
    Pe = Parameter(5.0, "1", "Peclet number", lower=0, source="assumed")
    dead_time = Parameter(5.0, "s", "time in the conveying zone", lower=0, source="assumed")
    length = Parameter(1.0, "m", "length of the mixing zone", lower=0, source="scale only")

    z = Grid("length", n)
    x = Field(z, 0.1, "1", "mass fraction of active", lower=0, upper=1)

    def equations(m):
        velocity = m.inlet.flow / m.M * m.length
        entering = delay(m.inlet.x, m.dead_time, name="conveyed")
        flux = m.z.convection(m.x, velocity, inlet=entering, scheme="van leer")
        flux += m.z.dispersion(m.x, velocity * m.length / m.Pe)
        yield der(m.x) == -m.z.divergence(flux)
        yield m.outlet.flow == m.inlet.flow
        yield m.outlet.x == m.x[m.n - 1]
