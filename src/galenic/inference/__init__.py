"""Beliefs and estimators."""
