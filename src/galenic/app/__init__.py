"""Command line, REST, control room."""
