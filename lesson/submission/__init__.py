"""What learners hand in: read under limits, judged, reported; nothing of it is run."""
