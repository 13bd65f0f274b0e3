"""A training run as a folder: its paths, its curve, and runs held against each other."""
