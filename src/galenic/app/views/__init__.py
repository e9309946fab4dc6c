"""The control room: pages over the same sessions, services and live feed as everybody else."""

from galenic.app.views.mount import mount

__all__ = ["mount"]
