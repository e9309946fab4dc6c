"""Whole-body physiologically based pharmacokinetics."""
