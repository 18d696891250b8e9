"""Store runs and models in MLflow, and find them again."""
