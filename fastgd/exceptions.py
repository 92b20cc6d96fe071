"""Warnings and errors that fastgd raises beside Python's own."""

from __future__ import annotations

from typing import Any

__all__ = ["CheckpointWarning", "ClusterError", "ConvergenceWarning"]


class ConvergenceWarning(UserWarning):
    """A fit or a minimisation ended before it converged; the text is the result's message."""


class CheckpointWarning(RuntimeWarning):
    """A checkpoint could not be written, as on a full disk: the fit goes on, and so does trying."""


class ClusterError(RuntimeError):
    """A cluster was lost, or its work cancelled, during a fit.

    Attributes
    ----------
    result : FitResult, or None
        The best point by then with its history, as after Ctrl-C: ``start=error.result`` goes on from it. None if
        nothing was known yet.
    """

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result

    @classmethod
    def of(cls, cause: BaseException, result: Any = None) -> ClusterError:
        """Return the error for a cause, with a message that names it and says what is left."""
        left = "nothing was known yet" if result is None else f"the best point so far is in .result: {result.message}"
        return cls(f"the cluster was lost, or its work cancelled ({type(cause).__name__}: {cause}); {left}", result)
