"""The figures of README and docs, each printed by one of these."""
