"""Learned parts of models, and what can be said of them outside of their data."""
