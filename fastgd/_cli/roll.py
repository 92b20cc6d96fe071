"""The commands ``fastgd roll`` and ``fastgd rates``: a descent on a surface, and a sweep of learning rates."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fastgd._cli.output import MODELS, check_distinct, describe, print_line
from fastgd._optim.gradient_descent import estimate_lipschitz
from fastgd._optim.registry import MINIMIZERS, REGISTRY
from fastgd._utils.atomic_io import check_writable
from fastgd.surfaces._functions import SURFACES, Surface

GENTLE = 0.2
"""The default learning rate of ``roll``, as a multiple of 1/L."""
"""The loss of each --model."""


def add_commands(commands: Any) -> None:
    """Add the commands ``roll`` and ``rates`` to the subparsers of a parser."""
    roll = commands.add_parser("roll", help="let a ball roll down a surface, or down the loss of a regression")
    roll.set_defaults(command=_roll)
    _add_surface_options(roll)
    roll.add_argument("--solver", dest="method", choices=MINIMIZERS, default="gd", help="default: gd")
    roll.add_argument(
        "--learning-rate", dest="rate", type=_positive, help="of gd and nesterov; default: a fifth of 1/L"
    )
    roll.add_argument("--max-iter", type=_count, default=1000, help="default: 1000")
    roll.add_argument("--escape-saddles", action="store_true", help="do not rest on saddle points")
    roll.add_argument("--seed", type=int, default=0, help="of noise; default: 0")
    roll.add_argument("--output", required=True, help=".gif or .html: an animation; .png, .svg or .pdf: a picture")

    rates = commands.add_parser("rates", help="descend with several learning rates, and say what became of each")
    rates.set_defaults(command=_rates)
    _add_surface_options(rates)
    rates.add_argument("--rates", type=_positives, help="a,b,c; default: chosen around the limit")
    rates.add_argument("--max-iter", type=_count, default=100, help="default: 100")
    rates.add_argument("--output", help="draw them here, .png, .svg or .pdf")


def _add_surface_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a surface and a start."""
    ground = parser.add_mutually_exclusive_group(required=True)
    ground.add_argument("--surface", choices=SURFACES, help=", ".join(SURFACES))
    ground.add_argument("--data", help="a .csv or .parquet file: the surface of y = a x + b's loss")
    parser.add_argument("--target", help="with --data: the column y")
    parser.add_argument("--feature", help="with --data: the column x")
    parser.add_argument("--model", choices=MODELS, help="with --data; default: linear")
    parser.add_argument("--drop-missing", action="store_true", help="with --data: leave out rows with missing values")
    parser.add_argument("--no-standardize", action="store_true", help="with --data: a and b as they are, a long valley")
    parser.add_argument(
        "--start", type=_point, help="x,y (write --start=-1,2 if x is negative); default: the surface's"
    )


def _numbers(text: str) -> list[float]:
    """Return the numbers in a list a,b,c."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers a,b,c") from None


def _positives(text: str) -> list[float]:
    """Return the positive numbers in a list a,b,c."""
    return [_positive(part) for part in text.split(",")]


def _positive(text: str) -> float:
    """Return a positive number."""
    (value,) = _numbers(text.replace(",", " "))
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def _count(text: str) -> int:
    """Return a whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def _point(text: str) -> list[float]:
    """Return the two coordinates in x,y."""
    point = _numbers(text)
    if len(point) != 2:
        raise argparse.ArgumentTypeError(f"{text!r} has {len(point)} coordinates; x,y is needed")
    return point


def _surface(options: argparse.Namespace) -> Surface:
    """Return the surface that the options name: a function, or the loss of a regression on a file.

    Raises
    ------
    ValueError
        If options contradict each other or the data are wrong.
    """
    if options.surface:
        names = ("target", "feature", "model", "drop_missing", "no_standardize")
        given = [name for name in names if getattr(options, name)]
        if given:
            raise ValueError(f"--{given[0].replace('_', '-')} belongs to --data; --surface has a formula")
        return SURFACES[options.surface]
    missing = [name for name in ("target", "feature") if not getattr(options, name)]
    if missing:
        raise ValueError(f"--{missing[0]} is missing: --data needs --target and --feature, a column each")
    if options.target == options.feature:
        raise ValueError(f"--feature: {options.feature} is the target")
    from fastgd._data.readers import arrow as files
    from fastgd.surfaces._loss_surface import regression

    table = files.read_table(options.data, [options.feature, options.target])
    if options.drop_missing:
        read = table.num_rows
        table = files.drop_missing(table)
        print_line(f"left out {read - table.num_rows:,} of {read:,} rows with missing values")
    files.check_complete(table)
    target = files.as_numpy(table[options.target])
    model = options.model or "linear"
    if model == "linear" and target.dtype.kind not in "biuf":
        raise ValueError(f"--target {options.target}: not numbers; --model logistic predicts classes")
    features = table.select([options.feature])
    return regression(features, target, MODELS[model], standardize=not options.no_standardize)


def _roll(options: argparse.Namespace) -> int:
    """Minimise a surface, write a plot or an animation, print the end, and return exit code 0."""
    from fastgd import plots
    from fastgd._optim.messages import without_warning
    from fastgd._optim.minimize import minimize
    from fastgd._utils.validation import as_point, generator
    from fastgd.plots._animation import MOVING
    from fastgd.plots._save import FORMATS

    check_distinct({"--data": options.data, "--output": options.output})
    suffix = Path(options.output).suffix.lower()
    moving = suffix in MOVING
    if not moving and suffix not in FORMATS:
        allowed = f"{' or '.join(MOVING)} for an animation, {', '.join(FORMATS)} for a picture"
        raise ValueError(f"--output {options.output}: a name ending in {allowed} is needed")
    check_writable(options.output)
    surface = _surface(options)
    start = surface.start if options.start is None else as_point(options.start)
    rate = options.rate
    takes_rate = options.method in REGISTRY and REGISTRY[options.method].takes_rate
    if rate is None and takes_rate and options.method != "annealed":
        rate = GENTLE / estimate_lipschitz(surface, start, generator(options.seed))
        print_line(f"learning rate {rate:.4g}: {GENTLE:g}/L, so that the ball rolls rather than jumps")
    result = without_warning(minimize)(
        surface,
        start,
        solver=options.method,
        learning_rate="auto" if rate is None else rate,
        max_iter=options.max_iter,
        escape_saddles=options.escape_saddles,
        rng=options.seed,
        record_path=True,
    )
    if moving:
        plots.animate(result, surface, options.output)
    else:
        plots.save(plots.path(result, surface, view="both"), options.output)
    x, y = result.x
    print_line(f"{surface.name}: {surface.formula}\nend: ({x:.6g}, {y:.6g}), height {result.loss:.6g}")
    print_line(describe(result))
    print_line(f"wrote {options.output}")
    return 0


def _rates(options: argparse.Namespace) -> int:
    """Print a sweep of learning rates, write a plot of it if asked for, and return exit code 0."""
    from fastgd.surfaces._learning_rates import learning_rates

    if options.output:
        from fastgd import plots

        check_distinct({"--data": options.data, "--output": options.output})
        plots.check_output(options.output)
    surface = _surface(options)
    sweep = learning_rates(surface, rates=options.rates, start=options.start, max_iter=options.max_iter)
    print_line(f"{surface.name}: {surface.formula}\n\n{sweep}")
    if options.output:
        plots.save(plots.learning_rates(sweep), options.output)
        print_line(f"\nwrote {options.output}")
    return 0
