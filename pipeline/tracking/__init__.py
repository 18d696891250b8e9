"""MLflow: runs, models and their names."""
