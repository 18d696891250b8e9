"""A recipe, step by step."""
