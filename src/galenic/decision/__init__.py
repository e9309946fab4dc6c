"""Controllers, dosing, what-if."""
