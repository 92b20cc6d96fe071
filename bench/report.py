"""Tables in GitHub's markdown, and a line that says what they were measured with."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("numpy", "numba", "scikit-learn")


def cores() -> int:
    """The cores this process may use, hence the threads that every contender gets."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1) -> str:
    """Markdown with the first columns to the left and the numbers to the right."""
    rules = [":--" if i < text_columns else "--:" for i in range(len(columns))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, rules, *rows))


def environment() -> str:
    """Processor, cores and versions; nothing that tells whose machine it was."""
    return f"{_processor()}, {cores()} cores, Python {platform.python_version()}, " + ", ".join(
        f"{package} {_version(package)}" for package in PACKAGES
    )


def save(name: str, text: str) -> str:
    """Put the environment above a table, keep both in results/, and give them."""
    document = f"{environment()}\n\n{text}\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(document, encoding="utf-8")
    return document


def _processor() -> str:
    """The model name where Linux tells it, else the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
