"""The model asked, and its answers judged."""
