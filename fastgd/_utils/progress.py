"""Lines that show how far a fit is (extra: cli)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def watching(
    progress: bool, callback: Callable[[Any], object] | None, tol: float | None
) -> Iterator[Callable[[Any], object] | None]:
    """Put the progress line in front of the callback."""
    if not progress:
        yield callback
        return
    with bar(unit=" iterations") as line:

        def watch(row: Any) -> object:
            goal = "" if tol is None else f" (tol {tol:.0e})"
            line.set_postfix_str(f"loss {row.loss:.6g}, slope {row.gradient_norm:.1e}{goal}", refresh=False)
            line.update()
            return callback(row) if callback is not None else False

        yield watch


def bar(**options: Any) -> Any:
    """Give a line of tqdm's."""
    try:
        from tqdm import tqdm
    except ImportError:
        raise ImportError("progress=True needs tqdm: pip install 'fastgd[cli]'") from None
    return tqdm(leave=False, **options)
