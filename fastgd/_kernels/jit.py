"""How functions are compiled: at first call, kept on disk where that can be, additions in the order written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numba import config, njit
from numba.core import caching

EXACT = {"contract"}  # no addition in another order than written; "fast" would also drop the meaning of NaN


def compiled(*, cache: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile at first call; with ``cache``, keep it on disk if some folder can be written.

    Division follows NumPy's error model: Python's check for zero would keep loops from being vectorised.
    """
    options |= {"nogil": True, "error_model": "numpy"}

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(**options)(function)
        if cache:
            dispatcher._cache = _Folders(function)
        return dispatcher

    return decorate


inlined = compiled(fastmath=EXACT, forceinline=True)


class _Provided(caching.UserProvidedCacheLocator):
    """NUMBA_CACHE_DIR."""

    @classmethod
    def from_function(cls, function: Any, file: str) -> Any:
        return cls(function, file)


class _Beside(caching.InTreeCacheLocator):
    """``__pycache__`` beside the source."""

    @classmethod
    def from_function(cls, function: Any, file: str) -> Any:
        return cls(function, file)


class _OfUser(caching.UserWideCacheLocator):
    """The user's cache folder; where nobody knows the user there is none, and numba would make one named ``~``."""

    @classmethod
    def from_function(cls, function: Any, file: str) -> Any:
        locator = cls(function, file)
        return locator if os.path.isabs(locator.get_cache_path()) else None  # type: ignore[no-untyped-call]


def _folder(function: Any, locator: type) -> Any:
    """Return numba's cache in one folder."""
    place = type("Place", (caching.CompileResultCacheImpl,), {"_locator_classes": [locator]})
    return type("Folder", (_Apart,), {"_impl_class": place})(function)


class _Apart(caching.FunctionCache):
    """The cache of numba, but with an index for each signature.

    Of one index for all, processes that compile at once would lose each other's entries, and two might write different
    code to a file of the same number, which a third would call.
    """

    def _turn_to(self, sig: Any) -> None:
        name = hashlib.sha256(repr(sig).encode()).hexdigest()[:16]
        stamp = self._impl.locator.get_source_stamp()
        base = f"{self._impl.filename_base}.{name}"
        self._cache_file = caching.IndexDataCacheFile(self._cache_path, base, stamp)  # type: ignore[no-untyped-call]

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load a compiled form, None if there is none."""
        self._turn_to(sig)
        return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save a compiled form."""
        self._turn_to(sig)
        super().save_overload(sig, data)  # type: ignore[no-untyped-call]


class _Folders(caching._Cache):
    """A function's compiled forms on disk: loaded from any folder that has them, saved to the first that can be.

    numba's own cache looks for one folder that can be written: what an image was built with would be compiled again
    where the image is read-only. And it raises an error where a file is damaged or the disk is full. A cache is there
    to save time: whatever is wrong with it, functions are compiled and the next process tries again.
    """

    def __init__(self, function: Any) -> None:
        self.folders = []
        for locator in (_Provided,) if config.CACHE_DIR else (_Beside, _OfUser, caching.ZipCacheLocator):  # type: ignore[attr-defined]
            with suppress(RuntimeError, OSError):  # no such folder, or no source in a file
                self.folders.append(_folder(function, locator))

    @property
    def cache_path(self) -> str | None:
        """The folder that can be written; if there is none, one that can be read; if there is none, None."""
        for folder in self.folders:
            with suppress(OSError):
                folder._impl.locator.ensure_cache_path()
                return str(folder.cache_path)
        paths = [str(folder.cache_path) for folder in self.folders]
        return next((path for path in paths if os.path.isdir(path)), None)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load a compiled form, None if there is none."""
        for folder in self.folders:
            with suppress(Exception):  # a damaged file can raise anything
                found = folder.load_overload(sig, target_context)
                if found is not None:
                    return found
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save a compiled form, if that is possible."""
        for folder in self.folders:
            with suppress(OSError):
                try:
                    folder.save_overload(sig, data)
                except OSError:
                    raise
                except Exception:  # the index is damaged
                    folder.flush()
                    folder.save_overload(sig, data)
                return

    def flush(self) -> None:
        """Forget all compiled forms."""
        for folder in self.folders:
            folder.flush()

    def enable(self) -> None:
        """Do nothing: it is."""

    def disable(self) -> None:
        """Stop loading and saving."""
        self.folders = []
