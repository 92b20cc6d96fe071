"""Minimisation of smooth functions: solvers, the loop that runs them, stopping criteria and results.

The modules need NumPy only. They know objective functions, not samples.
"""
