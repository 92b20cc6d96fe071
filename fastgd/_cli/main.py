"""The parser of the command line: ``fastgd fit | predict | roll | rates | demo | guide | doctor`` (extra: cli).

Exit codes: 0 for success; 1 if the fit did not converge, or data or files are wrong (with one line on stderr); 2 for
wrong options; 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from fastgd._cli import roll as rolling
from fastgd._cli.doctor import run_doctor
from fastgd._cli.flights import run_demo
from fastgd._cli.guide import run_guide
from fastgd._cli.output import MODELS, UsageError, print_error
from fastgd._cli.path import run_fit_or_path
from fastgd._cli.predict import run_predict
from fastgd._data.schema import FORMATS
from fastgd._linear.settings import COVARIANCES, GAP_TOL, TOL, WEIGHTS, covariance_name
from fastgd._optim.registry import SOLVERS, check_solver
from fastgd._version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command and its options; None takes those of the process.
    """
    parser = make_parser()
    given = sys.argv[1:] if arguments is None else [*arguments]
    options = parser.parse_args(given, argparse.Namespace(given=given))
    if "solver" in options:
        try:
            check_solver(options.solver, options.learning_rate)
        except ValueError as error:
            parser.error(str(error))
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except UsageError as error:
        parser.error(str(error))
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        print_error(str(error) or "there is not enough memory")
        return 1
    except KeyboardInterrupt:
        print_error("interrupted")
        return 130


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands. The parsed ``command`` is the function that runs it."""
    parser = argparse.ArgumentParser(
        prog="fastgd", description="Linear and logistic regression by gradient descent on large data."
    )
    parser.add_argument("--version", action="version", version=f"fastgd {__version__}")
    commands = parser.add_subparsers(required=True, metavar="fit | predict | roll | rates | demo | guide | doctor")

    fit = commands.add_parser("fit", help="fit a model to Parquet, CSV or Arrow files, of any size")
    fit.set_defaults(command=run_fit_or_path)
    fit.add_argument(
        "data",
        nargs="+",
        help=".parquet, .csv (with a header line; .csv.gz and the like) or .arrow files, folders of them, or patterns; "
        ".npy; .libsvm, .svm (.svm.gz and the like)",
    )
    fit.add_argument("--target", help="the column to predict; of .npy another such file; in libsvm's files")
    fit.add_argument("--model", choices=MODELS, default="linear", help="default: linear")
    fit.add_argument("--features", type=_names, help="columns to predict from, a,b,c; default: all others")
    fit.add_argument(
        "--categorical", type=_names_or_auto, default="auto", help="those to take as categories, a,b,c; default: text"
    )
    fit.add_argument("--all-levels", action="store_true", help="a coefficient for first levels, too; needs a penalty")
    fit.add_argument("--weight", help="the column of weights; default: all the same")
    fit.add_argument(
        "--missing",
        choices=("error", "drop", "impute"),
        default="error",
        help="missing values: refuse them, leave their rows out, or take means and a coefficient for being missing",
    )
    fit.add_argument(
        "--drop-missing", action="store_const", dest="missing", const="drop", help="the same as --missing drop"
    )
    _add_text_options(fit)
    fit.add_argument("--l2", type=_at_least(0.0), default=0.0, help="penalty on squared coefficients; default: 0")
    fit.add_argument(
        "--l1",
        type=_at_least(0.0),
        default=0.0,
        help="penalty on absolute coefficients: some become 0; default: 0",
    )
    fit.add_argument("--positive", action="store_true", help="let no coefficient be below 0")
    fit.add_argument("--no-intercept", action="store_true", help="fit without an intercept")
    fit.add_argument("--no-standardize", action="store_true", help="descend in the coefficients as they are")
    fit.add_argument("--solver", choices=SOLVERS, default="auto", help="default: auto")
    fit.add_argument("--learning-rate", type=_rate, default="auto", help="of gd, nesterov and sgd; default: auto")
    fit.add_argument(
        "--tol",
        type=_at_least(0.0),
        help=f"standard errors from the minimum; default: {TOL:g}. With --l1, --positive or --path: duality gap, as a "
        f"share of the loss without coefficients; default: {GAP_TOL:g}",
    )
    fit.add_argument("--max-iter", type=_at_least(0), default=1000, help="for sgd: epochs; default: 1000")
    fit.add_argument("--time-limit", type=_at_least(0.0), help="in seconds")
    fit.add_argument("--memory-limit", help="of data that are streamed, 512MB or the like; default: 512MB")
    fit.add_argument(
        "--cache", choices=("auto", "disk", "none"), default="auto", help="of decoded data, in a spill file"
    )
    fit.add_argument("--threads", type=_at_least(1), help="default: all cores")
    fit.add_argument("--checkpoint", help="keep the state of the fit in this file, and go on from it if it is there")
    fit.add_argument("--summary", action="store_true", help="print standard errors, tests and intervals")
    fit.add_argument(
        "--covariance",
        type=covariance_name,
        choices=COVARIANCES,
        help="what standard errors assume, see the chapter inference; default with --summary: classical",
    )
    fit.add_argument("--cluster", help="the column of clusters, within which rows may depend on each other")
    fit.add_argument("--weights", choices=WEIGHTS, default="precision", help="what weights mean for standard errors")
    fit.add_argument("--output", help="write the model here, as JSON")
    fit.add_argument("--report", help="write a page about the fit here, .html (extra: plot)")

    paths = fit.add_argument_group("a path: a fit for each of many penalties")
    paths.add_argument("--path", help="write penalties and coefficients here, .csv or .parquet, instead of one fit")
    paths.add_argument("--l1-ratio", type=_ratio, help="the share of l1 in the penalty, 0 to 1; default: 1")
    paths.add_argument("--n-penalties", type=_at_least(1), help="how many penalties; default: 100")
    paths.add_argument("--eps", type=_share, help="the smallest penalty as a share of the largest; default: 0.001")
    paths.add_argument("--plot", help="draw the path here, .png, .svg or .pdf (extra: plot)")

    predict = commands.add_parser("predict", help="predict with a fitted model")
    predict.set_defaults(command=run_predict)
    predict.add_argument("model", help="a model that fit --output wrote")
    predict.add_argument("data", nargs="+", help="files, folders or patterns, as of fit, with the model's columns")
    predict.add_argument("--unseen", choices=("error", "zero"), default="error", help="levels that fit did not have")
    predict.add_argument(
        "--interval",
        type=_share,
        help="add columns with the ends of intervals that hold the truth in this share of fits, 0.95 or the like; for "
        "models with standard errors",
    )
    _add_text_options(predict)
    predict.add_argument("--output", required=True, help="write predictions here, .csv or .parquet")

    rolling.add_commands(commands)

    demo = commands.add_parser("demo", help="fit 327,346 real flights: which came 15 minutes late?")
    demo.set_defaults(command=run_demo)
    demo.add_argument("--plot", default="fastgd-demo.png", help="the loss curve; default: fastgd-demo.png")
    demo.add_argument("--export", help="also write the flights with their target, .csv or .parquet")
    demo.add_argument("--export-recorded", help="also write them as recorded, with delays, .csv or .parquet")

    guide = commands.add_parser("guide", help="list the chapters of the guide, or print one")
    guide.set_defaults(command=run_guide)
    guide.add_argument("chapter", nargs="?", help="its name, as the list has it")

    doctor = commands.add_parser("doctor", help="versions, threads, cache, and the speed of a pass on this machine")
    doctor.set_defaults(command=run_doctor)
    return parser


def _add_text_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how files are written, under the names of pandas."""
    files = parser.add_argument_group("how files are written")
    files.add_argument("--format", choices=FORMATS, help="if names do not tell it")
    files.add_argument("--sep", type=_character, help="between values of CSV; default: a comma, in .tsv a tab")
    files.add_argument("--decimal", default=".", help="the decimal point of CSV; default: .")
    files.add_argument("--encoding", default="utf-8", help="of CSV; default: utf-8")
    files.add_argument(
        "--no-header",
        action="store_const",
        dest="header",
        const=None,
        default="infer",
        help="CSV has no line of names; columns are 0, 1, ...",
    )
    files.add_argument("--na-values", type=_names, default=(), help="texts of CSV for missing values: --na-values=-,?")
    files.add_argument(
        "--no-default-na", action="store_false", dest="keep_default_na", help="NA, null and the like are text in CSV"
    )
    files.add_argument(
        "--no-quotes", action="store_const", dest="quoting", const=3, default=0, help="quotes in CSV are text"
    )


def _character(text: str) -> str:
    """Return a separator; a tab may be written as "tab", or as a backslash and t."""
    return "\t" if text in ("\\t", "tab") else text


def _names(text: str) -> list[str]:
    """Return the names in a list a,b,c."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of names a,b,c")
    return names


def _names_or_auto(text: str) -> list[str] | str:
    """Return the names in a list a,b,c, or "auto"."""
    return text if text == "auto" else _names(text)


def _rate(text: str) -> float | str:
    """Return a learning rate: a number, or "auto"."""
    return text if text == "auto" else float(text)


def _ratio(text: str) -> float:
    """Return a number from 0 to 1."""
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to 1")
    return value


def _share(text: str) -> float:
    """Return a number between 0 and 1, both excluded."""
    value = float(text)
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not a number between 0 and 1")
    return value


def _at_least(least: float) -> Callable[[str], float]:
    """Return a function that parses finite numbers of at least ``least``, of the same type as ``least``."""

    def number(text: str) -> float:
        value = type(least)(text)
        if not least <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not a finite number of at least {least:g}")
        return value

    number.__name__ = type(least).__name__  # argparse shows this name in its messages
    return number
