"""The command line: ``fastgd fit | predict | roll | rates | demo | doctor`` (extra: cli).

Exit codes: 0 good; 1 the fit did not converge, or data or files are bad (one line on stderr); 2 usage; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shlex
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgd import rolling
from fastgd._linear.result import FitResult, load
from fastgd._optim.registry import SOLVERS, check_solver
from fastgd._optim.result import Status
from fastgd._utils.atomic_io import check_writable, replacing
from fastgd._version import __version__
from fastgd.writing import as_options, check_distinct, say

if TYPE_CHECKING:
    from fastgd._data.readers.arrow import Files

LARGEST = 10
REPORT_ROWS = 200_000  # at most, that pictures are drawn from


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; give the exit code."""
    parser = _parser()
    given = sys.argv[1:] if arguments is None else [*arguments]
    options = parser.parse_args(given, argparse.Namespace(given=given))
    if "solver" in options:
        try:
            check_solver(options.solver, options.learning_rate)
        except ValueError as error:
            parser.error(str(error))
    command: Callable[[argparse.Namespace], int] = options.command
    if command is run_fit and options.target is None:
        from fastgd._data.open import is_libsvm

        if not is_libsvm(options.data):
            parser.error("the following arguments are required: --target")
    try:
        return command(options)
    except (ValueError, TypeError, OSError, ImportError) as error:
        print_error(error)
        return 1
    except KeyboardInterrupt:
        print("fastgd: interrupted", file=sys.stderr)
        return 130


def print_error(what: object) -> None:
    """Say what is wrong in one line, also what other libraries say in several."""
    print("fastgd:", *str(what).split(), file=sys.stderr)


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Have the warning that a checkpoint cannot be written look like what else the command says."""
    from fastgd.exceptions import CheckpointWarning

    with warnings.catch_warnings():
        warnings.simplefilter("always", CheckpointWarning)
        shown = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            print_error(message) if category is CheckpointWarning else shown(message, category, *where, **more)

        warnings.showwarning = show
        yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastgd", description="Linear and logistic regression by gradient descent on large data."
    )
    parser.add_argument("--version", action="version", version=f"fastgd {__version__}")
    commands = parser.add_subparsers(required=True, metavar="fit | predict | roll | rates | demo | doctor")

    fit = commands.add_parser("fit", help="fit a model to Parquet, CSV or Arrow files, of any size")
    fit.set_defaults(command=run_fit)
    fit.add_argument(
        "data",
        nargs="+",
        help=".parquet, .csv (with a header line; .csv.gz and the like) or .arrow files, folders of them, or patterns; "
        ".npy; .libsvm, .svm",
    )
    fit.add_argument("--target", help="the column to predict; of .npy another such file; in libsvm's files")
    fit.add_argument("--model", choices=("linear", "logistic"), default="linear", help="default: linear")
    fit.add_argument("--features", type=_names, help="columns to predict from, a,b,c; default: all others")
    fit.add_argument(
        "--categorical", type=_names_or_auto, default="auto", help="those to take as categories, a,b,c; default: text"
    )
    fit.add_argument("--all-levels", action="store_true", help="a coefficient for first levels, too; needs --l2")
    fit.add_argument("--weight", help="the column of weights; default: all the same")
    fit.add_argument("--drop-missing", action="store_true", help="leave out rows with missing values")
    fit.add_argument("--l2", type=_at_least(0.0), default=0.0, help="penalty on squared coefficients; default: 0")
    fit.add_argument("--no-intercept", action="store_true", help="fit without an intercept")
    fit.add_argument("--no-standardize", action="store_true", help="descend in the coefficients as they are")
    fit.add_argument("--solver", choices=SOLVERS, default="auto", help="default: auto")
    fit.add_argument("--learning-rate", type=_rate, default="auto", help="of gd, nesterov and sgd; default: auto")
    fit.add_argument("--tol", type=_at_least(0.0), default=1e-6, help="largest slope at convergence; default: 1e-6")
    fit.add_argument("--max-iter", type=_at_least(0), default=1000, help="for sgd: epochs; default: 1000")
    fit.add_argument("--time-limit", type=_at_least(0.0), help="in seconds")
    fit.add_argument("--memory-limit", help="of data that are streamed, 512MB or the like; default: 512MB")
    fit.add_argument(
        "--cache", choices=("auto", "disk", "none"), default="auto", help="of decoded data, in a scratch file"
    )
    fit.add_argument("--threads", type=_at_least(1), help="default: all cores")
    fit.add_argument("--checkpoint", help="keep the state of the fit in this file, and go on from it if it is there")
    fit.add_argument("--output", help="write the model here, as JSON")
    fit.add_argument("--report", help="write a page about the fit here, .html (extra: plot)")

    predict = commands.add_parser("predict", help="predict with a fitted model")
    predict.set_defaults(command=run_predict)
    predict.add_argument("model", help="a model that fit --output wrote")
    predict.add_argument("data", nargs="+", help="files, folders or patterns, as of fit, with the model's columns")
    predict.add_argument("--unseen", choices=("error", "zero"), default="error", help="levels that fit did not have")
    predict.add_argument("--output", required=True, help="write predictions here, .csv or .parquet")

    rolling.add_commands(commands)

    demo = commands.add_parser("demo", help="fit 327,346 real flights: which came 15 minutes late?")
    demo.set_defaults(command=run_demo)
    demo.add_argument("--plot", default="fastgd-demo.png", help="the loss curve; default: fastgd-demo.png")
    demo.add_argument("--export", help="also write the flights with their target, .csv or .parquet")
    demo.add_argument("--export-recorded", help="also write them as recorded, with delays, .csv or .parquet")

    doctor = commands.add_parser("doctor", help="versions, threads, cache, and the speed of a pass on this machine")
    doctor.set_defaults(command=run_doctor)
    return parser


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of names a,b,c")
    return names


def _names_or_auto(text: str) -> list[str] | str:
    return text if text == "auto" else _names(text)


def _rate(text: str) -> float | str:
    return text if text == "auto" else float(text)


def _at_least(least: float) -> Callable[[str], float]:
    """Give a parser of finite numbers of least's type that are at least that."""

    def number(text: str) -> float:
        value = type(least)(text)
        if not least <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not a finite number of at least {least:g}")
        return value

    number.__name__ = type(least).__name__  # argparse names it in its message
    return number


def run_fit(options: argparse.Namespace) -> int:
    from fastgd._data.open import is_libsvm, is_npy
    from fastgd._linear.fit import fit
    from fastgd._optim.messages import quietly

    if options.all_levels and not options.l2:
        raise ValueError("--all-levels: without a penalty these coefficients are not determined; give --l2, too")
    written = {"--output": options.output, "--checkpoint": options.checkpoint, "--report": options.report}
    check_distinct(written)
    for file in filter(None, written.values()):
        check_writable(file)
    if options.report:
        from fastgd import report

        if not options.report.lower().endswith((".html", ".htm")):
            raise ValueError(f"--report {options.report}: a name ending in .html is needed")
    data = None if is_npy(options.data) or is_libsvm(options.data) else _table(options)
    paths = [*options.data, options.target] if data is None else [file.path for file in data.files]
    for path in filter(None, paths):
        check_distinct({"data": path, **written})
    with warnings_in_one_line():
        result = quietly(fit)(
            *(_arrays(options) if data is None else [data]),
            loss={"linear": "squared", "logistic": "logistic"}[options.model],
            l2=options.l2,
            intercept=not options.no_intercept,
            standardize=not options.no_standardize,
            categorical=options.categorical,
            drop_first=not options.all_levels,
            solver=options.solver,
            learning_rate=options.learning_rate,
            tol=options.tol,
            max_iter=options.max_iter,
            time_limit=options.time_limit,
            n_threads=options.threads,
            memory_limit=options.memory_limit,
            cache=options.cache,
            progress=sys.stderr.isatty(),
            checkpoint=options.checkpoint,
        )

    def save_model() -> None:
        result.save(options.output)
        say(f"\nwrote {options.output}")

    def save_report() -> None:
        assert data is not None  # noqa: S101  others are refused
        step = -(-result.rows // REPORT_ROWS)
        rest = f" and {len(options.data) - 1:,} more" if len(options.data) > 1 else ""
        judged = f", judged by one of {step:,} rows" if step > 1 else ""
        page = report.page(
            result,
            *data.sample(step),
            target=options.target,
            title=f"{options.target}, predicted from {Path(options.data[0]).name}{rest}{judged}",
            repeat=shlex.join(["fastgd", *options.given]),
        )
        with replacing(options.report) as temporary:
            temporary.write_text(page, encoding="utf-8")
        say(f"\nwrote {options.report}")

    if options.drop_missing and data is not None:
        say(f"left out {data.dropped:,} of {data.dropped + result.rows:,} rows with missing values")
    failed = False
    saving = [save_model] * bool(options.output) + [save_report] * bool(options.report)
    for work in (lambda: say(summary(result)), *saving):  # each whatever became of the others: a fit is not done twice
        try:
            work()
        except OSError as error:
            print_error(error)
            failed = True
    code = conclude(result)
    return 1 if failed else code


def _table(options: argparse.Namespace) -> Files:
    """Open files with named columns."""
    from fastgd._data.readers import arrow as files

    data = files.Files(
        options.data,
        options.target,
        features=options.features,
        weight=options.weight,
        drop_missing=options.drop_missing,
    )
    if options.model == "linear" and not data.target_is_numbers:
        raise ValueError(f"--target {options.target}: not numbers; --model logistic predicts classes")
    if options.categorical == "auto":
        files.check_text(data)
    return data


def _arrays(options: argparse.Namespace) -> list[Any]:
    """Give X, and y if it is not in the same files, of those without named columns."""
    from fastgd._data.open import is_libsvm, is_npy

    of_tables = {"--features": options.features, "--weight": options.weight, "--report": options.report}
    of_tables |= {"--drop-missing": options.drop_missing, "--categorical": options.categorical != "auto"}
    for option, value in of_tables.items():
        if value:
            raise ValueError(f"{option} is for files with named columns: Parquet, CSV or Arrow")
    if is_libsvm(options.data):
        if options.target is not None:
            raise ValueError(f"--target {options.target}: it is in the files; leave it out")
        return [options.data]
    if len(options.data) > 1:
        raise ValueError(f"{options.data[1]}: .npy files are fitted one at a time")
    if not is_npy([options.target]):
        raise ValueError("--target: the .npy file of what is to be predicted is needed")
    return [options.data[0], options.target]


def run_predict(options: argparse.Namespace) -> int:
    from fastgd._data.chunks import named
    from fastgd._data.readers import arrow as files

    for path in options.data:
        check_distinct({"model": options.model, "data": path, "--output": options.output})
    files.check_output(options.output)
    model = load(options.model)
    parts = _parts(options, model)
    rows = 0

    def predictions() -> Iterator[dict[str, Any]]:
        nonlocal rows
        for X, name in parts:
            if X.shape[0]:
                with named(name):
                    margins = model.decision_function(X, unseen=options.unseen)
                rows += len(margins)
                yield _columns_of(model, margins)
        if not rows:
            raise ValueError(f"{' '.join(options.data)}: no rows")

    files.write_tables(options.output, predictions())
    say(f"wrote {rows:,} predictions to {options.output}")
    return 0


def _parts(options: argparse.Namespace, model: FitResult) -> Iterator[tuple[Any, str]]:
    """Read what is to be predicted, a part at a time, and say where each is from."""
    from fastgd._data.open import is_libsvm, is_npy, map_array

    if is_npy(options.data):
        return ((map_array(path), path) for path in options.data)
    if is_libsvm(options.data):
        from fastgd._data.readers.libsvm import LibSVM

        return ((chunk.X, chunk.name) for chunk in LibSVM(options.data, model.coef.shape[-1]))
    from fastgd._data.readers.arrow import Files

    names = None if model.features is None else [feature.name for feature in model.features]
    data = Files(options.data, None, features=names)
    for file in data.files:
        check_distinct({"data": file.path, "--output": options.output})
    return data.tables()


def _columns_of(model: FitResult, margins: NDArray[Any]) -> dict[str, Any]:
    if model.classes is None:
        return {"prediction": margins}
    predicted = {"prediction": model.to_labels(margins)}
    probabilities = model.to_probabilities(margins)
    if len(model.classes) == 2:
        return {**predicted, "probability": probabilities[:, 1]}
    return predicted | {f"probability[{label}]": probabilities[:, k] for k, label in enumerate(model.classes)}


def run_demo(options: argparse.Namespace) -> int:
    from fastgd import demo, plots
    from fastgd._data.readers import arrow as files
    from fastgd._linear.fit import fit
    from fastgd._optim.messages import quietly

    check_distinct({"--plot": options.plot, "--export": options.export, "--export-recorded": options.export_recorded})
    plots.check_output(options.plot)
    for path in filter(None, (options.export, options.export_recorded)):
        files.check_output(path)
    data = demo.flights()
    say(
        f"{len(data.late):,} flights from New York in 2013 that arrived ({data.without_arrival:,} others never did)."
        f"\nLate by {demo.LATE_MINUTES} minutes or more: {data.late.mean():.1%}. "
        f"Fitting four fifths of them, holding out {data.held_out.sum():,}.\n"
    )
    if options.export_recorded:
        files.write_table(options.export_recorded, demo.recorded())
    if options.export:
        files.write_table(options.export, {**data.table, demo.TARGET: data.late})
    seen = ~data.held_out
    result = quietly(fit)(
        data.part(seen),
        data.late[seen],
        loss="logistic",
        l2=1e-6,
        progress=sys.stderr.isatty(),
    )
    say(summary(result))
    score = demo.score(result, data)
    say(
        f"\nheld out        model    base rate\n"
        f"log loss     {score.log_loss:8.4f}     {score.base_log_loss:8.4f}\n"
        f"AUC          {score.auc:8.4f}     {0.5:8.4f}\n"
    )
    plots.save(plots.history(result.history, "Late flights: the descent"), options.plot)
    say(f"wrote {options.plot}")
    return conclude(result)


def summary(result: FitResult) -> str:
    """Lay out a fit as a table for people to read."""
    passes, seconds = result.history.passes[-1], result.history.seconds[-1]
    lines = [
        ("rows", f"{result.rows:,}"),
        ("coefficients", f"{result.coef.size:,}"),
        ("loss", f"{result.loss:.8g} ({result.settings['loss']['name']})"),
        ("solver", result.settings["solver"]),
        ("status", result.status.name.capitalize().replace("_", " ")),  # the sentence is on stderr if it is needed
        ("passes", f"{passes:.4g}"),
        ("seconds", f"{seconds:.3g}"),
        ("rows/s", f"{result.rows * passes / seconds:.3g}"),
        ("intercept", ", ".join(f"{b:.6g}" for b in np.ravel(result.intercept))),
    ]
    if result.redundant:
        more = f" and {len(result.redundant) - LARGEST} more" if len(result.redundant) > LARGEST else ""
        lines.append(("redundant", ", ".join(result.redundant[:LARGEST]) + more))
    coef, effects = np.ravel(result.coef), np.ravel(result.coef * result.spread)
    names = result.coef_names
    if result.coef.ndim == 2:
        outputs = range(len(result.coef)) if result.classes is None else result.classes
        names = [f"{output}: {name}" for output in outputs for name in names]
    order = np.argsort(-np.abs(effects), kind="stable")[:LARGEST]
    width = max(len("largest coefficients"), *(len(names[j]) for j in order))
    text = [f"{label:<{width}}  {value}" for label, value in lines]
    text.append(f"\n{'largest coefficients':<{width}}  {'coefficient':>12}  {'per std. dev.':>13}")
    text += [f"{names[j]:<{width}}  {coef[j]:>12.6g}  {effects[j]:>13.4g}" for j in order]
    return "\n".join(text)


def conclude(result: FitResult) -> int:
    if not result.converged:
        message = result.message.replace(result.status.value, as_options(result.status.value))
        limit = r"(?<= s\. )(max_iter|time_limit)="  # the rest may name columns
        print_error(re.sub(limit, lambda found: as_options(found[0]), message))
    if result.status is Status.INTERRUPTED:
        return 130
    return 0 if result.converged else 1


def run_doctor(options: argparse.Namespace) -> int:  # noqa: ARG001
    from fastgd import losses
    from fastgd._data.dataset import InMemory
    from fastgd._data.design import Array
    from fastgd._kernels import sums as passes
    from fastgd._kernels.threads import allowed_threads
    from fastgd._linear.objective import Objective
    from fastgd._linear.statistics import moments

    rng = np.random.default_rng(0)
    X = rng.standard_normal((320_000, 100))  # 256 MB: more than a cache holds
    source = InMemory(Array(X), rng.integers(0, 2, len(X)).astype(float))
    loss = losses.Logistic()
    objective = Objective(source, loss, 0.0, moments(source, loss, about_mean=True), True, True)
    point = np.zeros(objective.size)
    pass_seconds, read_seconds = _interleaved(lambda: objective(point), lambda: passes.read(X))
    rows: list[tuple[str, Any]] = [
        ("fastgd", __version__),
        ("python", platform.python_version()),
        *((name, _version(name)) for name in ("numpy", "numba", "scikit-learn", "narwhals", "pyarrow", "matplotlib")),
        ("threads", f"{allowed_threads()} of {os.cpu_count()} processors"),
        ("threading layer", passes.threading_layer()),
        ("kernel cache", _cache()),
        ("memory read", f"{X.nbytes / read_seconds / 1e9:.1f} GB/s"),
        ("logistic pass", f"{X.nbytes / pass_seconds / 1e9:.1f} GB/s, {read_seconds / pass_seconds:.0%} of reading"),
    ]
    for name, value in rows:
        say(f"{name:<16} {value}")
    return 0


def _cache() -> str:
    from fastgd._kernels.sums import cache_folder

    folder = cache_folder()
    if folder is None:
        return "none: no folder can be written, so every process compiles"
    if not os.access(folder, os.W_OK):
        return f"{folder}, cannot be written: every process compiles what is not in it"
    return folder


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _interleaved(*actions: Callable[[], object], rounds: int = 7) -> list[float]:
    """Time actions in turn, after one round to warm up: the median seconds of each."""
    seconds: list[list[float]] = [[] for _ in actions]
    for _ in range(rounds + 1):
        for action, times in zip(actions, seconds, strict=True):
            began = time.perf_counter()
            action()
            times.append(time.perf_counter() - began)
    return [statistics.median(times[1:]) for times in seconds]
