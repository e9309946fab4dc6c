"""A shadow of a commercial press on its own record: forces without weights."""
