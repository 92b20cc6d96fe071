"""Minimisation of smooth functions: solvers, the one loop, statuses. Knows no samples, needs NumPy alone."""
