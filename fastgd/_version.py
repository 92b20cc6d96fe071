"""The version of fastgd."""

__version__ = "0.2.0"
