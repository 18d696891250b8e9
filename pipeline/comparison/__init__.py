"""Compare runs with each other: a table, what is Pareto-optimal, what is more than noise."""
