"""Absorption along the small intestine: compartmental transit (CAT), of a solution or a solid.

Reference: Yu and Amidon, Int J Pharm 186:119-125, 1999, doi:10.1016/S0378-5173(99)00147-7; seven
segments and 199 min of transit in man; 88 min in the rat as in httk 2.7.4.
"""

from __future__ import annotations

from math import log10
from typing import Any

from galenic import Conserved, Experiment, Model, Parameter, Port, Size, State, der, maximum
from galenic.modeling.ports import signal


class Intestine(Model):
    """Stomach and ``n`` segments of intestine that pass a solution on while it is absorbed."""

    absorbed = Port(signal("mg/h"), "drug that reaches the wall of the gut")
    activity = Port(signal("1"), "activity of the wall's enzymes relative to usual", value=1.0)

    n = Size(7, "segments of the small intestine")

    k_empty = Parameter(4.0, "1/h", "emptying of the stomach", lower=0, source="typical, fasted")
    transit = Parameter(199.0, "min", "time in the small intestine", lower=0, source="httk 2.7.4")
    ka = Parameter(1.0, "1/h", "absorption rate constant", lower=0, source="assumed")
    Fg = Parameter(
        1.0, "1", "share that passes the wall unchanged", lower=0, upper=1, source="no metabolism"
    )

    stomach = State(0.0, "mg", "amount in the stomach", lower=0, nominal=10)
    x = State(0.0, "mg", "amount in each segment", shape="n", lower=0, nominal=10)
    passed = State(0.0, "mg", "amount that was not absorbed", lower=0, nominal=10)
    consumed = State(0.0, "mg", "amount metabolised in the wall", lower=0, nominal=10)

    example_duration = "12 h"

    def equations(m):
        on = m.n / m.transit
        entering = m.k_empty * m.stomach
        yield der(m.stomach) == -entering
        for i in range(m.n):
            yield der(m.x[i]) == entering - (on + m.ka) * m.x[i]
            entering = on * m.x[i]
        yield der(m.passed) == entering
        yield from m.taken_up()

    def taken_up(m) -> Any:
        """What crosses the wall, and what its enzymes take of it."""
        taken = m.ka * m.dissolved()
        passing = m.Fg / (m.Fg + m.activity.value * (1 - m.Fg))
        yield m.absorbed.value == passing * taken
        yield der(m.consumed) == (1 - passing) * taken

    def dissolved(m) -> Any:
        """Dissolved drug in all segments."""
        return sum((m.x[i] for i in range(1, m.n)), m.x[0])

    def held(m) -> Any:
        """Drug in stomach and segments."""
        return m.dissolved() + m.stomach

    def conserved(m):
        lost = m.passed + m.consumed
        yield Conserved("drug in the intestine", m.held() + lost, -m.absorbed.value)

    def example_experiment(m):
        return Experiment().dose("stomach", "100 mg")


class DissolvingIntestine(Intestine):
    """The same for a solid that dissolves along the way: give the dose to ``solid_stomach``.

    Solid dissolves at k_dissolve (1 - C / solubility), C the level in the fluid of its place, and
    moves with it. What is over the solubility stays dissolved in the model: there is no
    precipitation. Simplified from Takano et al., Pharm Res 23:1144-1156, 2006,
    doi:10.1007/s11095-006-0162-4 (rate proportional to the solid left).
    """

    k_dissolve = Parameter(5.0, "1/h", "dissolution in plenty of fluid", lower=0, source="assumed")
    solubility = Parameter(1000.0, "mg/L", "in the fluid of the gut", lower=0, source="assumed")
    V_stomach = Parameter(0.25, "L", "fluid in the stomach", lower=0, source="a glass of water")
    V_fluid = Parameter(0.105, "L", "fluid in the small intestine", lower=0,
                        source="fasted, Schiller et al. 2005, from memory")  # fmt: skip

    solid_stomach = State(0.0, "mg", "solid in the stomach", lower=0, nominal=10)
    solid = State(0.0, "mg", "solid in each segment", shape="n", lower=0, nominal=10)

    def dissolving(m, solid: Any, dissolved: Any, volume: Any) -> Any:
        """Rate at which a solid dissolves in its fluid; never backwards."""
        room = maximum(1.0 - dissolved / volume / m.solubility, 0.0)
        return m.k_dissolve * room * solid

    def equations(m):
        on, volume = m.n / m.transit, m.V_fluid / m.n
        moved, entering = m.k_empty * m.solid_stomach, m.k_empty * m.stomach
        gone = m.dissolving(m.solid_stomach, m.stomach, m.V_stomach)
        yield der(m.solid_stomach) == -moved - gone
        yield der(m.stomach) == gone - entering
        for i in range(m.n):
            gone = m.dissolving(m.solid[i], m.x[i], volume)
            yield der(m.solid[i]) == moved - on * m.solid[i] - gone
            yield der(m.x[i]) == entering + gone - (on + m.ka) * m.x[i]
            moved, entering = on * m.solid[i], on * m.x[i]
        yield der(m.passed) == moved + entering
        yield from m.taken_up()

    def held(m):
        solid = sum((m.solid[i] for i in range(m.n)), m.solid_stomach)
        return m.dissolved() + m.stomach + solid

    def example_experiment(m):
        return Experiment().dose("solid_stomach", "100 mg")


def effective_permeability(papp: float) -> float:
    """Permeability of the human jejunum [1e-4 cm/s] from Caco-2 cells [1e-6 cm/s].

    log10 Peff = 0.4926 log10 Papp - 0.1454; Sun et al., Pharm Res 19:1400-1416, 2002,
    doi:10.1023/A:1020483911355; coefficients from memory, not checked.
    """
    return float(10.0 ** (0.4926 * log10(papp) - 0.1454))


def absorption_rate(permeability: float, radius: float = 1.75) -> float:
    """Rate of absorption ka = 2 Peff / R [1/h].

    Parameters
    ----------
    permeability : float [1e-4 cm/s]
    radius : float [cm]
        Of the gut.
    """
    return 2.0 * permeability * 1e-4 / radius * 3600.0


def gut_availability(
    clint: float, permeability: float, unbound: float = 1.0, villous: float = 18.0
) -> float:
    """Share of what is absorbed that passes the wall of the gut, Fg, by the Qgut model.

    Fg = Qgut / (Qgut + fu CLint), Qgut = Qvilli CLperm / (Qvilli + CLperm): Yang et al., Curr Drug
    Metab 8:676-684, 2007, doi:10.2174/138920007782109733 (formula and flow from memory).

    Parameters
    ----------
    clint : float [L/h]
        Intrinsic clearance of the whole wall.
    permeability : float [L/h]
        Clearance by permeability, CLperm: effective permeability times surface.
    unbound : float
        Free share in the wall.
    villous : float [L/h]
        Blood flow of the villi, Qvilli.

    Examples
    --------
    >>> round(gut_availability(10.0, 18.0), 4)
    0.4737
    """
    through = villous * permeability / (villous + permeability)
    return through / (through + unbound * clint)


def fraction_absorbed(ka: float, transit: float = 199.0, segments: int = 7) -> float:
    """Share of a dissolved dose that is absorbed: 1 - (1 + ka transit / n)^-n; ka [1/h], [min].

    Examples
    --------
    >>> round(fraction_absorbed(1.0), 4)
    0.9338
    """
    return float(1.0 - (1.0 + ka * transit / 60.0 / segments) ** -segments)
