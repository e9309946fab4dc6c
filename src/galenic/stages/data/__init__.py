"""Data: what came from where, what became of it, and what was in old files and tables."""
