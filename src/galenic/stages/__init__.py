"""Services by life-cycle stage."""
