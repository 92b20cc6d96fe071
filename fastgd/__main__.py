"""``python -m fastgd`` and the command ``fastgd``: the command line."""

import sys


def main() -> int:
    """Run a command; give the exit code. Ctrl-C is no traceback, also while NumPy and the rest are being imported."""
    try:
        from fastgd._cli.main import main as run

        return run()
    except KeyboardInterrupt:
        print("fastgd: interrupted: nothing was saved", file=sys.stderr)  # noqa: T201
        return 130


if __name__ == "__main__":
    sys.exit(main())
