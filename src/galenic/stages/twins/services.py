"""The services on live twins, for the service index."""

from galenic.stages.twins.looking import (
    estimates,
    forecast,
    history,
    proposal,
    status,
    what_if,
)
from galenic.stages.twins.telling import (
    acknowledge,
    action,
    approve,
    bypass,
    correct,
    end_bypass,
    enter,
    evolve,
    level,
    note,
    reject,
    setpoint,
    target,
)

__all__ = [
    "acknowledge",
    "action",
    "approve",
    "bypass",
    "correct",
    "end_bypass",
    "enter",
    "estimates",
    "evolve",
    "forecast",
    "history",
    "level",
    "note",
    "proposal",
    "reject",
    "setpoint",
    "status",
    "target",
    "what_if",
]
