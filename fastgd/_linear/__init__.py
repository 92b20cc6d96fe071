"""Linear models: objective, warm start, checkpoints, `fit` and its result."""
