"""One-dimensional fields: finite volumes over a grid.

A Field is a State with one value per cell. Its balance is written with fluxes through the
cells' faces, so what leaves one cell enters the next and mass is kept to rounding:

    class Column(Model):
        n = Size(50)
        L = Parameter(1.0, "m", "length", lower=0)
        z = Grid("L", n)
        c = Field(z, 0.0, "mol/L", "concentration")

        def equations(m):
            flux = m.z.convection(m.c, m.v, inlet=m.c_in) + m.z.dispersion(m.c, m.D)
            yield der(m.c) == -m.z.divergence(flux)
"""

from __future__ import annotations

from typing import Any

import casadi as ca

from galenic.errors import StructureError
from galenic.modeling.declare import Declaration, Declared, Shape, State, _size_of
from galenic.modeling.expression import Expression, common_unit, here, lift
from galenic.modeling.functions import maximum, minimum, total, vertcat
from galenic.units import unit

SCHEMES = ("upwind", "van leer")


class Grid(Declaration):
    """``cells`` equal cells over a ``length``: a Parameter's name, or a quantity as text."""

    def __init__(self, length: Any, cells: Shape) -> None:
        self.length = length
        self.cells = cells

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        scope = instance.__dict__.get("_scope")
        return self if scope is None else scope[self.name]

    def in_trace(self, node: Any) -> GridView:
        """The grid while ``node`` is traced; its length is looked up when it is used."""
        return GridView(self, node)


class Field(State):
    """A state with one value per cell of a grid."""

    def __init__(self, grid: Grid, start: Any, unit: str, meaning: str = "", **facts: Any) -> None:
        super().__init__(start, unit, meaning, shape=grid.cells, **facts)
        self.grid = grid


class GridView:
    """A grid while the model is traced: fluxes through faces, and their divergence.

    Faces are numbered from the inlet (0) to the outlet (n). Fluxes count positive from inlet to
    outlet.
    """

    def __init__(self, grid: Grid, node: Any) -> None:
        self._grid = grid
        self._node = node
        self.cells = _size_of(grid.cells, node.__dict__["_sizes"])

    @property
    def length(self) -> Expression:
        """The length of the grid."""
        length = self._grid.length
        if isinstance(length, Declared):
            length = length.name
        if isinstance(length, str) and length in type(self._node).declarations:
            length = getattr(self._node, length)
        result = lift(length)
        common_unit("use as a length in", unit("m"), result.unit)
        return result

    @property
    def step(self) -> Expression:
        """The length of one cell."""
        return self.length / self.cells

    @property
    def centres(self) -> Expression:
        """The positions of the middles of the cells."""
        return self.step * Expression(ca.SX(ca.DM([i + 0.5 for i in range(self.cells)])))

    def convection(self, c: Any, velocity: Any, *, inlet: Any, outlet: Any = None,
                   scheme: str = "upwind") -> Expression:  # fmt: skip
        """Flux carried by a flow, at all faces.

        Where the flow is reversed, ``outlet`` enters at the far end (by default what the last
        cell holds). ``upwind`` is of first order and smears like a dispersion of
        ``velocity * step / 2``; ``van leer`` is of second order and makes no new extremes
        (van Leer 1974, doi:10.1016/0021-9991(74)90019-9).
        """
        c, velocity = self._on_cells(c), lift(velocity)
        if scheme not in SCHEMES:
            raise StructureError(
                f"there is no scheme {scheme!r}", where=here().with_source(),
                expected=" or ".join(SCHEMES),
            )  # fmt: skip
        last = c[self.cells - 1] if outlet is None else outlet
        before, after = vertcat(inlet, c), vertcat(c, last)
        if scheme == "van leer":
            rise = self._limited(vertcat(inlet, c, last))
            before = vertcat(inlet, c + 0.5 * rise)
            after = vertcat(c - 0.5 * rise, last)
        return maximum(velocity, 0) * before + minimum(velocity, 0) * after

    def _limited(self, padded: Expression) -> Expression:
        """Change over each cell, the harmonic mean of both sides; zero at extremes."""
        n, sx = self.cells, padded.sx
        left, right = sx[1 : n + 1] - sx[:n], sx[2:] - sx[1 : n + 1]
        product = left * right
        safe = ca.if_else(product > 0, left + right, 1)
        rise = ca.if_else(product > 0, 2 * product / safe, 0)
        return Expression(rise, padded.unit.difference)

    def dispersion(self, c: Any, coefficient: Any, *, inlet: Any = None,
                   outlet: Any = None) -> Expression:  # fmt: skip
        """Flux down the gradient, at all faces.

        An end without a value is closed to dispersion; together with ``convection`` these are
        the conditions of Danckwerts (1953, doi:10.1016/0009-2509(53)80001-1). An end with a value
        holds it at the face, half a cell away.
        """
        c, coefficient = self._on_cells(c), lift(coefficient)
        if not coefficient.sx.is_scalar() and len(coefficient) != self.cells + 1:
            raise StructureError(
                f"{len(coefficient)} coefficients", where=here().with_source(),
                expected=f"one, or one per face ({self.cells + 1})",
            )  # fmt: skip
        still = Expression(ca.SX(0.0), c.unit.difference)
        first = still if inlet is None else 2 * (c[0] - inlet)
        last = still if outlet is None else 2 * (outlet - c[self.cells - 1])
        rise = vertcat(first, c[1:] - c[: self.cells - 1], last)
        flux: Expression = -coefficient * rise / self.step
        return flux

    def divergence(self, flux: Any) -> Expression:
        """What flows out of each cell minus what flows in, per length."""
        flux = lift(flux)
        if flux.sx.shape != (self.cells + 1, 1):
            raise StructureError(
                f"a flux of shape {flux.shape}", where=here().with_source(),
                expected=f"one value per face ({self.cells + 1})",
            )  # fmt: skip
        result: Expression = (flux[1:] - flux[: self.cells]) / self.step
        return result

    def integral(self, c: Any) -> Expression:
        """The integral of a field over the length."""
        return total(self._on_cells(c)) * self.step

    def at_outlet(self, c: Any) -> Expression:
        """What leaves: the value in the last cell."""
        return self._on_cells(c)[self.cells - 1]

    def _on_cells(self, c: Any) -> Expression:
        field: Expression = lift(c)
        if field.sx.shape != (self.cells, 1):
            raise StructureError(
                f"a field of shape {field.shape}", where=here().with_source(),
                expected=f"one value per cell ({self.cells})",
            )  # fmt: skip
        return field
