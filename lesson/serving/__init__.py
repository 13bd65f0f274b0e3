"""The assistant for people and programs: terminal, page, endpoint."""
