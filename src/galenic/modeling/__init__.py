"""The declarative modelling language."""
