"""``python -m fastgd`` is the command line."""

import sys

from fastgd.cli import main

sys.exit(main())
