"""Alarms: states and their transitions, rules, evaluation in the fold, performance."""
