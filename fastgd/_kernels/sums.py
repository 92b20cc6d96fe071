"""Passes over a tile: run the compiled loops with all threads or one, and return their sums, one row per block.

Nothing here is compiled, so edits need no care of numba's cache.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from fastgd._kernels import core as kernels
from fastgd._kernels import double_double
from fastgd._kernels import points as points_kernels
from fastgd._kernels.core import GRAM_ROWS, SPARSE_ROWS, Center, Points, Samples
from fastgd._kernels.layout import Members, SparseColumns, SparseRows, Tile
from fastgd._kernels.simd import WIDTH
from fastgd._kernels.threads import allowed_threads, parallel_loops, run_parts, share
from fastgd._typing import Floats

FIRST_CACHE = 1 << 12
"""Bytes of X in a sub-block, beside coefficients and gradient."""
SECOND_CACHE = 1 << 16
"""The same where rows have to be copied to be in C order."""
CHANGE_PARTS = 8
"""Rows of sums over a batch: enough for threads to share."""
SERIAL_GRAM = 1 << 24
"""Products below which starting threads costs more than they save."""
MODEL_BYTES = 1 << 17
"""Bytes of X in a sub-block of a pass at many points, of narrow rows."""
FEW_ROWS = 1 << 14
"""Bytes of a row from which on gradients take more memory traffic than rows do."""
_BUILT_IN = "fastgd.losses"
"""The module whose losses the checksum in `core` covers."""
_SMALL = 1 << 17
"""Elements of X below which waking the threads costs more than they save."""


def threading_layer() -> str:
    """Return the name of numba's threading layer, known after the first parallel pass."""
    return str(numba.threading_layer())  # type: ignore[attr-defined]


def cache_folder() -> str | None:
    """Return the folder in which compiled kernels are kept, None if they are compiled in memory alone."""
    folder = kernels.pass_parallel.stats.cache_path
    return None if folder is None else str(folder)


def _launch(parallel: Any, serial: Any, elements: int, n_threads: int | None, arguments: tuple[Any, ...]) -> None:
    """Run the parallel pass, or its serial twin where the parallel one cannot run or would not pay."""
    with share(1 if elements < _SMALL else n_threads) as count:
        if count == 1:
            serial(*arguments)
            return
        with parallel_loops(count) as possible:
            (parallel if possible else serial)(*arguments)


def _for(loss: Any, kernel: Any) -> Any:
    """Return the kernel to call for a loss: a user's own loss gets one that is not cached on disk.

    A cache cannot know when the code of such a loss is edited.
    """
    return kernel if type(loss).__module__ == _BUILT_IN else _uncached(kernel)


@functools.cache
def _uncached(kernel: Any) -> Any:
    options = {name: value for name, value in kernel.targetoptions.items() if name != "nopython"}
    return njit(**options)(kernel.py_func)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only view: numba compiles a kernel for each kind of writability, and kernels only read."""
    view = array.view()
    view.flags.writeable = False
    return view


def loss_sums(
    tile: Tile, coef: Floats, intercept: ArrayLike, loss: Any, block_rows: int, n_threads: int | None = None
) -> Floats:
    """Add up loss and gradient over a tile in one pass.

    Parameters
    ----------
    tile : Tile
        n rows of d features, with their targets and weights.
    coef : ndarray of shape (outputs, d) or (d,), float64
    intercept : float or (outputs,)
    loss : Loss
    block_rows : int
        Rows per block; one row of the result each.
    n_threads : int, optional
        At most `max_threads()`; None takes what is allowed and free.

    Returns
    -------
    ndarray of shape (blocks, 1 + outputs + outputs d), float64
        Per block ``Σ s L``, each output's ``Σ s L'``, and each output's d sums ``Σ s L' x``.
    """
    starts = np.arange(0, tile.y.shape[-1], block_rows)
    return _pass(tile, [(coef, intercept)], loss, None, starts, block_rows, len(starts), n_threads)


def first_sums(
    tile: Tile,
    pivot: Floats,
    y_pivot: ArrayLike,
    coef: Floats,
    intercept: ArrayLike,
    loss: Any,
    block_rows: int,
    n_threads: int | None = None,
) -> Floats:
    """Add up loss, gradient, weights and the first and second moments of y and every column, in one pass.

    Returns
    -------
    ndarray of shape (blocks, 1 + outputs + outputs d + 1 + 2 targets + 2 d), float64
        Per block what `loss_sums` gives; then, about the pivot p, ``Σs``, each target's ``Σs(y−p), Σs(y−p)²``, d sums
        ``Σs(x−p)`` and d sums ``Σs(x−p)²``. For sparse columns p is 0.
    """
    starts = np.arange(0, tile.y.shape[-1], block_rows)
    center = pivot, y_pivot
    return _pass(tile, [(coef, intercept)], loss, center, starts, block_rows, len(starts), n_threads)


def run_sums(
    tile: Tile,
    coef: Floats,
    intercept: ArrayLike,
    loss: Any,
    starts: NDArray[np.intp],
    run_rows: int,
    n_threads: int | None = None,
) -> Floats:
    """Add up loss and gradient as `loss_sums` does, over short runs of a tile's rows as `change_sums` takes them."""
    parts = min(CHANGE_PARTS, len(starts))
    return _pass(tile, [(coef, intercept)], loss, None, starts, run_rows, parts, n_threads)


def change_sums(
    tile: Tile,
    at: tuple[Floats, ArrayLike],
    anchor: tuple[Floats, ArrayLike],
    loss: Any,
    starts: NDArray[np.intp],
    run_rows: int,
    n_threads: int | None = None,
) -> Floats:
    """Add up how loss and gradient differ from those at an anchor, over short runs of a tile's rows, in one pass.

    Parameters
    ----------
    tile, loss, n_threads
        As for `loss_sums`.
    at, anchor : tuple
        Coefficients and intercepts, as for `loss_sums`, of the point and of the anchor.
    starts : ndarray of shape (runs,)
        The first row of each run.
    run_rows : int
        Rows of each run; one at the tile's end may be shorter.

    Returns
    -------
    ndarray of shape (parts, 1 + outputs + outputs d), float64
        The differences of what `loss_sums` gives for the runs, of which each part has as many.
    """
    return _pass(tile, [at, anchor], loss, None, starts, run_rows, min(CHANGE_PARTS, len(starts)), n_threads)


def _pass(
    tile: Tile,
    points: list[tuple[Floats, ArrayLike]],
    loss: Any,
    center: tuple[Floats, ArrayLike] | None,
    starts: NDArray[np.intp],
    run_rows: int,
    parts: int,
    n_threads: int | None,
) -> Floats:
    """Run the kernel of a loss, and return its sums without the padding of vectors."""
    d = tile.X.shape[1]
    at = _points(d, points)
    (_, outputs, size), columns = at.dense.shape, at.sparse.shape[1]
    about = Center(np.empty(0), np.empty(0))
    if center is not None:
        about = Center(np.append(center[0], np.zeros(size - d)), np.atleast_1d(np.asarray(center[1], np.float64)))
    places = _Places(outputs, d, size, columns, len(about.y))
    partial = np.zeros((parts, places.stop if center else places.moments))
    scratch = np.empty((parts, *_scratch_shape(tile, len(points), outputs, run_rows)))
    samples, entries = _as_samples(tile)
    arguments = (samples, entries, at, about, loss, starts, run_rows, scratch, partial)
    elements = min(len(starts) * run_rows, tile.X.shape[0]) * (d + columns)
    _launch(_for(loss, kernels.pass_parallel), _for(loss, kernels.pass_serial), elements, n_threads, arguments)
    return places.without_padding(partial)


class _Places(NamedTuple):
    """Where in a row of the kernel's sums each part begins."""

    outputs: int
    d: int
    size: int
    columns: int
    targets: int

    @property
    def sparse(self) -> int:
        return 1 + self.outputs + self.outputs * self.size

    @property
    def moments(self) -> int:
        return self.sparse + self.outputs * self.columns

    @property
    def firsts(self) -> int:
        return self.moments + 1 + 2 * self.targets

    @property
    def sparse_firsts(self) -> int:
        return self.firsts + 2 * self.size

    @property
    def stop(self) -> int:
        """The length of a row, with work space for a row of sparse columns at its end."""
        return self.sparse_firsts + 3 * self.columns

    def without_padding(self, sums: Floats) -> Floats:
        """Return the sums without padding, those of an output's dense and sparse columns side by side."""
        moments = sums.shape[1] > self.moments
        if self.size == self.d and not moments and (not self.columns or (not self.d and self.outputs == 1)):
            return sums
        rows, outputs, d = len(sums), self.outputs, self.d
        first = 1 + outputs + outputs * (d + self.columns)
        width = first + (1 + 2 * self.targets + 2 * (d + self.columns) if moments else 0)
        compact = np.empty((rows, width))
        compact[:, : 1 + outputs] = sums[:, : 1 + outputs]
        gradient = compact[:, 1 + outputs : first].reshape(rows, outputs, -1)
        gradient[:, :, :d] = sums[:, 1 + outputs : self.sparse].reshape(rows, outputs, self.size)[:, :, :d]
        gradient[:, :, d:] = sums[:, self.sparse : self.moments].reshape(rows, self.columns, outputs).transpose(0, 2, 1)
        if moments:
            last = first + 1 + 2 * self.targets
            compact[:, first:last] = sums[:, self.moments : self.firsts]
            both = compact[:, last:].reshape(rows, 2, -1)
            both[:, :, :d] = sums[:, self.firsts : self.sparse_firsts].reshape(rows, 2, -1)[:, :, :d]
            of_sparse = sums[:, self.sparse_firsts : self.stop - self.columns].reshape(rows, self.columns, 2)
            both[:, :, d:] = of_sparse.transpose(0, 2, 1)
        return compact


def _points(d: int, points: list[tuple[Floats, ArrayLike]]) -> Points:
    """Return coefficients, of which the first d are those of dense columns, as kernels take them."""
    coefs = np.stack([np.atleast_2d(coef) for coef, _ in points])
    intercepts = np.array([np.atleast_1d(np.asarray(intercept)) for _, intercept in points], np.float64)
    dense = np.zeros((*coefs.shape[:2], _padded_size(d)))
    dense[:, :, :d] = coefs[:, :, :d]
    return Points(dense, np.ascontiguousarray(coefs[:, :, d:].transpose(0, 2, 1)), intercepts)


def _as_samples(tile: Tile) -> tuple[Samples, SparseRows | SparseColumns | None]:
    """Return a tile in the two pieces that kernels take: samples, and sparse entries."""
    y = tile.y.reshape(-1, tile.y.shape[-1])
    samples = Samples(*map(_frozen, (tile.X, y, tile.weight, tile.rows)))
    if tile.entries is None:
        return samples, None
    entries = tile.entries._replace(begins=_frozen(tile.entries.begins), values=_frozen(tile.entries.values))
    if isinstance(entries, SparseRows):
        return samples, entries._replace(columns=_frozen(entries.columns))
    return samples, entries._replace(rows=_frozen(entries.rows))


def _padded_size(d: int) -> int:
    """Return the length of whole vectors for d dense features: two vectors at least if there are any features."""
    return max(2 * WIDTH, -(-d // WIDTH) * WIDTH) if d else 0


def _scratch_shape(tile: Tile, points: int, outputs: int, run_rows: int) -> tuple[int, int]:
    """Return the shape of scratch space: what the first cache holds, or if rows have to be copied, the second.

    A row has a value and its slopes at every point, and eight partial sums of a margin; a copied one takes d places
    more. Of sparse columns, slopes of whole blocks are kept.
    """
    d = tile.X.shape[1]
    if isinstance(tile.entries, SparseColumns):
        return 1, outputs * run_rows + (outputs + 3) * SPARSE_ROWS
    places, row_bytes, most = points * (1 + outputs) + WIDTH, d * tile.X.itemsize, FIRST_CACHE
    if tile.rows.size or not tile.X.flags.c_contiguous:
        places, row_bytes, most = places + d, d * 8, SECOND_CACHE
    rows = min(run_rows, most // max(1, row_bytes), SPARSE_ROWS)
    return places, max(WIDTH, rows // WIDTH * WIDTH)


def gram_shape(d: int, targets: int = 1, members: Members | None = None) -> tuple[int, int]:
    """Return the shape that `add_gram` takes for d dense features, a 1, targets, and sparse columns."""
    width = -(-(d + 1 + targets) // WIDTH) * WIDTH
    return width + (members.rows if members else 0), width + WIDTH + (members.size if members else 0)


class GramPoint(NamedTuple):
    """Where curvatures are taken, and about what products are.

    Attributes
    ----------
    coef, intercept : ndarray of shape (outputs, d), (outputs,)
        The coefficients at which curvatures are taken.
    pair : tuple of int
        The outputs that curvatures are for.
    step : float
        Of losses that don't say their curvature it is a difference of slopes at linear predictors ``step`` above and
        below. Or `ONES`, `SLOPES` or `OPPOSITE_SLOPES`, for products that are weighed by something else.
    center, y_center : ndarray of shape (d,), (targets,)
        What is subtracted from features and targets.
    """

    coef: Floats
    intercept: Floats
    pair: tuple[int, int]
    step: float
    center: Floats
    y_center: Floats


def add_gram(
    tile: Tile,
    at: GramPoint,
    loss: Any,
    members: Members,
    grams: Floats,
    squares: Floats,
    first_block: int,
    block_rows: int,
    n_threads: int | None = None,
) -> None:
    """Add ``Σ s |L''| z zᵀ`` over a tile to ``grams``, (parts, *gram_shape(d, targets, members)): blocks to each.

    z is ``(x − center, 1, y − y_center)`` of the dense features. Of their products the upper triangle is added; in the
    rows after these, the products of sparse columns that have slots with z, and after 8 columns with members. All other
    numbers there mean nothing. ``Σ s |L''| x`` and ``Σ s |L''| x²`` of sparse columns that are no members are added to
    ``squares``, (parts, columns, 2). A block goes by its number among all of the data, of which ``first_block`` are
    before this tile: what is added up together does not depend on tiles.

    To ``grams`` of shape (parts, 2, *gram_shape) numbers are added as double-doubles: first their higher parts, then
    the lower ones. All sparse columns have to be members there.

    NumPy's product is no faster, and BLAS threads stay busy after it and slow down the passes that follow.
    """
    d, targets = tile.X.shape[1], at.y_center
    points = _points(d, [(at.coef, at.intercept)])
    about = Center(np.append(at.center[:d], np.zeros(points.dense.shape[2] - d)), targets)
    width = gram_shape(d, len(targets))[0]
    scratch = np.zeros((len(grams), (grams.ndim - 2) * (width + 1) + 1 + len(at.coef) + WIDTH + d, GRAM_ROWS))
    samples, entries = _as_samples(tile)
    place: tuple[Any, ...] = samples, entries, points, about, loss, at.pair, at.step, width, first_block, block_rows
    place = (*place, scratch, grams)
    if grams.ndim == 3:
        kernel, place = kernels.gram_part, (*place, members.slots, members.size, squares)
    else:
        kernel = double_double.gram_part
    add_part = functools.partial(_for(loss, kernel), *place)
    products = tile.y.shape[-1] * grams.shape[-1] ** 2 + (0 if tile.entries is None else 8 * tile.entries.values.size)
    with share(1 if products < SERIAL_GRAM else n_threads) as count:
        # Python's threads: a parallel loop would take as long to compile again, and these calls are few and long.
        run_parts(add_part, len(grams), count)


class Models(NamedTuple):
    """Coefficients of several models in the layout that `add_models` takes.

    Attributes
    ----------
    coef, sparse_coef : ndarray of shape (size, width), (columns, width)
        Of dense and of sparse columns; a column for each output's points, those of an output side by side.
    intercepts : ndarray of shape (width,)
    points, outputs, dense : int
    """

    coef: Floats
    sparse_coef: Floats
    intercepts: Floats
    points: int
    outputs: int
    dense: int

    @classmethod
    def of(cls, coefs: Floats, intercepts: Floats, dense: int) -> Models:
        """Return the models of coefficients (points, outputs, d), of which the first are of dense columns."""
        points, outputs, d = coefs.shape
        count = points * outputs
        width, size = (1, _padded_size(dense)) if count == 1 else (-(-count // WIDTH) * WIDTH, dense)
        whole = np.zeros((size + d - dense, width))
        columns = coefs.transpose(2, 1, 0).reshape(d, count)
        whole[:dense, :count], whole[size:, :count] = columns[:dense], columns[dense:]
        constants = np.zeros(width)
        constants[:count] = intercepts.T.ravel()
        return cls(whole[:size], whole[size:], constants, points, outputs, dense)

    @property
    def rows(self) -> int:
        """The rows of sums: values, slopes, dual excesses, and gradients of all columns."""
        return 3 + len(self.coef) + len(self.sparse_coef)

    def split(self, sums: Floats) -> tuple[Floats, Floats]:
        """Return what `loss_sums` gives for each point, (points, 1 + outputs + outputs d), and dual excesses (points,).

        ``sums`` has the shape (rows, width).
        """
        count, d = self.points * self.outputs, self.dense + len(self.sparse_coef)
        each = sums[:, :count].reshape(-1, self.outputs, self.points).transpose(2, 0, 1)
        gradients = np.concatenate((each[:, 3 : 3 + self.dense], each[:, 3 + len(self.coef) :]), axis=1)
        flat = gradients.transpose(0, 2, 1).reshape(self.points, self.outputs * d)
        values = each[:, 0].sum(axis=1, keepdims=True)
        return np.concatenate((values, each[:, 1], flat), axis=1), each[:, 2].sum(axis=1)


def add_models(
    tile: Tile, models: Models, loss: Any, sums: Floats, first_block: int, block_rows: int, n_threads: int | None = None
) -> None:
    """Add losses and gradients of models over a tile to ``sums``, (parts, models.rows, width): blocks to each.

    A block goes by its number among all of the data, of which ``first_block`` are before this tile: what is added up
    together does not depend on tiles. Sparse entries have to be stored by rows.
    """
    d, width = tile.X.shape[1], models.intercepts.size
    row = max(1, d * tile.X.itemsize)
    most = GRAM_ROWS if row > FEW_ROWS else max(WIDTH, min(2 * GRAM_ROWS, MODEL_BYTES // row // WIDTH * WIDTH))
    copied = 0 if tile.X.flags.c_contiguous and not tile.rows.size else d
    scratch = np.empty((len(sums), 3 * width + WIDTH + copied, most))
    samples, entries = _as_samples(tile)
    place = samples, entries, *models[:3], loss, models.points, models.outputs, first_block, block_rows, scratch, sums
    add_part = functools.partial(_for(loss, points_kernels.models_part), *place)
    elements = tile.y.shape[-1] * (d + len(models.sparse_coef)) * width
    with share(1 if elements < _SMALL else n_threads) as count:
        run_parts(add_part, len(sums), count)


def row_losses(y: Floats, eta: Floats, loss: Any) -> tuple[Floats, Floats]:
    """Return losses (n,), and the slopes of each output (outputs, n), at single samples.

    ``eta`` holds their linear predictors, (outputs, n), and ``y`` has the shape (n,) or (targets, n).
    """
    value = np.concatenate((np.zeros((1, eta.shape[1])), eta))
    workspace = np.empty((4, eta.shape[1]))
    _for(loss, kernels.slopes_serial)(_frozen(np.atleast_2d(y)), loss, value, workspace)
    return value[0], value[1:]


def row_slopes(y: Floats, eta: Floats, loss: Any) -> Floats:
    """Return the slopes that `row_losses` does."""
    return row_losses(y, eta, loss)[1]


def read(X: Floats) -> int:
    """Add up a contiguous array as 8-byte words, with all threads: the read speed that a pass is measured against."""
    words = X.reshape(-1).view(np.int64)
    partial = np.zeros(64, dtype=np.int64)
    with parallel_loops(allowed_threads()):
        kernels.read_parallel(words, partial)
    return int(partial.sum())
