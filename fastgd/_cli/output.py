"""What commands print: tables, errors in one line, exit codes."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from fastgd._linear.result import FitResult
from fastgd._optim.result import Status

LARGEST = 10


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


def say(text: str) -> None:
    """Print a text at once; an OSError says if standard output takes none, as on a full disk."""
    try:
        print(text, flush=True)
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # otherwise Python tries again at its end, and fails in its own way
        os.close(nowhere)
        raise OSError(f"standard output: {error.strerror or error}") from None


def as_options(sentence: str) -> str:
    """Spell the arguments in a sentence as the command line does."""
    sentence = sentence.replace("continue with start=result", "with --checkpoint the same command goes on")
    names = r"\b(solver|learning_rate|escape_saddles|max_iter|time_limit|tol|l2)\b(?:=True|='(\w+)'|(=))?"

    def option(found: re.Match[str]) -> str:
        value = f" {found[2]}" if found[2] else " " if found[3] else ""
        return f"--{found[1].replace('_', '-')}{value}"

    return re.sub(names, option, sentence)


def check_distinct(files: Mapping[str, str | os.PathLike[str] | None]) -> None:
    """Refuse arguments that name one file, of which one would be written over the other: by links, too."""
    given = [(name, path) for name, path in files.items() if path is not None]
    for (first, one), (second, other) in combinations(given, 2):
        if _same(Path(one), Path(other)):
            raise ValueError(f"{first} {one} and {second} {other} are the same file; name another")


def _same(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.is_file() and one.samefile(other)  # a device can be written to twice
    return one.resolve() == other.resolve()
