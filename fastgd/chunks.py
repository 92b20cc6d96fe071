"""The old place of `fastgd.io.Chunks` and `fastgd.io.Chunk`, which are here until 0.3."""

import warnings

from fastgd.io import Chunk as Chunk
from fastgd.io import Chunks as Chunks

warnings.warn("fastgd.chunks ends with 0.3: import Chunks from fastgd.io", DeprecationWarning, stacklevel=2)
