"""Files that appear whole or not at all; and standard output, which can be full, too."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path


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
