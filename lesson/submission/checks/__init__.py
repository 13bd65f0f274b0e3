"""The checks of a submission, a file for each area; each check is one function."""
