"""Fleets of twins: instances are added, and looked at together."""
