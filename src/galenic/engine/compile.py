"""A flattened System as CasADi Functions, built when first asked for and kept per identity."""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

import casadi as ca
import numpy as np
import numpy.typing as npt

from galenic.errors import ModelError, UnknownName
from galenic.modeling.declare import DELAYED

if TYPE_CHECKING:
    from galenic.modeling.system import Entry, System

Array = npt.NDArray[np.float64]

_KEPT = 64
_cache: OrderedDict[str, Compiled] = OrderedDict()
_lock = Lock()


def compile_system(model: Any) -> Compiled:
    """The compiled form of a System, or of anything with ``flatten()``; one per identity."""
    if isinstance(model, Compiled):
        return model
    system = model.flatten() if hasattr(model, "flatten") else model
    with _lock:
        if system.identity in _cache:
            _cache.move_to_end(system.identity)
            return _cache[system.identity]
        compiled = _cache[system.identity] = Compiled(system)
        while len(_cache) > _KEPT:
            _cache.popitem(last=False)
        return compiled


class Compiled:
    """Functions of one System; arguments are always (t, x, z, u, p) in SI.

    Parameters
    ----------
    system : System
        The flattened model.
    """

    def __init__(self, system: System) -> None:
        self.system = system
        self.nx, self.nz = len(system.states), len(system.algebraics)
        self.nu, self.np, self.ny = (
            len(system.inputs),
            len(system.parameters),
            len(system.outputs),
        )
        self.args = [system.t, system.x, system.z, system.u, system.p]
        self.nominal = _nominal(system.states)
        self.nominal_z = _nominal(system.algebraics)
        self._positions = {
            entry.path: (kind, i)
            for kind, entries in self.tables.items()
            for i, entry in reversed(list(enumerate(entries)))
        }

    @property
    def tables(self) -> dict[str, tuple[Entry, ...]]:
        """Entries by kind; where a path occurs twice, the later kind answers to its name."""
        system = self.system
        return {
            "output": system.outputs,
            "parameter": system.parameters,
            "input": system.inputs,
            "algebraic": system.algebraics,
            "state": system.states,
        }

    def find(self, path: Any, *kinds: str) -> tuple[str, int]:
        """Kind and index of a path; UnknownName with close matches if it is not of ``kinds``."""
        found = self._positions.get(str(path))
        if found is None or (kinds and found[0] not in kinds):
            known = [name for name, (kind, _) in self._positions.items() if kind in kinds]
            wanted = " or ".join(kinds) if kinds else "quantity"
            raise UnknownName.among(
                wanted, str(path), known or self._positions, where=self.system.name
            )
        return found

    def require_free(self, kind: str, index: int) -> None:
        """ModelError where a quantity is not for users to set: an earlier value of the model."""
        entry = self.tables[kind][index]
        if entry.role == DELAYED:
            raise ModelError(
                f"{entry.path} cannot be set: it is an earlier value of the model",
                where=self.system.name,
                hint=entry.meaning,
            )

    def entry(self, path: Any, *kinds: str) -> Entry:
        """The Entry of a path."""
        kind, i = self.find(path, *kinds)
        return self.tables[kind][i]

    def defaults(self, kind: str) -> Array:
        """Start values (state, algebraic) or default values (input, parameter) in SI."""
        return np.array([entry.value for entry in self.tables[kind]], dtype=float)

    @cached_property
    def rhs(self) -> ca.Function:
        """(t, x, z, u, p) -> ode, alg."""
        return self._function("rhs", [self.system.ode, self.system.alg])

    @cached_property
    def outputs(self) -> ca.Function:
        """(t, x, z, u, p) -> y."""
        return self._function("outputs", [self.system.y])

    @cached_property
    def start(self) -> ca.Function:
        """(p) -> x0."""
        try:
            return ca.Function("start", [self.system.p], [ca.densify(self.system.x0)])
        except RuntimeError as error:
            raise ModelError(
                "a start value depends on more than parameters",
                where=self.system.name,
                hint="start values may use parameters only",
            ) from error

    @cached_property
    def jacobian(self) -> ca.Function:
        """(t, x, z, u, p) -> d(ode, alg)/d(x, z), sparse."""
        system = self.system
        both = ca.vertcat(system.ode, system.alg)
        return self._function("jacobian", [ca.jacobian(both, ca.vertcat(system.x, system.z))])

    @cached_property
    def algebraic(self) -> ca.Function:
        """(t, x, z, u, p) -> alg, d(alg)/dz."""
        system = self.system
        return self._function("algebraic", [system.alg, ca.jacobian(system.alg, system.z)])

    @cached_property
    def triggers(self) -> ca.Function:
        """(t, x, z, u, p) -> one trigger per state event, in declared order."""
        return self._function("triggers", [ca.vertcat(*self.trigger_list)])

    @cached_property
    def trigger_rates(self) -> ca.Function:
        """(t, x, z, u, p) -> rate of each trigger along the solution (z held)."""
        levels, s = ca.vertcat(*self.trigger_list), self.system
        along = ca.jtimes(levels, s.x, s.ode) + ca.jtimes(levels, s.t, ca.SX(1))
        return self._function("trigger_rates", [along])

    @cached_property
    def trigger_list(self) -> list[ca.SX]:
        """The triggers of the state events."""
        return [rule.trigger for rule in self.system.events if rule.trigger is not None]

    @cached_property
    def triggered(self) -> list[int]:
        """Index in ``system.events`` of each state event."""
        return [i for i, rule in enumerate(self.system.events) if rule.trigger is not None]

    @cached_property
    def resets(self) -> list[ca.Function]:
        """Per event rule: (t, x, z, u, p) -> x after the event."""
        return [self._reset(i) for i in range(len(self.system.events))]

    @cached_property
    def amounts(self) -> ca.Function:
        """(t, x, z, u, p) -> amount of each conserved quantity."""
        amounts = ca.vertcat(*(balance.amount for balance in self.system.conserved))
        return self._function("amounts", [amounts])

    @cached_property
    def inflow(self) -> ca.Function:
        """(t, x, z, u, p, rate) -> inflow of each conserved quantity, infusions into x included."""
        system = self.system
        rate = ca.SX.sym("rate", self.nx)
        amounts = ca.vertcat(*(balance.amount for balance in system.conserved))
        declared = ca.vertcat(*(balance.inflow for balance in system.conserved))
        total = declared + ca.jtimes(amounts, system.x, rate)
        return ca.Function("inflow", [*self.args, rate], [ca.densify(total)])

    @cached_property
    def delayed(self) -> ca.Function:
        """(t, x, z, u, p) -> what the system looks up later, one per exact delay."""
        values = ca.vertcat(*(delayed.value for delayed in self.system.delays))
        return self._function("delayed", [values])

    @cached_property
    def lags(self) -> ca.Function:
        """(p) -> exact delays [s]."""
        lags = ca.vertcat(*(delayed.by for delayed in self.system.delays))
        return ca.Function("lags", [self.system.p], [ca.densify(lags)])

    def _reset(self, i: int) -> ca.Function:
        after = ca.SX(self.system.x)
        for index, value in self.system.events[i].resets:
            after[index] = value
        return self._function(f"reset_{i}", [after])

    def _function(self, name: str, outputs: list[ca.SX]) -> ca.Function:
        try:
            return ca.Function(name, self.args, [_dense_vector(out) for out in outputs])
        except RuntimeError as error:
            raise ModelError(
                f"{name} of {self.system.name} contains a symbol that is no quantity of the model",
                where=self.system.name,
                hint=str(error).strip().splitlines()[-1],
            ) from error


def _dense_vector(expression: ca.SX) -> ca.SX:
    return ca.densify(expression) if expression.shape[1] == 1 else expression


def _nominal(entries: tuple[Entry, ...]) -> Array:
    values = np.array([entry.nominal for entry in entries], dtype=float)
    return np.where(np.isfinite(values) & (values != 0), np.abs(values), 1.0)
