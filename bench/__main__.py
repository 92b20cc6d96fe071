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
    "l1": "l1",
}  # and their modules
README_TABLES = ("passes", "fits")  # together under five minutes on two cores


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("tables", nargs="*", metavar="table", help=f"{', '.join(TABLES)}")
    parser.add_argument("--data", type=Path, help="the folder of the table real")
    parser.add_argument("--quick", action="store_true", help="small problems, to try the table l1; they are not kept")
    arguments = parser.parse_args()
    names = arguments.tables or README_TABLES
    if unknown := [name for name in names if name not in TABLES]:
        parser.error(f"no table {', '.join(unknown)}; there are {', '.join(TABLES)}")
    if arguments.data is not None:
        if "real" not in names:
            parser.error("--data is for the table real")
        import_module("bench.real").DATA = arguments.data.resolve()
    if arguments.quick:
        if names != ["l1"]:
            parser.error("--quick is for the table l1 alone")
        module = import_module("bench.l1")
        module.QUICK, module.TIME_LIMIT = True, 10.0
        print(module.run(), flush=True)
        return
    for name in names:
        print(save(name, import_module(f"bench.{TABLES[name]}").run()), flush=True)


if __name__ == "__main__":
    main()
