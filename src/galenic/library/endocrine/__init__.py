"""Glucose and insulin: virtual persons with type 1 diabetes, sensors, closed loops."""
