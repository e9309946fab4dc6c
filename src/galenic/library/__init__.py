"""Models by scientific subject."""
