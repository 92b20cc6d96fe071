"""``python -m bench`` takes the README's tables; ``python -m bench passes`` (or another of `TABLES`) takes one.

A table is a module of this folder with ``run() -> str``; it is printed, and kept in results/.
"""

from __future__ import annotations

import argparse
from importlib import import_module

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
}  # and their modules
README_TABLES = ("passes", "fits")  # together under five minutes on two cores


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("tables", nargs="*", metavar="table", help=f"{', '.join(TABLES)}")
    names = parser.parse_args().tables or README_TABLES
    if unknown := [name for name in names if name not in TABLES]:
        parser.error(f"no table {', '.join(unknown)}; there are {', '.join(TABLES)}")
    for name in names:
        print(save(name, import_module(f"bench.{TABLES[name]}").run()), flush=True)


if __name__ == "__main__":
    main()
