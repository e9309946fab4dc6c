"""The bridge: model, data, estimator, services."""
