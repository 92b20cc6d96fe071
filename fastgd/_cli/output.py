"""Output of the commands: tables, errors in one line, exit codes."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from fastgd._linear.result import FitResult
from fastgd._optim.result import Result, Status
from fastgd.exceptions import CheckpointWarning

MODELS = {"linear": "squared", "logistic": "logistic"}
"""The loss of each choice of --model."""
LARGEST = 10
"""The maximum number of coefficients in a summary."""
SENTENCES = {
    Status.MAX_ITER: (
        "Stopped at --max-iter before reaching --tol: raise --max-iter, or choose a larger --tol or another --solver."
    ),
    Status.TIME_LIMIT: "Stopped at --time-limit before reaching --tol: raise --time-limit, or choose a larger --tol.",
    Status.INTERRUPTED: ("Interrupted: the best point so far is returned; with --checkpoint the same command goes on."),
    Status.DIVERGED: (
        "Diverged: the learning rate is too large; choose a smaller one, --learning-rate auto, or --solver lbfgs."
    ),
    Status.SADDLE: (
        "Stopped at a saddle point: the gradient is 0, but the loss falls to both sides; use --escape-saddles."
    ),
    Status.PRECISION_LIMIT: (
        "No further progress is possible in floating point before reaching --tol: choose a larger --tol."
    ),
    Status.SEPARATED: "The classes can be separated, so no finite coefficients are best: add a penalty (--l2 > 0).",
}
"""Sentences for statuses that name options of the command line instead of arguments."""


class UsageError(Exception):
    """Options that do not belong together; the command ends with its usage and exit code 2."""


def print_line(text: str) -> None:
    """Print a text and flush, what standard output cannot show as escapes; raise OSError if it is full or closed."""
    try:
        _print(text, sys.stdout)
    except (OSError, ValueError) as error:
        raise OSError(f"standard output: {getattr(error, 'strerror', None) or error}") from None


def print_error(what: object) -> None:
    """Print a message or an exception on stderr, in one line; nothing if stderr cannot be written."""
    with suppress(OSError, ValueError):
        _print(" ".join(["fastgd:", *str(what).split()]), sys.stderr)


def errors_are_seen() -> bool:
    """Return whether stderr is a terminal."""
    return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()


def _print(text: str, stream: TextIO | None) -> None:
    """Print a text and flush, characters that the stream's encoding lacks as escapes.

    Parameters
    ----------
    text : str
    stream : text stream or None
        None, as Python has it if a stream was closed before it began, prints nothing.

    Raises
    ------
    OSError, ValueError
        If the stream cannot be written, or is closed.
    """
    if stream is None:
        return
    try:
        try:
            print(text, file=stream, flush=True)
        except UnicodeEncodeError:
            print(text.encode(stream.encoding, "backslashreplace").decode(stream.encoding), file=stream, flush=True)
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            descriptor, nowhere = stream.fileno(), os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)  # otherwise Python would try again at exit and print a traceback
            os.close(nowhere)
        raise


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Print every CheckpointWarning within the block in one line on stderr, as errors are printed."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", CheckpointWarning)
        shown = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            print_error(message) if category is CheckpointWarning else shown(message, category, *where, **more)

        warnings.showwarning = show
        yield


def describe(result: Result) -> str:
    """Return a result's message in the words of the command line."""
    return result.outcome.text(SENTENCES, lambda name, value: f"--{name.replace('_', '-')} {value}")


class CoefficientRow(NamedTuple):
    """A coefficient of a fit.

    Attributes
    ----------
    name : str
        The name of the coefficient, with its output in front if there are several.
    coef : float
        The coefficient.
    effect : float
        The coefficient times the standard deviation of its feature.
    """

    name: str
    coef: float
    effect: float


def coefficient_rows(result: FitResult, most: int) -> list[CoefficientRow]:
    """Return the coefficients with the largest absolute effects, at most ``most``, the largest first.

    Those that a penalty has made 0 are left out.
    """
    coef, effects = np.ravel(result.coef), np.ravel(result.coef * result.spread)
    names = result.coef_names
    if result.coef.ndim == 2:
        names = [f"{output}: {name}" for output in result.output_names for name in names]
    order = np.argsort(-np.abs(effects), kind="stable")
    if made_zeros(result):
        order = order[coef[order] != 0.0]
    order = order[:most]
    return [CoefficientRow(names[j], coef[j], effects[j]) for j in order]


def made_zeros(result: FitResult) -> int:
    """Return how many coefficients are 0 because of the penalty, or of ``positive``."""
    chooses = result.settings.l1 > 0.0 or result.settings.positive
    return int(np.count_nonzero(result.coef == 0.0)) if chooses else 0


def duality_gap(result: FitResult) -> str:
    """Return a text with the duality gap of a fit that stopped by it, "" for other fits."""
    if result.settings.solver != "proximal" or result.error_estimate is None:
        return ""
    return f"{result.duality_gap:.2g}, {result.duality_gap / max(abs(result.loss), 1e-300):.2g} of the loss"


def summary(result: FitResult) -> str:
    """Return the main numbers of a fit and its largest coefficients as text."""
    passes, seconds = result.history.passes[-1], result.history.seconds[-1]
    error = result.error_estimate
    gap, zeros = duality_gap(result), made_zeros(result)
    distance = "" if error is None or gap else f"{error.distance:.2g} standard errors before the last step"
    if distance and error is not None and result.converged and error.distance > (result.settings.tol or 0.0):
        distance = "nothing but rounding"
    lines = [
        ("rows", f"{result.rows:,}"),
        ("coefficients", f"{result.coef.size:,}{f', of which {zeros:,} are 0' if zeros else ''}"),
        ("loss", f"{result.loss:.8g} ({result.settings.loss['name']})"),
        ("solver", result.settings.solver),
        ("status", result.status.name.capitalize().replace("_", " ")),  # `conclude` prints the message
        ("passes", f"{passes:.4g}"),
        *([("from minimum", distance)] if distance else []),
        *([("duality gap", gap)] if gap else []),
        ("seconds", f"{seconds:.3g}"),
        ("rows/s", f"{result.rows * passes / seconds:.3g}"),
        ("intercept", ", ".join(f"{b:.6g}" for b in np.ravel(result.intercept))),
    ]
    if result.redundant:
        more = f" and {len(result.redundant) - LARGEST} more" if len(result.redundant) > LARGEST else ""
        lines.append(("redundant", ", ".join(result.redundant[:LARGEST]) + more))
        lines.append(("rank", f"{result.rank:,} of {result.coef.shape[-1]:,} coefficients are determined by the data"))
    rows = coefficient_rows(result, LARGEST)
    width = max(len("largest coefficients"), *(len(row.name) for row in rows), 0)
    text = [f"{label:<{width}}  {value}" for label, value in lines]
    if not rows:
        return "\n".join([*text, "\nthe penalty has left no coefficient"])
    text.append(f"\n{'largest coefficients':<{width}}  {'coefficient':>12}  {'per std. dev.':>13}")
    text += [f"{row.name:<{width}}  {row.coef:>12.6g}  {row.effect:>13.4g}" for row in rows]
    left = result.coef.size - zeros - len(rows)
    if zeros:
        text.append(f"\n{f'{left:,} more are smaller, and ' if left else ''}{zeros:,} are 0")
    return "\n".join(text)


def conclude(result: FitResult) -> int:
    """Return the exit code of a command that fits, after printing the message if the fit did not converge."""
    if not result.converged:
        print_error(describe(result))
    if result.status is Status.INTERRUPTED:
        return 130
    return 0 if result.converged else 1


def text_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `fastgd.io.Files` that say how files are written."""
    names = ("format", "sep", "decimal", "encoding", "header", "na_values", "keep_default_na", "quoting")
    return {name: getattr(options, name) for name in names}


def check_distinct(files: Mapping[str, str | os.PathLike[str] | None]) -> None:
    """Raise ValueError if two options name the same file, directly or by links.

    Parameters
    ----------
    files : mapping of str to path or None
        The path of each option, by its name.
    """
    given = [(name, path) for name, path in files.items() if path is not None]
    for (first, one), (second, other) in combinations(given, 2):
        if _same(Path(one), Path(other)):
            raise ValueError(f"{first} {one} and {second} {other} are the same file; name another")


def _same(one: Path, other: Path) -> bool:
    """Return whether two paths are the same regular file, or would be the same if they were created."""
    if one.exists() and other.exists():
        return one.is_file() and one.samefile(other)  # a device such as /dev/null may be named twice
    return one.resolve() == other.resolve()
