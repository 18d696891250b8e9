"""The linear model that a network has to beat."""
