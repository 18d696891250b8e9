"""Train a recipe, step by step."""
