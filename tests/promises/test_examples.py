"""Every example of a docstring runs and gives what it says."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import fastgd

HOME = Path(fastgd.__file__).parent
MODULES = [
    ".".join(("fastgd", *path.relative_to(HOME).with_suffix("").parts)).removesuffix(".__init__")
    for path in sorted(HOME.rglob("*.py"))
    if ">>>" in path.read_text(encoding="utf-8")
]
PUBLIC = [
    f"fastgd.{module}{name}"
    for module, names in {
        "": [
            "fit",
            "minimize",
            "load",
            "warmup",
            "stationary",
            "learning_rates",
            "Ridge",
            "Lasso",
            "ElasticNet",
            "LinearRegression",
            "LogisticRegression",
        ],
        "io.": ["Files", "LibSVM"],
        "plots.": ["history", "learning_rates", "fit", "path", "minima"],
        "surfaces.": ["regression"],
    }.items()
    for name in names
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_of_docstrings_hold(module):
    found = doctest.testmod(import_module(module))
    assert found.attempted and not found.failed


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_public_has_an_example(name):
    module, _, attribute = name.rpartition(".")
    assert ">>> " in getattr(import_module(module), attribute).__doc__
