"""The lesson as a library, one room a concern; recipe/ drives it, tests/test_architecture.py holds who may import whom."""
