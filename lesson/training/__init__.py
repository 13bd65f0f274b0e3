"""XTuner's trainer in processes of its own, and what is made of its checkpoint."""
