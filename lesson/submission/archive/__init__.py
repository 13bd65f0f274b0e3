"""What a stranger handed in, folder, zip or tar, as a read-only view."""
