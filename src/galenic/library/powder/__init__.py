"""Feeding, blending and flow of powders."""
