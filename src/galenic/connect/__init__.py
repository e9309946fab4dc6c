"""Connectors to physical things and their data."""
