"""A verdict in each form that is asked for, made from the verdict alone: nothing here reads a submission."""
