"""Lines on stderr that show how far a run is (extra: cli)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class ProgressLine:
    """The observer that shows loss and gradient norm of the last row."""

    def __init__(self, line: Any, tol: float | None) -> None:
        self.line, self.goal = line, "" if tol is None else f" (tol {tol:.0e})"

    @classmethod
    @contextmanager
    def opened(cls, tol: float | None) -> Iterator[ProgressLine]:
        """Show the line within a block; an ImportError says how to install tqdm."""
        with bar(unit=" iterations") as line:
            yield cls(line, tol)

    def on_row(self, row: Any) -> bool:
        """Show a row of the history; a progress line never asks for the end."""
        shown = f"loss {row.loss:.6g}, gradient norm {row.gradient_norm:.1e}{self.goal}"
        self.line.set_postfix_str(shown, refresh=False)
        self.line.update()
        return False

    def on_state(self, state: Any) -> None:
        """Ignore states: the row was shown."""


def bar(**options: Any) -> Any:
    """Return a progress bar of tqdm; an ImportError says how to install it."""
    try:
        from tqdm import tqdm
    except ImportError:
        raise ImportError("progress=True needs tqdm: pip install 'fastgd[cli]'") from None
    return tqdm(leave=False, **options)
