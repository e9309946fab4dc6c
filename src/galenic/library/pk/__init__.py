"""Pharmacokinetics."""
