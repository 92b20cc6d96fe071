"""The import rule: modules import from the left of this line, never from the right; heavy packages in one place."""

import ast
import sys
from pathlib import Path

import pytest

import fastgd
import fastgd.io

HOME = Path(fastgd.__file__).parent
STAIR = """
    _version _typing exceptions | _utils _kernels | losses penalties | _optim | _data io | _linear
    | linear_model surfaces | plots | _cli | __main__ cli | files libsvm chunks
"""
FLOOR = {name: k for k, step in enumerate(STAIR.split("|")) for name in step.split()}
MODULES = {".".join(path.relative_to(HOME).with_suffix("").parts): path for path in HOME.rglob("*.py")}
MODULES = {name.removesuffix(".__init__"): path for name, path in MODULES.items() if name != "__init__"}
OPTIONAL = {
    "narwhals": ["_data.columns"],
    "pyarrow": ["_data.readers"],
    "dask": ["_data.dask_graph"],
    "distributed": ["_data.dask_graph"],
    "scipy": ["linear_model", "_utils.distributions"],
    "sklearn": ["linear_model", "_data.readers.libsvm", "_cli.flights"],
    "matplotlib": ["plots"],
    "tqdm": ["_utils.progress"],
    "pandas": ["_cli.flights"],
    "numba": ["_kernels", "losses"],
    "llvmlite": ["_kernels.simd"],
}
HEAVY = ["dask", "sklearn", "pandas", "pyarrow", "narwhals", "matplotlib", "scipy", "tqdm"]


def imported(path):
    """Return the modules that a file imports when it runs, those inside functions included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    names = []
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}, line {node.lineno}: a relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def of_fastgd(path):
    """Return the modules that a file imports: of ``fastgd._data.open.open_dataset`` the part ``_data.open``."""
    for name in imported(path):
        parts = name.split(".")[1:]
        if name.startswith("fastgd.") and parts[0] in FLOOR:
            known = [".".join(parts[:k]) for k in range(len(parts), 0, -1)]
            yield next(each for each in known if each in MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_no_import_runs_upward(module):
    top = module.split(".")[0]
    assert top in FLOOR
    for other in of_fastgd(MODULES[module]):
        inside = other.split(".")[0] == top
        assert inside or FLOOR[other.split(".")[0]] < FLOOR[top], f"{module} imports {other}"


def floors(arrows):
    """Return the floor of each module: one above the highest that it imports; a circle fails."""
    found = {}
    while len(found) < len(arrows):
        ready = [name for name in arrows if name not in found and all(other in found for other in arrows[name])]
        assert ready, f"a circle among {sorted(arrows.keys() - found.keys())}"
        found |= {name: 1 + max((found[other] for other in arrows[name]), default=0) for name in ready}
    return found


def test_modules_form_a_stair():
    arrows = {name: set(of_fastgd(path)) - {name} for name, path in MODULES.items()}
    floors(arrows)
    folders = {name.split(".")[0] for name in arrows}
    between = {
        folder: {o.split(".")[0] for n, others in arrows.items() if n.split(".")[0] == folder for o in others}
        - {folder}
        for folder in folders
    }
    assert max(floors(between).values()) <= 10
    for folder in folders:
        inside = {name: others for name, others in arrows.items() if name.split(".")[0] == folder}
        inside = {name: {other for other in others if other in inside} for name, others in inside.items()}
        assert max(floors(inside).values()) <= 8, folder


def test_the_compiled_core_knows_only_types():
    for module, path in MODULES.items():
        if module.startswith("_kernels."):
            assert all(other.split(".")[0] in ("_kernels", "_typing") for other in of_fastgd(path)), module


def test_minimisation_knows_no_samples():
    for module, path in MODULES.items():
        if module.split(".")[0] == "_optim":
            below = {other.split(".")[0] for other in of_fastgd(path)}
            assert not below & {"_data", "_kernels", "losses"}, module


@pytest.mark.parametrize("package", OPTIONAL)
def test_a_package_is_imported_in_one_place(package):
    for module, path in MODULES.items():
        if any(name.split(".")[0] == package for name in imported(path)):
            assert any(module == place or module.startswith(f"{place}.") for place in OPTIONAL[package]), module


def test_nothing_else_is_needed():
    third = {name.split(".")[0] for path in MODULES.values() for name in imported(path)} - set(sys.stdlib_module_names)
    assert third <= {"fastgd", "numpy", "joblib", "cloudpickle", *OPTIONAL}


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import fastgd", ["numpy", "numba", *HEAVY]),
        ("import fastgd; fastgd.load; fastgd.FitResult", ["numba", *HEAVY]),
        (
            "import fastgd, numpy; assert fastgd.minimize(lambda x: (x @ x, 2 * x), numpy.ones(3)).converged",
            ["numba", "fastgd._data", "fastgd._kernels", "fastgd.losses", *HEAVY],
        ),
        ("import fastgd; fastgd.fit", sorted({*HEAVY} - {"scipy"})),
    ],
)
def test_importing_loads_nothing_heavy(code, absent, run_python):
    report = f"{code}; import sys; print([name for name in {absent} if name in sys.modules])"
    assert run_python(report) == "[]"


@pytest.mark.parametrize(
    ("old", "names"), [("files", ["Files"]), ("libsvm", ["LibSVM"]), ("chunks", ["Chunk", "Chunks"])]
)
def test_old_modules_warn_and_give_what_is_in_io(old, names, monkeypatch):
    monkeypatch.delitem(sys.modules, f"fastgd.{old}", raising=False)
    monkeypatch.delattr(fastgd, old, raising=False)
    with pytest.deprecated_call(match=rf"fastgd\.{old} ends with 0\.3: .* from fastgd\.io") as warned:
        exec(f"from fastgd.{old} import {', '.join(names)}", found := {})
    assert all(found[name] is getattr(fastgd.io, name) for name in names)
    assert [each.filename for each in warned] == ["<string>"]  # the import itself, and so it is shown in scripts


def test_commands_run_from_python(run_python):
    """The exit code of a command, and not the end of Python."""
    run = "from fastgd import cli; print(cli.main(['guide', 'sparse']), cli.main(['guide', 'nothing']))"
    assert run_python(run).endswith("\n0 1")


def test_public_names():
    assert len(set(fastgd.__all__)) == len(fastgd.__all__)
    assert dir(fastgd) == sorted(fastgd.__all__)
    for name in fastgd.__all__:
        value = getattr(fastgd, name)
        assert getattr(value, "__doc__", None), name
    assert {"fit", "minimize", "load", "LinearRegression", "Ridge", "LogisticRegression"} <= set(fastgd.__all__)
    with pytest.raises(AttributeError, match="no attribute 'boost'"):
        fastgd.boost  # noqa: B018
