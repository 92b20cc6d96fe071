"""What reads samples from elsewhere: files, libsvm's format, and the base class of chunks.

`fastgd.fit` opens paths by itself; these classes are for options that it has no argument for, and for readers of your
own: a subclass of `Chunks` that yields `Chunk` objects whenever it is iterated.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastgd._data.chunks import Chunk as Chunk
    from fastgd._data.chunks import Chunks as Chunks
    from fastgd._data.readers.arrow import Files as Files
    from fastgd._data.readers.libsvm import LibSVM as LibSVM

_MODULE_OF = {
    "Chunk": "_data.chunks",
    "Chunks": "_data.chunks",
    "Files": "_data.readers.arrow",
    "LibSVM": "_data.readers.libsvm",
}
__all__ = [*_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'fastgd.io' has no attribute {name!r}")
    return getattr(import_module(f"fastgd.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
