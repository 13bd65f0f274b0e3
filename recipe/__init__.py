"""The lesson as a recipe: one thin module per stage, from data to a chat bot that says its name."""
