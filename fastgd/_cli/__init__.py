"""The command line ``fastgd``: a module for each command (extra: cli)."""
