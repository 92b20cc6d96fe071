"""Lines that show how far a fit is (extra: cli)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastgd.chunks import Chunk, Chunks
from fastgd.descent import Row


@contextmanager
def watching(
    progress: bool, callback: Callable[[Row], object] | None, tol: float | None
) -> Iterator[Callable[[Row], object] | None]:
    """Put the progress line in front of the callback."""
    if not progress:
        yield callback
        return
    with _tqdm()(unit=" iterations", leave=False) as bar:

        def watch(row: Row) -> object:
            goal = "" if tol is None else f" (tol {tol:.0e})"
            bar.set_postfix_str(f"loss {row.loss:.6g}, slope {row.gradient_norm:.1e}{goal}", refresh=False)
            bar.update()
            return callback(row) if callback is not None else False

        yield watch


class ShownChunks(Chunks):
    """Chunks with a line that shows which reading this is, its rows, and from the second on the time that is left."""

    def __init__(self, chunks: Chunks) -> None:
        self.chunks = chunks
        self.readings, self.rows = 0, None

    def limit(self, chunk_bytes: int) -> None:
        """Read no more at once than this."""
        self.chunks.limit(chunk_bytes)

    def __iter__(self) -> Iterator[Chunk]:
        """Read from the start."""
        what = f"reading {self.readings + 1}"
        with _tqdm()(desc=what, total=self.rows, unit=" rows", unit_scale=True, leave=False, position=1) as bar:
            for chunk in self.chunks:
                yield chunk
                bar.update(len(chunk.y))
            self.rows = bar.n
        self.readings += 1


def _tqdm() -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        raise ImportError("progress=True needs tqdm: pip install 'fastgd[cli]'") from None
    return tqdm
