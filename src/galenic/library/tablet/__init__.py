"""Compaction and tablets."""
