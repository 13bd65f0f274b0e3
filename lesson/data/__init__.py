"""Training rows: read, checked, converted, counted, and the name in them replaced."""
