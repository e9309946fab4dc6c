"""Pharmacodynamics."""
