"""How functions are compiled: at first call, kept on disk where that can be, additions in the order written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

EXACT = {"contract"}  # no addition in another order than written; "fast" would also drop the meaning of NaN


def compiled(*, cache: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile at first call; with ``cache``, keep it on disk if some folder can be written.

    Division follows NumPy's error model: Python's check for zero would keep loops from being vectorised.
    """
    options |= {"nogil": True, "error_model": "numpy"}

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return njit(cache=cache, **options)(function)
        except RuntimeError:  # numba's "no locator available": a read-only installation without a home folder
            return njit(**options)(function)

    return decorate


inlined = compiled(fastmath=EXACT, forceinline=True)
