"""The old place of `fastgd.io.Files`, which is here until 0.3."""

import warnings

from fastgd.io import Files as Files

warnings.warn("fastgd.files ends with 0.3: import Files from fastgd.io", DeprecationWarning, stacklevel=2)
