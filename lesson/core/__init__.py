"""What every room uses and what knows nothing of the lesson: messages, settings, files, findings, machine."""
