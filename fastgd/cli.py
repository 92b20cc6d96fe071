"""Run a command from Python: ``cli.main(["fit", "data.csv", "--target", "y"])`` returns its exit code (extra: cli)."""

from fastgd._cli.main import main as main

__all__ = ["main"]
