"""The line that shows how a descent goes on (extra: cli)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastgd.descent import Row


@contextmanager
def watching(
    progress: bool, callback: Callable[[Row], object] | None, tol: float | None
) -> Iterator[Callable[[Row], object] | None]:
    """Put the progress line in front of the callback."""
    if not progress:
        yield callback
        return
    try:
        from tqdm import tqdm
    except ImportError:
        raise ImportError("progress=True needs tqdm: pip install 'fastgd[cli]'") from None
    with tqdm(unit=" iterations", leave=False) as bar:

        def watch(row: Row) -> object:
            goal = "" if tol is None else f" (tol {tol:.0e})"
            bar.set_postfix_str(f"loss {row.loss:.6g}, slope {row.gradient_norm:.1e}{goal}", refresh=False)
            bar.update()
            return callback(row) if callback is not None else False

        yield watch
