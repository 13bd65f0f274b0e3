"""XTuner's configs: copied, edited, read without running them, and judged."""
