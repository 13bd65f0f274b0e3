"""Training rows: read, judged, converted, counted, and the name in them replaced."""
