"""torch's L-BFGS on the full batch, on a view of X and in its dtype, all cores; every closure call is a pass."""

from __future__ import annotations

from bench.problems import Problem
from bench.report import cores
from bench.rivals import Solution

label = "torch"


def fit(problem: Problem, tol: float, method: str) -> Solution:
    import torch
    from torch.nn import functional

    torch.set_num_threads(cores())
    X = torch.from_numpy(problem.X)
    y = torch.from_numpy(problem.y).to(X.dtype)
    loss = {"logistic": functional.binary_cross_entropy_with_logits, "squared": functional.mse_loss}[problem.loss]
    coef = torch.zeros(X.shape[1], dtype=X.dtype, requires_grad=True)
    intercept = torch.zeros((), dtype=X.dtype, requires_grad=True)
    passes = 0

    def closure() -> torch.Tensor:
        nonlocal passes
        passes += 1
        optimizer.zero_grad()
        value = loss(X @ coef + intercept, y) + 0.5 * problem.l2 * (coef @ coef)
        value.backward()
        return value

    optimizer = getattr(torch.optim, method)(
        [coef, intercept],
        max_iter=100_000,
        max_eval=100_000,
        tolerance_grad=tol,
        tolerance_change=1e-14,  # no criterion, but float32 must end when its loss no longer changes
        history_size=20,
        line_search_fn="strong_wolfe",
    )
    optimizer.step(closure)
    return Solution(coef.detach().numpy().astype(float), float(intercept), float(passes))
