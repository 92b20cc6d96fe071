"""The old place of `fastgd.io.LibSVM`, which is here until 0.3."""

import warnings

from fastgd.io import LibSVM as LibSVM

warnings.warn("fastgd.libsvm ends with 0.3: import LibSVM from fastgd.io", DeprecationWarning, stacklevel=2)
