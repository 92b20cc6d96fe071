"""Every internal of fastgd that a test needs, and the constants that tests patch: a move touches this file alone."""

# ruff: noqa: F401

from importlib import import_module

from fastgd._cli import flights as flights_demo
from fastgd._cli import main as cli_main
from fastgd._cli.doctor import _cache as cache_of_kernels
from fastgd._cli.main import main, make_parser
from fastgd._cli.output import coefficient_rows, describe, print_error
from fastgd._data import spill
from fastgd._data.chunks import prefetch
from fastgd._data.columns import Pieces
from fastgd._data.dask_graph import FAN_IN, Partitions
from fastgd._data.dataset import InMemory, OpenedDataset, stratified_rows
from fastgd._data.design import Array, Subset, as_design, check_finite, tile_dtype, tile_ranges
from fastgd._data.readers import arrow
from fastgd._data.schema import Feature, coef_names
from fastgd._data.sparse import Columns, Rows, as_sparse
from fastgd._data.spill import folder
from fastgd._data.survey import Sampler
from fastgd._data.tables import as_features
from fastgd._kernels import core, double_double, jit, simd, threads
from fastgd._kernels import losses as kernel_losses
from fastgd._kernels import points as points_kernels
from fastgd._kernels import sparse as sparse_kernels
from fastgd._kernels import sums as passes
from fastgd._kernels.jit import compiled
from fastgd._kernels.layout import Members, Tile
from fastgd._kernels.sums import GramPoint
from fastgd._kernels.threads import allowed_threads, max_threads
from fastgd._linear import checkpoint as checkpoint_module
from fastgd._linear import collinearity, diagnostics, separation
from fastgd._linear import fit as fit_module
from fastgd._linear.block_hessian import InverseBlocks, choose_blocks
from fastgd._linear.hessian import InverseHessian, hessian_double_double
from fastgd._linear.hessian import hessian as hessian_of
from fastgd._linear.least_squares import normal_equations, solve_exactly
from fastgd._linear.minibatch import RUNS, ChunkPools, Minibatches, ShuffledRuns, shuffled
from fastgd._linear.objective import Coefficients, LinearObjective, ModelSpec
from fastgd._linear.plan import choose_solver
from fastgd._linear.problem import LinearProblem
from fastgd._linear.serialization import checksum
from fastgd._linear.statistics import first_pass, gram, gram_double_double, gram_of_members, moments
from fastgd._optim.annealing import Annealed
from fastgd._optim.base import EvaluatedPoint, Evaluation, LoopState, Signal, Solver, Step, WithinEpoch
from fastgd._optim.gradient_descent import STABLE, GradientDescent, Nesterov, estimate_lipschitz
from fastgd._optim.lbfgs import LBFGS, Preconditioner
from fastgd._optim.loop import run_loop
from fastgd._optim.messages import without_warning
from fastgd._optim.minimize import minimize
from fastgd._optim.registry import MINIMIZERS, REGISTRY, SOLVERS, check_solver, make_fixed_rate
from fastgd._optim.result import History, Outcome, Status
from fastgd._optim.sgd import SGD, AveragedSGD, AverageState
from fastgd._optim.stopping import Stopping, largest
from fastgd._utils import double_double as double_double_arithmetic
from fastgd._utils.atomic_io import replacing
from fastgd._utils.interrupts import Interrupted, InterruptHandler
from fastgd._utils.linalg import Inverse, apply_root, inverse_root, solve_double_double
from fastgd._utils.session import Callback, Session
from fastgd._utils.validation import check_vector, stretches
from fastgd.surfaces import SURFACES

PATCHED = {
    "allowed_threads": "fastgd._kernels.threads:allowed_threads",
    "block_members": "fastgd._linear.block_hessian:MEMBERS",
    "block_bytes": "fastgd._data.design:BLOCK_BYTES",
    "cgroup_cores": "fastgd._kernels.threads:cgroup_cores",
    "checkpoint_clock": "fastgd._linear.checkpoint:time",
    "checkpoint_interval": "fastgd._linear.checkpoint:INTERVAL",
    "checkpoint_share": "fastgd._linear.checkpoint:SHARE",
    "chunk_rows": "fastgd._data.readers.arrow:CHUNK_ROWS",
    "dense_least_norm": "fastgd.linear_model._min_norm:_DENSE",
    "estimator_fit": "fastgd.linear_model._base:fit",
    "explain_separation": "fastgd._linear.fit:explain_separation",
    "find_redundant": "fastgd._linear.fit:find_redundant",
    "fit": "fastgd._linear.fit:fit",
    "gram_features": "fastgd._linear.statistics:PASS_FEATURES",
    "largest_covariance": "fastgd._linear.inference.spec:LARGEST",
    "launch": "fastgd._kernels.sums:_launch",
    "max_threads": "fastgd._kernels.threads:max_threads",
    "omp_num_threads": "fastgd._kernels.threads:_OMP_NUM_THREADS",
    "pass_outputs": "fastgd._linear.statistics:PASS_OUTPUTS fastgd._linear.objective:PASS_OUTPUTS",
    "report_page": "fastgd._cli.report:page",
    "serial_gram": "fastgd._kernels.sums:SERIAL_GRAM",
    "small_pass": "fastgd._kernels.sums:_SMALL",
    "spare_disk": "fastgd._data.spill:SPARE",
    "stretch_rows": "fastgd._utils.validation:STRETCH_ROWS",
}


def patch(monkeypatch, name, value):
    """Set a constant, function or module that `PATCHED` names, until the test ends."""
    for place in PATCHED[name].split():
        module, _, attribute = place.partition(":")
        monkeypatch.setattr(import_module(module), attribute, value)


def apart(*arguments, **options):
    """Call what moves labels apart; matplotlib is loaded by then alone."""
    return import_module("fastgd.plots._path").apart(*arguments, **options)
