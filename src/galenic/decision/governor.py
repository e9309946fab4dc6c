"""Reference governor: moves targets only as fast as the limits allow.

Scalar governor (Gilbert, Kolmanovsky, Automatica 38 (2002) 2063-2073; general knowledge): between
the targets that hold now and the wanted ones, take the largest share at which the planned
trajectory keeps its limits. For start-up and lot change, where a jump of the target would make the
controller break limits that a slower approach keeps.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from galenic.decision.goal import Controller, Goal, Limits, Proposal


@dataclass(frozen=True)
class ReferenceGovernor:
    """A controller whose targets are brought to the wanted values in admissible shares.

    Parameters
    ----------
    controller : Controller
        What plans for given targets.
    limits : mapping quantity -> (low, high)
        Limits that the planned outputs must keep [SI].
    tolerance : float
        Resolution of the share.
    budget : float [s]
        Time for trying shares; the best admissible one so far counts.
    """

    controller: Controller
    limits: Mapping[str, tuple[float, float]]
    tolerance: float = 0.1
    budget: float = 2.0

    def propose(self, belief: Any, goal: Goal, limits: Limits) -> Proposal:
        """The plan for the largest admissible share of the way to the wanted targets."""
        begun = time.perf_counter()
        wanted = self.controller.propose(belief, goal, limits)
        held = goal.previous.get("governed", {}) if goal.previous else {}
        arrived = all(held.get(path) == value for path, value in goal.targets.items())
        if wanted.status == "fallback" or not held or arrived or self.breaks(wanted) == 0.0:
            return self._marked(wanted, goal.targets, 1.0, begun)
        low, high = 0.0, 1.0
        best = self.controller.propose(belief, self._towards(goal, held, low), limits)
        while high - low > self.tolerance and time.perf_counter() - begun < self.budget:
            share = (low + high) / 2
            tried = self.controller.propose(belief, self._towards(goal, held, share), limits)
            if tried.status != "fallback" and self.breaks(tried) <= self.breaks(best):
                low, best = share, tried
            else:
                high = share
        return self._marked(best, self._towards(goal, held, low).targets, low, begun)

    def forget(self) -> None:
        """Drop the warm start of the controller that plans."""
        forget = getattr(self.controller, "forget", None)
        if forget is not None:
            forget()

    def breaks(self, proposal: Proposal) -> float:
        """The worst planned distance outside of a limit, relative to the limit's width."""
        worst = 0.0
        for path, (low, high) in self.limits.items():
            values = proposal.forecast.get(path, ())
            width = high - low
            for value in values:
                worst = max(worst, (low - value) / width, (value - high) / width)
        return worst

    def _towards(self, goal: Goal, held: Mapping[str, float], share: float) -> Goal:
        targets = {
            path: held.get(path, value) + share * (value - held.get(path, value))
            for path, value in goal.targets.items()
        }
        return replace(goal, targets=targets)

    def _marked(
        self, proposal: Proposal, targets: Mapping[str, float], share: float, begun: float
    ) -> Proposal:
        note = () if share >= 1.0 else (f"targets approached by {share:.0%} to keep the limits",)
        return replace(
            proposal,
            reasons=(*note, *proposal.reasons),
            governed=dict(targets),
            elapsed=time.perf_counter() - begun,
        )
