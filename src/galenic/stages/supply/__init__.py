"""Supply: where goods are, what became of them, and who says so."""
