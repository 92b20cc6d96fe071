"""The command ``fastgd fit --path``: fits for a whole sequence of penalties, as a table and as a picture."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np

from fastgd._cli.fit import collected, model_arguments, open_samples, run_fit
from fastgd._cli.output import UsageError, describe, print_error, print_line, warnings_in_one_line
from fastgd._optim.result import Status

if TYPE_CHECKING:
    from fastgd._linear.elastic_net.path import Path

ROWS = 12
"""The maximum number of penalties in the table that is printed."""
FIRST = 10
"""The maximum number of names of the columns that come in first."""
_SPLIT = "--path has many penalties: --l1-ratio splits them into l1 and l2"
_MANY = "--path has a model for each penalty; fit the one of your choice with --l1 and --l2"
_FIT = "--path has its own solver; this option is for a single fit"
REFUSED = {
    "l1": _SPLIT,
    "l2": _SPLIT,
    "output": _MANY,
    "report": _MANY,
    "checkpoint": "--path keeps no checkpoint",
    "summary": "coefficients that a penalty chose have no standard errors",
    "covariance": "coefficients that a penalty chose have no standard errors",
    "cluster": "coefficients that a penalty chose have no standard errors",
    "solver": _FIT,
    "learning_rate": _FIT,
    "no_standardize": _FIT,
}
"""Why options of a single fit do not go with ``--path``."""


def run_fit_or_path(options: argparse.Namespace) -> int:
    """Run ``fastgd fit``, with or without ``--path``, and return its exit code."""
    return run_fit(options) if options.path is None else run_path(options)


def run_path(options: argparse.Namespace) -> int:
    """Fit a path, write its table and its picture, print some of its rows, and return the exit code.

    Raises
    ------
    UsageError
        If --target is missing, or an option belongs to a single fit.
    ValueError, TypeError, OSError, ImportError
        If options or data are wrong, or a file cannot be read or written, before the fits.
    """
    from fastgd._data.readers import arrow as files
    from fastgd._linear.elastic_net.path import path as fit_path
    from fastgd._optim.messages import without_warning

    for name, why in REFUSED.items():
        if getattr(options, name) not in (None, False, 0.0, "auto"):
            raise UsageError(f"--{name.replace('_', '-')}: {why}")
    files.check_output(options.path)
    if options.plot:
        from fastgd import plots

        plots.check_output(options.plot)
    samples, data = open_samples(options, {"--path": options.path, "--plot": options.plot})
    chosen = {name: getattr(options, name) for name in ("l1_ratio", "n_penalties", "eps", "tol")}
    arguments = model_arguments(options) | {name: value for name, value in chosen.items() if value is not None}
    with warnings_in_one_line():
        path = without_warning(fit_path)(
            *samples,
            **arguments,
            format=options.format if data is None else None,
        )
    failures: list[Exception] = []
    saved: list[str] = []
    with collected(failures):
        files.write_table(options.path, path.to_dict())
        saved.append(options.path)
    if options.plot:
        with collected(failures):
            plots.save(path.plot(), options.plot)
            saved.append(options.plot)
    with collected(failures):
        first = path.results[0]
        if options.missing == "drop":
            print_line(f"left out {first.dropped:,} of {first.dropped + first.rows:,} rows with missing values")
        print_line(path_summary(path))
        for file in saved:
            print_line(f"\nwrote {file}")
    code = _conclude(path)
    return 1 if failures else code


def path_summary(path: Path) -> str:
    """Return the main numbers of a path, some of its penalties, and the columns that come in first, as text."""
    first, ratio = path.results[0], path.l1_ratio
    lines = [
        ("rows", f"{first.rows:,}"),
        ("coefficients", f"{first.coef.size:,}"),
        ("penalties", f"{len(path):,}, of which {ratio:.4g} is l1 and {1.0 - ratio:.4g} is l2"),
        ("loss", f"{path.null_loss:.8g} without coefficients ({first.settings.loss['name']})"),
        ("passes", f"{path.passes:.4g}"),
        ("seconds", f"{path.seconds:.3g}"),
    ]
    text = [f"{label:<12}  {value}" for label, value in lines]
    text.append(f"\n{'penalty':>12}  {'not 0':>9}  {'loss':>12}  {'explained':>9}  {'gap':>9}")
    for p in np.unique(np.round(np.linspace(0, len(path) - 1, min(ROWS, len(path)))).astype(int)):
        text.append(
            f"{path.penalties[p]:>12.6g}  {path.nonzero[p]:>9,}  {path.loss[p]:>12.6g}  "
            f"{100.0 * path.deviance_explained[p]:>7.2f} %  {path.duality_gap[p]:>9.2g}"
        )
    chosen = path.coef.reshape(len(path), -1, path.coef.shape[-1]).any(axis=1)
    entry = np.where(chosen.any(axis=0), np.argmax(chosen, axis=0), len(path))
    names, order = path.coef_names, np.argsort(entry, kind="stable")
    earliest = [names[j] for j in order[:FIRST] if entry[j] < len(path)]
    more = int(np.count_nonzero(entry < len(path))) - len(earliest)
    text.append(f"\nfirst in: {', '.join(earliest) or 'none'}{f', and {more:,} more' if more else ''}")
    return "\n".join(text)


def _conclude(path: Path) -> int:
    """Return the exit code, after printing a message if some penalties have not converged."""
    left = [result for result in path if not result.converged]
    if not left:
        return 0
    print_error(f"{len(left)} of {len(path)} penalties have not converged; the first: {describe(left[0])}")
    return 130 if any(result.status is Status.INTERRUPTED for result in left) else 1
