"""A press as a production record shows it: forces, depth and gaps, and no weight."""

from __future__ import annotations

from galenic import Input, Model, Parameter, State, Variable, der, maximum, where
from galenic.library.tablet.compaction import kawakita_pressure
from galenic.units import quantity

NINETY = 1.645  # sd that hold 90 % of a normal quantity
STANDSTILL = quantity("0 tablet/h")


class ForceHeldPress(Model):
    """Main and pre compression force of a rotary press whose own loop holds the main force.

    The die contents, filled to ``filled``, are pressed to a gap: ``C = 1 - gap/filled`` is the
    relative volume reduction, and Kawakita gives ``F = stiffness C/(a - C)``. ``stiffness`` is
    punch area over Kawakita b; a change of fill density acts on the force as a change of it does,
    and without weights nothing tells the two apart. Pre compression touches nothing when its gap
    is wider than the fill.

    The loop moves the fill depth towards the depth at which the main force would be at its set
    point; readings follow the depth through ``filled``. A press that stands moves nothing.

    Reference: Kawakita, Ludde, Powder Technol. 4 (1971) 61-68, for the law; the loop is the usual
    force control of presses (both from general knowledge). Values are those fitted to a
    commercial record, see docs/validation/press-record.md.
    """

    a = Parameter(0.92, "1", "Kawakita a", lower=0, upper=1, source="fitted")
    stiffness = Parameter(
        0.9, "kN", "punch area over Kawakita b, fill density included", lower=0, source="fitted"
    )
    set_force = Parameter(5.5, "kN", "main force that the loop holds", lower=0, source="fitted")
    T_loop = Parameter(12.0, "s", "time constant of the force loop", lower=0, source="fitted")
    T_fill = Parameter(4.0, "s", "lag of the readings behind the depth", lower=0, source="fitted")

    main_noise = Parameter(
        0.048, "kN", "sd of readings about the main force", lower=0, source="fitted"
    )
    pre_noise = Parameter(0.02, "kN", "the same of pre compression", lower=0, source="fitted")

    main_gap = Input(1.0, "mm", "least punch distance, main compression", lower=0.1, upper=5)
    pre_gap = Input(6.0, "mm", "least punch distance, pre compression", lower=0.1, upper=10)
    speed = Input(0.0, "tablet/h", "tablets made; 0 is standstill", role="covariate", lower=0)

    fill_depth = State(4.45, "mm", "fill depth", lower=0.5, upper=20)
    filled = State(4.45, "mm", "depth to which the tablets read now were filled", lower=0.5)

    main_force = Variable("kN", "main compression force")
    pre_force = Variable("kN", "pre compression force")
    main_scatter = Variable("kN", "half width that holds 90 % of main force readings")
    pre_scatter = Variable("kN", "the same of pre compression")

    def equations(m):
        reached = m.a * m.set_force / (m.stiffness + m.set_force)
        wanted = m.main_gap / (1 - reached)
        running = where(m.speed > STANDSTILL, 1.0, 0.0)
        yield der(m.fill_depth) == running * (wanted - m.fill_depth) / m.T_loop
        yield der(m.filled) == (m.fill_depth - m.filled) / m.T_fill
        yield m.main_force == m.force_at(1 - m.main_gap / m.filled)
        yield m.pre_force == m.force_at(maximum(1 - m.pre_gap / m.filled, 0.0))
        yield m.main_scatter == NINETY * m.main_noise
        yield m.pre_scatter == NINETY * m.pre_noise

    def force_at(m, reduction):
        """Force at a relative volume reduction."""
        return kawakita_pressure(reduction, m.a, 1 / m.stiffness)
