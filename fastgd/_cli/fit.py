"""The command ``fastgd fit``: fit a model to files, print a summary, and write the model and a report."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastgd._cli.output import (
    MODELS,
    UsageError,
    check_distinct,
    conclude,
    errors_are_seen,
    print_error,
    print_line,
    summary,
    text_options,
    warnings_in_one_line,
)
from fastgd._utils.atomic_io import check_writable, replacing

if TYPE_CHECKING:
    from fastgd._data.readers.arrow import Files

REPORT_ROWS = 200_000
"""The maximum number of rows from which the plots of a report are drawn."""


def run_fit(options: argparse.Namespace) -> int:
    """Run the command and return its exit code.

    Raises
    ------
    UsageError
        If --target is missing, or options belong to a path.
    ValueError, TypeError, OSError
        If options or data are wrong, or a file cannot be read or written, before the fit.
    """
    from fastgd._linear.fit import fit
    from fastgd._optim.messages import without_warning

    for name in ("l1_ratio", "n_penalties", "eps", "plot"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} belongs to a path: give --path, too, the file to write it to")
    if options.all_levels and not (options.l1 or options.l2):
        raise ValueError("--all-levels: without a penalty these coefficients are not determined; give --l2, too")
    written = {"--output": options.output, "--checkpoint": options.checkpoint, "--report": options.report}
    if options.report:
        from fastgd._cli import report

        if not options.report.lower().endswith((".html", ".htm")):
            raise ValueError(f"--report {options.report}: a name ending in .html is needed")
    samples, data = open_samples(options, written)
    with warnings_in_one_line():
        result = without_warning(fit)(
            *samples,
            **model_arguments(options),
            l1=options.l1,
            l2=options.l2,
            standardize=not options.no_standardize,
            solver=options.solver,
            learning_rate=options.learning_rate,
            tol=options.tol,
            format=options.format if data is None else None,
            progress=errors_are_seen(),
            checkpoint=options.checkpoint,
            covariance=options.covariance or ("classical" if options.summary and not options.cluster else None),
            weights=options.weights,
        )

    def save_report(path: str) -> None:
        assert data is not None  # noqa: S101  `open_samples` rejects --report
        step = -(-result.rows // REPORT_ROWS)
        rest = f" and {len(options.data) - 1:,} more" if len(options.data) > 1 else ""
        judged = f", judged by one of {step:,} rows" if step > 1 else ""
        data.drop_missing = options.missing == "drop"  # as the fit did, by the weights, too
        page = report.page(
            result,
            *data.sample(step),
            target=options.target,
            title=f"{options.target}, predicted from {Path(options.data[0]).name}{rest}{judged}",
            repeat=shlex.join(["fastgd", *options.given]),
        )
        with replacing(path) as temporary:
            temporary.write_text(page, encoding="utf-8")

    def print_all() -> None:
        if options.missing == "drop":
            print_line(f"left out {result.dropped:,} of {result.dropped + result.rows:,} rows with missing values")
        print_line(str(result.summary()) if result.inference else summary(result))
        for path in saved:
            print_line(f"\nwrote {path}")

    failures: list[Exception] = []
    saved: list[str] = []
    try:
        for path, save in ((options.output, result.save), (options.report, save_report)):
            if path:
                with collected(failures):
                    save(path)
                    saved.append(path)
    finally:  # also if Ctrl-C ends a report
        with collected(failures):
            print_all()
    code = conclude(result)
    return 1 if failures else code


@contextmanager
def collected(failures: list[Exception]) -> Iterator[None]:
    """Print and add an error of the block, so that what comes after it is done and the fit need not be repeated."""
    try:
        yield
    except (OSError, ValueError, TypeError, ImportError, MemoryError) as error:
        print_error(error)
        failures.append(error)


def open_samples(options: argparse.Namespace, written: dict[str, str | None]) -> tuple[list[Any], Files | None]:
    """Return the samples as arguments of `fastgd.fit`, and the files with named columns if they are such.

    Parameters
    ----------
    options : Namespace
    written : dict of str to str or None
        The files that will be written, by their options: they have to differ from each other and from the data.

    Raises
    ------
    UsageError
        If --target is missing.
    ValueError, OSError
        If a file cannot be read or written, or options or data are wrong.
    """
    from fastgd._data.open import is_libsvm, is_npy

    if options.target is None and not is_libsvm(options.data, options.format):
        raise UsageError("the following arguments are required: --target")
    check_distinct(written)
    for file in filter(None, written.values()):
        check_writable(file)
    untabled = is_npy(options.data, options.format) or is_libsvm(options.data, options.format)
    data = None if untabled else _table(options)
    paths = [*options.data, options.target] if data is None else [file.path for file in data.files]
    for path in filter(None, paths):
        check_distinct({"data": path, **written})
    return _arrays(options) if data is None else [data], data


def model_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments that `fastgd.fit` and `fastgd.path` have in common."""
    return {
        "loss": MODELS[options.model],
        "positive": options.positive,
        "intercept": not options.no_intercept,
        "categorical": options.categorical,
        "drop_first": not options.all_levels,
        "max_iter": options.max_iter,
        "time_limit": options.time_limit,
        "n_threads": options.threads,
        "memory_limit": options.memory_limit,
        "cache": options.cache,
        "missing": options.missing,
    }


def _table(options: argparse.Namespace) -> Files:
    """Return the files with named columns that the options name.

    Raises
    ------
    ValueError
        If the target of a linear model is not numeric.
    """
    from fastgd._data.readers import arrow as files

    data = files.Files(
        options.data,
        options.target,
        features=options.features,
        weight=options.weight,
        clusters=options.cluster,
        **text_options(options),
    )
    if options.model == "linear" and not data.target_is_numbers:
        raise ValueError(
            f"--target {options.target}: not numbers, as {data.first_text(options.target)}; --model logistic predicts "
            "classes"
        )
    return data


def _arrays(options: argparse.Namespace) -> list[Any]:
    """Return the arguments X and y of `fastgd.fit` for .npy or libsvm files; only X if it contains the target.

    Raises
    ------
    ValueError
        If an option needs files with named columns, or --target is wrong.
    """
    from fastgd._data.open import is_libsvm, is_npy

    of_tables = {"--features": options.features, "--weight": options.weight, "--report": options.report}
    of_tables |= {"--cluster": options.cluster}
    of_tables |= {"--categorical": options.categorical != "auto"}
    for option, value in of_tables.items():
        if value:
            raise ValueError(f"{option} is for files with named columns: Parquet, CSV or Arrow")
    if is_libsvm(options.data, options.format):
        if options.target is not None:
            raise ValueError(f"--target {options.target}: it is in the files; leave it out")
        return [options.data]
    if len(options.data) > 1:
        raise ValueError(f"{options.data[1]}: .npy files are fitted one at a time")
    if not is_npy([options.target], options.format):
        raise ValueError("--target: the .npy file of what is to be predicted is needed")
    return [options.data[0], options.target]
