"""The command ``fastgd guide``: list or print the chapters of the documentation in the package."""

from __future__ import annotations

import argparse
from importlib.resources import files

from fastgd._cli.output import print_line

CHAPTER_ORDER = (
    *("fit", "selection", "inference", "estimators", "tables", "sparse", "streams", "dask", "stopping", "rolling_ball"),
    *("command_line", "your_data", "numbers", "how_it_is_built"),
)
"""The names of the chapters in the order of the list. Others follow in alphabetical order."""


def chapters() -> dict[str, str]:
    """Return a dict from the name of each chapter to its text, in the order of the list."""
    folder = files("fastgd") / "guide"
    found = {file.name.removesuffix(".md"): file for file in folder.iterdir() if file.name.endswith(".md")}
    order = [name for name in CHAPTER_ORDER if name in found] + sorted(found.keys() - set(CHAPTER_ORDER))
    return {name: found[name].read_text(encoding="utf-8") for name in order}


def run_guide(options: argparse.Namespace) -> int:
    """Print the list of chapters, or one chapter; return exit code 0. Raise ValueError for an unknown chapter."""
    texts = chapters()
    if options.chapter is None:
        width = max(map(len, texts))
        for name, text in texts.items():
            print_line(f"{name:<{width}}  {text.partition(chr(10))[0].lstrip('# ')}")
        return 0
    if options.chapter not in texts:
        raise ValueError(f"{options.chapter}: no such chapter; there are {', '.join(texts)}")
    lines = texts[options.chapter].splitlines()
    print_line("\n".join(line for line in lines if not line.startswith("![")))  # a terminal cannot show images
    return 0
