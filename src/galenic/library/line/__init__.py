"""Whole production lines."""
