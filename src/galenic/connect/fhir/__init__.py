"""Health records in FHIR R4: bundles read into a chart, with everything that was doubtful named."""
