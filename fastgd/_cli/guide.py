"""The command ``fastgd guide``: the chapters that are shipped with the package."""

from __future__ import annotations

import argparse
from importlib.resources import files

from fastgd._cli.output import print_line

ORDER = (
    *("fit", "estimators", "tables", "sparse", "streams", "dask", "stopping", "rolling_ball", "command_line"),
    *("your_data", "numbers", "how_it_is_built"),
)


def chapters() -> dict[str, str]:
    """Return the text of each chapter by its name, in the order they are read."""
    folder = files("fastgd") / "guide"
    found = {file.name.removesuffix(".md"): file for file in folder.iterdir() if file.name.endswith(".md")}
    order = [name for name in ORDER if name in found] + sorted(found.keys() - set(ORDER))
    return {name: found[name].read_text(encoding="utf-8") for name in order}


def run_guide(options: argparse.Namespace) -> int:
    """List the chapters, or print one."""
    texts = chapters()
    if options.chapter is None:
        width = max(map(len, texts))
        for name, text in texts.items():
            print_line(f"{name:<{width}}  {text.partition(chr(10))[0].lstrip('# ')}")
        return 0
    if options.chapter not in texts:
        raise ValueError(f"{options.chapter}: no such chapter; there are {', '.join(texts)}")
    lines = texts[options.chapter].splitlines()
    print_line("\n".join(line for line in lines if not line.startswith("![")))  # a terminal shows no pictures
    return 0
