"""``python -m bench`` takes the README's tables; ``python -m bench passes`` (or another of `TABLES`) takes one.

A table is a module of this folder with ``run() -> str``; it is printed, and kept in results/.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from bench.report import save

TABLES = {
    "passes": "passes",
    "fits": "fits",
    "cold": "cold",
    "sparse": "sparse",
    "memory": "memory",
    "incremental": "incremental",
    "precision": "precision",
    "stream": "stream",
    "stream_rivals": "stream_rivals",
    "cluster": "cluster",
    "scaling": "scaling",
    "rivals": "rivals_table",
    "figures": "figures",
    "annealing": "annealing",
    "accuracy": "accuracy",
    "real": "real",
    "frames": "frames",
    "inference": "inference",
}  # and their modules
README_TABLES = ("passes", "fits")  # together under five minutes on two cores


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("tables", nargs="*", metavar="table", help=f"{', '.join(TABLES)}")
    parser.add_argument("--data", type=Path, help="the folder of the table real")
    arguments = parser.parse_args()
    names = arguments.tables or README_TABLES
    if unknown := [name for name in names if name not in TABLES]:
        parser.error(f"no table {', '.join(unknown)}; there are {', '.join(TABLES)}")
    if arguments.data is not None:
        if "real" not in names:
            parser.error("--data is for the table real")
        import_module("bench.real").DATA = arguments.data.resolve()
    for name in names:
        print(save(name, import_module(f"bench.{TABLES[name]}").run()), flush=True)


if __name__ == "__main__":
    main()
