"""Rotary tablet press: die filling, pre and main compression, tablet properties."""

from __future__ import annotations

from math import pi

from galenic import Input, Model, Parameter, Port, State, Variable, der
from galenic.library.tablet.compaction import (
    flat_breaking_force,
    kawakita_pressure,
    ryshkewitch_duckworth,
)
from galenic.modeling.ports import Powder
from galenic.units import quantity

ONE_TABLET = quantity("1 tablet")


class RotaryPress(Model):
    """Rotary press for flat round tablets; quasi-steady over a revolution.

    Fill depth, gap and speed follow what is set through drives of first order.

    Filling: ``w = rho_fill A h_fill`` with ``rho_fill = rho_bulk (1 - k_s turret_speed)``.
    Subclasses give the law of compression at a fixed gap (``pressure_at``); the tablet springs
    back by ``ER`` of the gap. Strength follows Ryshkewitch-Duckworth.
    Ejection force is residual die-wall pressure times contact area times friction.

    Reference: Nunes de Barros, Bhaskar, Singh, Processes 5(4):76 (2017), doi 10.3390/pr5040076
    (reduced press models for control). Values are typical ones from general knowledge.
    """

    inlet = Port(Powder)
    outlet = Port(Powder)

    D = Parameter(8.0, "mm", "die diameter", lower=0, source="tooling")
    stations = Parameter(20.0, "tablet/rev", "die stations", lower=1, source="tooling")
    rho_bulk = Parameter(
        0.52, "g/mL", "bulk density of the powder in the die", lower=0, source="assumed"
    )
    k_s = Parameter(0.0010, "1/rpm", "loss of filling with turret speed", source="assumed")
    rho_true = Parameter(1.55, "g/mL", "true density of the powder", lower=0, source="assumed")
    ER = Parameter(0.05, "1", "elastic recovery of thickness", lower=0, source="assumed")
    sigma_0 = Parameter(11.0, "MPa", "tensile strength at zero porosity", lower=0, source="assumed")
    k_eps = Parameter(7.0, "1", "effect of porosity on strength", lower=0, source="assumed")
    mu_eject = Parameter(
        0.02, "1", "wall friction times residual pressure ratio", lower=0, source="assumed"
    )

    tau_drive = Parameter(1.0, "s", "time constant of the drives", lower=0, source="assumed")

    fill_depth = Input(10.0, "mm", "fill depth", role="manipulated", lower=4, upper=16)
    main_gap = Input(
        3.6, "mm", "least punch distance, main compression", role="manipulated", lower=1.5, upper=8
    )
    pre_gap = Input(
        5.0, "mm", "least punch distance, pre compression", role="manipulated", lower=1.5, upper=10
    )
    turret_speed = Input(66.7, "rpm", "turret speed", role="manipulated", lower=0, upper=120)

    h_fill = State(10.0, "mm", "fill depth reached", lower=0)
    h_main = State(3.6, "mm", "main gap reached", lower=0)
    n_turret = State(66.7, "rpm", "turret speed reached", lower=0)

    weight = Variable("mg", "weight of one tablet")
    rate = Variable("tablet/h", "tablets made")
    main_pressure = Variable("MPa", "main compression pressure")
    main_force = Variable("kN", "main compression force")
    pre_force = Variable("kN", "pre compression force")
    thickness = Variable("mm", "tablet thickness out of the die")
    porosity = Variable("1", "tablet porosity out of the die")
    tensile_strength = Variable("MPa", "tensile strength")
    hardness = Variable("N", "breaking force")
    ejection_force = Variable("N", "ejection force")

    def equations(m):
        yield der(m.h_fill) == (m.fill_depth - m.h_fill) / m.tau_drive
        yield der(m.h_main) == (m.main_gap - m.h_main) / m.tau_drive
        yield der(m.n_turret) == (m.turret_speed - m.n_turret) / m.tau_drive
        area = pi / 4 * m.D**2
        filling = m.rho_bulk * (1 - m.k_s * m.n_turret)
        mass = filling * area * m.h_fill
        yield m.weight == mass
        yield m.rate == m.stations * m.n_turret
        yield m.inlet.flow == m.weight * m.rate / ONE_TABLET
        yield m.main_pressure == m.pressure_at(m.h_main, mass, area)
        yield m.main_force == m.main_pressure * area
        yield m.pre_force == m.pressure_at(m.pre_gap, mass, area) * area
        yield m.thickness == m.h_main * (1 + m.ER)
        yield m.porosity == 1 - mass / (m.rho_true * area * m.thickness)
        yield m.tensile_strength == ryshkewitch_duckworth(m.porosity, m.sigma_0, m.k_eps)
        yield m.hardness == flat_breaking_force(m.tensile_strength, m.D, m.thickness)
        wall = pi * m.D * m.thickness
        yield m.ejection_force == m.mu_eject * m.main_pressure * wall
        yield m.outlet.flow == m.inlet.flow
        yield m.outlet.x == m.inlet.x

    def pressure_at(m, gap, mass, area):
        """Punch pressure when the die contents ``mass`` are pressed to ``gap``."""
        raise NotImplementedError(f"{type(m).__name__} gives no law of compression")


class TabletPress(RotaryPress):
    """Rotary press whose powder follows Kawakita, from the bulk volume of the die contents."""

    a = Parameter(0.72, "1", "Kawakita a", lower=0, upper=1, source="assumed")
    b = Parameter(0.05, "1/MPa", "Kawakita b", lower=0, source="assumed")

    def pressure_at(m, gap, mass, area):
        """Kawakita pressure when the die contents are pressed to ``gap``."""
        reduction = 1 - m.rho_bulk * area * gap / mass
        return kawakita_pressure(reduction, m.a, m.b)
