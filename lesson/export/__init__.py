"""The trained assistant for other programs: files in their own forms, and the proof that they say its name."""
