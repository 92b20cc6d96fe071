"""The entry point of ``python -m fastgd`` and of the command ``fastgd``."""

import sys


def main() -> int:
    """Run the command line and return its exit code; Ctrl-C prints one line, also during imports."""
    try:
        from fastgd._cli.main import main as run

        return run()
    except KeyboardInterrupt:
        print("fastgd: interrupted: nothing was saved", file=sys.stderr)  # noqa: T201
        return 130


if __name__ == "__main__":
    sys.exit(main())
