"""Dask's collections: the fit in memory, whoever works; dead workers, lost clusters, lazy predictions, clear errors."""

import os
import signal
from itertools import pairwise

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask.delayed import delayed
from distributed import Client, LocalCluster
from internals import FAN_IN, Partitions
from scipy import sparse

import fastgd

pytestmark = pytest.mark.slow

ROWS = 700  # of a partition


@pytest.fixture(scope="module", autouse=True)
def environment():
    """Take back what nannies set in the environment of the process that starts them."""
    before = os.environ.copy()
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def cluster():
    with (
        dask.config.set({"distributed.admin.log-format": "%(message)s", "logging.distributed": "critical"}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
    ):
        yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster) as client:
        client.wait_for_workers(2, timeout=300)
        yield client


def problem(loss, n=5000, d=5, weighted=False, dtype=np.float64):
    rng = np.random.default_rng([n, d])
    X = (rng.standard_normal((n, d)) * np.logspace(-2, 2, d) + 3.0).astype(dtype)
    z = (X - 3.0) @ np.logspace(2, -2, d) / 3 + rng.standard_normal(n)
    y = {"logistic": z > 0.5, "classes": np.digitize(z, [-1.0, 1.0]), "text": np.where(z > 0.0, "yes", "no")}.get(
        loss, z
    )
    weight = rng.integers(0, 3, n).astype(float) if weighted else None
    return X, y, weight


def arrays(*given, rows=ROWS):
    """Cut arrays into partitions of so many rows, or at these."""
    return [None if each is None else da.from_array(each, chunks=(rows, *each.shape[1:])) for each in given]


def frame(X, y, weight=None):
    """Give a table of the samples with numbers as words in one column, and empty and uneven partitions of it."""
    table = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
    table["kind"] = np.array(["one", "two", "three"])[np.arange(len(y)) * 7 % 11 % 3]
    table["y"] = y
    if weight is not None:
        table["w"] = weight
    table.loc[table.index >= len(y) - 900, "kind"] = "four"  # that other partitions do not have
    borders = [0, 100, 100, 2100, 3000, len(y)]
    return table, dd.from_map(lambda span: table.iloc[slice(*span)], [*pairwise(borders)], meta=table.iloc[:0])


def close(one, two):
    scale = np.max(np.abs(two.coef * two.spread))
    np.testing.assert_allclose(one.coef * one.spread, two.coef * two.spread, rtol=1e-10, atol=1e-10 * scale)
    np.testing.assert_allclose(one.intercept, two.intercept, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(one.loss, two.loss, rtol=1e-11)
    assert (one.rows, one.features, one.coef.shape) == (two.rows, two.features, two.coef.shape)
    assert (one.classes is None) == (two.classes is None)
    assert one.classes is None or one.classes.tolist() == two.classes.tolist()


LOSSES = {"squared": "squared", "huber": "huber", "logistic": "logistic", "classes": "logistic", "text": "logistic"}
TIGHT = {"l2": 1e-3, "tol": 1e-12, "max_iter": 3000}


@pytest.mark.parametrize("solver", ["auto", "newton", "lbfgs", "nesterov", "gd"])
@pytest.mark.parametrize("loss", LOSSES)
def test_partitions_give_what_memory_gives(loss, solver):
    options = {"loss": LOSSES[loss], "solver": solver, **TIGHT}
    for weighted, dtype in ((False, np.float64), (True, np.float32), (True, np.int16)):
        X, y, weight = problem(loss, weighted=weighted, dtype=dtype)
        whole = fastgd.fit(X, y, sample_weight=weight, **options)
        dX, dy, dweight = arrays(X, y, weight)
        close(fastgd.fit(dX, dy, sample_weight=dweight, **options), whole)
        if solver != "auto":
            return
        table, parts = frame(X, y, weight)
        named = {"target": "y", "sample_weight": None if weight is None else "w"}
        beside = ["y"] if weight is None else ["y", "w"]
        whole = fastgd.fit(table.drop(columns=beside), y, sample_weight=weight, **options)
        close(fastgd.fit(parts, **named, **options), whole)


@pytest.mark.parametrize("loss", ["squared", "classes", "text"])
def test_a_cluster_gives_what_memory_gives(client, loss):
    options = {"loss": LOSSES[loss], **TIGHT}
    X, y, weight = problem(loss, weighted=True)
    whole = fastgd.fit(X, y, sample_weight=weight, **options)
    dX, dy, dweight = client.persist(arrays(X, y, weight))
    close(fastgd.fit(dX, dy, sample_weight=dweight, **options), whole)
    _, parts = frame(X, y, weight)
    one = fastgd.fit(parts, target="y", sample_weight="w", **options)
    beside = parts.drop(columns=["y", "w"]), parts["y"]
    two = fastgd.fit(*beside, sample_weight=parts["w"].values, **options)
    assert (one.coef == two.coef).all() and one.coef_names == two.coef_names
    assert one.coef_names[-3:] == ["kind[one]", "kind[three]", "kind[two]"]


def bits(result):
    return result.coef.tobytes(), result.history.loss.tobytes(), result.history.passes.tobytes()


@pytest.mark.parametrize("loss", ["squared", "classes"])
def test_the_same_bits_whoever_works(client, loss):
    X, y, _ = problem(loss, n=9000)
    given = arrays(X, y, rows=(100, 0, 900, *[1000] * 8))
    options = {"loss": LOSSES[loss], "l2": 1e-3, "tol": 1e-10}
    two = bits(fastgd.fit(*given, **options))
    assert bits(fastgd.fit(*client.persist(given), **options)) == two
    with LocalCluster(n_workers=1, processes=False, threads_per_worker=1, dashboard_address=":0") as one, Client(one):
        assert bits(fastgd.fit(*given, **options)) == two
    for scheduler in ("synchronous", "threads"):
        with dask.config.set(scheduler=scheduler):
            assert bits(fastgd.fit(*given, **options)) == two


@pytest.mark.parametrize("loss", LOSSES)
def test_one_partition_has_the_bits_of_memory(loss):
    X, y, weight = problem(loss, weighted=True)
    options = {"loss": LOSSES[loss], "l2": 1e-3}
    dX, dy, dweight = arrays(X, y, weight, rows=len(X))
    whole = fastgd.fit(X, y, sample_weight=weight, **options)
    assert fastgd.fit(dX, dy, sample_weight=dweight, **options).coef.tobytes() == whole.coef.tobytes()


def test_sparse_blocks_and_several_targets():
    X, y, _ = problem("squared")
    words = sparse.csr_array(np.where(np.abs(X - 3.0) > np.logspace(-2, 2, 5), X, 0.0))
    blocks = [words[start : start + ROWS] for start in range(0, len(y), ROWS)]
    dX = da.concatenate(
        [da.from_delayed(delayed(b), b.shape, meta=sparse.csr_array((0, 0))) for b in blocks],
        allow_unknown_chunksizes=True,
    )
    targets = np.column_stack((y, X[:, 1], -y))
    close(fastgd.fit(dX, da.from_array(targets, (ROWS, 3)), **TIGHT), fastgd.fit(words, targets, **TIGHT))


def kill(client):
    """Kill a worker's process, as a machine that fails would."""
    worker = next(iter(client.run(os.getpid).values()))
    os.kill(worker, signal.SIGKILL)


@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
def test_a_worker_that_dies_is_survived(client, solver):
    X, y, _ = problem("logistic", n=9000)
    given = client.persist(arrays(X, y))
    options = {"loss": "logistic", "l2": 1e-3, "tol": 1e-10, "solver": solver}
    whole = fastgd.fit(*given, **options)
    killed = []

    def callback(row):
        if row.iteration == 1:
            killed.append(kill(client))

    assert bits(fastgd.fit(*given, callback=callback, **options)) == bits(whole)
    assert len(killed) == 1


@pytest.mark.usefixtures("client")
def test_a_worker_that_dies_in_the_middle_of_a_pass_is_survived(tmp_path):
    X, y, _ = problem("logistic")
    marker = tmp_path / "died"

    def dying(block):
        """Kill the worker, once."""
        if block.shape[0] and block[0, 0] == X[2 * ROWS, 0] and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return block

    dX, dy = arrays(X, y)
    options = {"loss": "logistic", "l2": 1e-3}
    whole = fastgd.fit(dX, dy, **options)
    assert bits(fastgd.fit(dX.map_blocks(dying, meta=np.empty((0, 0))), dy, **options)) == bits(whole)
    assert marker.exists()


def test_a_lost_cluster_leaves_the_best_point():
    X, y, _ = problem("logistic")
    options = {"loss": "logistic", "l2": 1e-3, "tol": 1e-10, "solver": "lbfgs"}
    given = arrays(X, y)
    whole = fastgd.fit(*given, **options)
    for lose in ("the client", "the cluster"):
        with LocalCluster(n_workers=1, processes=False, threads_per_worker=1, dashboard_address=":0") as cluster:
            client = Client(cluster, set_as_default=False)  # a default one that is lost leaves Dask's settings behind

            def callback(row, gone=client if lose == "the client" else cluster):
                if row.iteration == 3:
                    gone.close()

            message = r"cluster was lost.* the best point .* in .result"
            with dask.config.set(scheduler=client), pytest.raises(fastgd.ClusterError, match=message) as told:
                fastgd.fit(*given, callback=callback, **options)
        rest = told.value.result
        assert rest.status is fastgd.Status.INTERRUPTED and len(rest.history) == 4
        assert rest.history.loss.tolist() == whole.history.loss[:4].tolist()
        assert rest.loss == np.min(rest.history.loss)
        assert bits(fastgd.fit(*given, start=rest, **options)) == bits(whole)


def test_cancelled_work_is_told(client):
    X, y, _ = problem("logistic")
    given = client.persist(arrays(X, y))

    def callback(row):
        if row.iteration == 2:
            client.cancel(given, force=True)

    with pytest.raises(fastgd.ClusterError, match="cancelled") as told:
        fastgd.fit(*given, loss="logistic", solver="lbfgs", callback=callback)
    assert told.value.result.n_iter == 2
    with pytest.raises(fastgd.ClusterError, match="nothing was known yet") as told:
        fastgd.fit(*given, loss="logistic")
    assert told.value.result is None


@pytest.mark.parametrize("place", ["here", "there"])
def test_ctrl_c_gives_the_best_point(request, place):
    if place == "there":
        request.getfixturevalue("client")
    X, y, _ = problem("logistic")

    def press(row):
        if row.iteration == 2:
            os.kill(os.getpid(), signal.SIGINT)

    result = fastgd.fit(*arrays(X, y), loss="logistic", l2=1e-3, tol=1e-10, solver="lbfgs", callback=press)
    assert result.status is fastgd.Status.INTERRUPTED and result.n_iter == 2


def test_a_checkpoint_goes_on(tmp_path):
    X, y, _ = problem("logistic")
    given, options = arrays(X, y), {"loss": "logistic", "l2": 1e-3, "tol": 1e-10, "solver": "lbfgs"}
    whole = fastgd.fit(*given, **options)
    file = tmp_path / "fit.ckpt"
    fastgd.fit(*given, checkpoint=file, callback=lambda row: row.iteration == 3, **options)
    assert bits(fastgd.fit(*given, checkpoint=file, **options)) == bits(whole)


@pytest.mark.parametrize("loss", LOSSES)
def test_predictions_are_lazy(loss):
    X, y, _ = problem(loss)
    looked = []

    def check_interrupt(block):
        looked.append(1)
        return block

    dX = arrays(X)[0].map_blocks(check_interrupt, meta=np.empty((0, 0)))
    table, parts = frame(X, y)
    for model, given, lazy in (
        (fastgd.fit(X, y, loss=LOSSES[loss], l2=1e-3), X, dX),
        (fastgd.fit(table.drop(columns="y"), y, loss=LOSSES[loss], l2=1e-3), table, parts),
    ):
        for method in ("decision_function", "predict", *(["predict_proba"] if model.classes is not None else [])):
            expected, predicted = getattr(model, method)(given), getattr(model, method)(lazy)
            assert isinstance(predicted, da.Array) and not looked
            assert predicted.dtype == expected.dtype and predicted.ndim == expected.ndim
            if lazy is dX:
                assert predicted.shape == expected.shape
            np.testing.assert_array_equal(predicted.compute(), expected)
            looked.clear()
    model, cut = fastgd.fit(X, y, loss=LOSSES[loss], l2=1e-3), da.from_array(X, chunks=(ROWS, 2))
    np.testing.assert_array_equal(model.decision_function(cut), model.decision_function(X))
    broken = X.copy()
    broken[ROWS + 3, 2] = np.nan
    with pytest.raises(ValueError, match=r"partition 1: X contains NaN in row 3, column 2 \(x2\)"):
        fastgd.fit(X, y, loss=LOSSES[loss], l2=1e-3).predict(arrays(broken)[0]).compute()


@pytest.mark.parametrize("of_frames", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_estimators(of_frames, weighted):
    for estimator, loss in (
        (fastgd.LinearRegression(), "squared"),
        (fastgd.Ridge(alpha=3.0), "squared"),
        (fastgd.LogisticRegression(C=0.5), "logistic"),
        (fastgd.LogisticRegression(class_weight="balanced"), "classes"),
        (fastgd.LogisticRegression(class_weight={"yes": 2.0, "no": 1.0}), "text"),
    ):
        X, y, weight = problem(loss, weighted=weighted)
        if of_frames:
            table, parts = frame(X, y, weight)
            given, target, own = parts.drop(columns=[*parts.columns[6:]]), parts["y"], parts["w"] if weighted else None
            X = table.drop(columns=[*table.columns[6:]])
        else:
            given, target, own = arrays(X, y, weight)
        one = type(estimator)(**estimator.get_params()).fit(X, y, weight)
        two = estimator.fit(given, target, own)
        np.testing.assert_allclose(two.coef_, one.coef_, rtol=1e-7, atol=1e-9 * np.abs(one.coef_).max())
        assert two.n_features_in_ == X.shape[1] and hasattr(two, "feature_names_in_") == of_frames
        for method in ("predict", "decision_function", "predict_proba", "predict_log_proba"):
            if hasattr(one, method):
                lazy = getattr(two, method)(given)
                assert isinstance(lazy, da.Array)
                np.testing.assert_array_equal(lazy.compute(), getattr(two, method)(X))


def test_estimators_say_what_they_do_not_take():
    X, y, _ = problem("logistic")
    dX, dy = arrays(X, y)
    model = fastgd.LogisticRegression(solver="sgd")
    with pytest.raises(ValueError, match="solver='sgd' goes from batch to batch"):
        model.fit(dX, dy)
    with pytest.raises(TypeError, match="partial_fit takes chunks in memory"):
        model.partial_fit(dX, dy, classes=[False, True])
    assert not hasattr(model, "coef_")
    with pytest.raises(ValueError, match="3 features"):
        fastgd.LogisticRegression().fit(X, y).predict(dX[:, :3])
    for estimator in (fastgd.LogisticRegression, fastgd.LinearRegression):
        with pytest.raises(TypeError, match="sample_weight is a ndarray beside y in partitions"):
            estimator().fit(dX, dy, sample_weight=np.ones(len(y)))
    with pytest.raises(ValueError, match="n_jobs=2; n_jobs=None is supported: Dask's workers"):
        fastgd.LogisticRegression(n_jobs=2).fit(dX, dy)
    with pytest.raises(TypeError, match=r"X is a dask\.delayed\.DelayedLeaf; a Dask array or dataframe is needed"):
        fastgd.fit(delayed(X), y)


def unknown(array):
    """Forget how long blocks are."""
    return dd.from_dask_array(array).values if array.ndim == 2 else dd.from_dask_array(array, columns="y").values


def test_unknown_sizes_and_empty_partitions():
    X, y, _ = problem("logistic")
    whole = fastgd.fit(X, y, loss="logistic", **TIGHT)
    dX, dy = arrays(X, y, rows=(0, 700, 0, 2000, 2300, 0))
    close(fastgd.fit(dX, dy, loss="logistic", **TIGHT), whole)
    blind = [unknown(each) for each in (dX, dy)]
    assert np.isnan(blind[0].shape[0])
    close(fastgd.fit(*blind, loss="logistic", **TIGHT), whole)
    assert fastgd.Ridge().fit(*blind).result_.rows == len(y)


def damaged(X, row, column, value):
    X = X.copy()
    X[row, column] = value
    return X


ERRORS = {
    "NaN": (
        lambda X, y: arrays(damaged(X, 1500, 2, np.nan), y),
        r"partition 2, from row 1400: X contains NaN in row 100, column 2 \(x2\)",
    ),
    "the first of two": (
        lambda X, y: arrays(damaged(damaged(X, 4900, 1, np.inf), 10, 3, np.inf), y),
        r"partition 0, from row 0: X contains infinity in row 10, column 3",
    ),
    "NaN in y": (
        lambda X, y: arrays(X, np.where(np.arange(5000) == 3000, np.nan, y)),
        "partition 4, from row 2800: y contains NaN in row 200",
    ),
    "sizes": (
        lambda X, y: (arrays(X)[0], arrays(y, rows=(800, 600, *[700] * 5, 100))[0]),
        "partition 0: y has 800 rows, X has 700",
    ),
    "counts": (lambda X, y: (arrays(X)[0], arrays(y, rows=500)[0]), "y has 10 partitions, X has 8"),
    "unknown sizes": (
        lambda X, y: (unknown(arrays(X)[0]), unknown(arrays(y, rows=(700, 600, 800, *[700] * 4, 100))[0])),
        "partition 1: X has 700 rows, y has 600 rows; all have to be cut alike",
    ),
    "columns": (lambda X, y: (da.from_array(X, (700, 2)), arrays(y)[0]), r"3 blocks of columns; X.rechunk\({1: -1}\)"),
    "one dimension": (lambda _, y: arrays(y, y), "X has 1 dimensions"),
    "a bag": (lambda _, y: (db.from_sequence([1]), arrays(y)[0]), "a Dask array or dataframe is needed"),
    "y in memory": (lambda X, y: (arrays(X)[0], y), "y is a ndarray beside X in partitions"),
    "no y": (lambda X, _: (arrays(X)[0], None), "y is missing"),
    "no rows": (lambda X, y: arrays(X[:0], y[:0], rows=(0, 0)), "X has no rows"),
    "overflow": (lambda X, y: arrays(X * 1e300, y), "squares overflow"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors_name_partition_and_column(name):
    X, y, _ = problem("squared")
    make, message = ERRORS[name]
    given = make(X, y)
    for solver in ("auto", "lbfgs"):
        with pytest.raises((ValueError, TypeError), match=message):
            fastgd.fit(*given, solver=solver)


def test_errors_of_frames():
    X, y, weight = problem("squared", weighted=True)
    table, parts = frame(X, y, weight)
    for options, message in (
        ({"target": "z"}, "target z: X has no such column; it has x0, x1, x2, x3, x4, kind, y, w"),
        ({"target": "y", "features": ["x0", "q"]}, "X: has no column q; it has x0, x1, x2"),
        ({"target": "y", "features": ["x0", "y"]}, "features: y is the target"),
        ({"target": "y", "sample_weight": "v"}, "sample_weight v: X has no such column"),
        ({"target": "y", "sample_weight": parts["w"]}, "give the name of the weights' column"),
        ({"y": parts["y"], "target": "y"}, "target='y': that is for dataframes without y"),
        ({"target": "y", "cache": "disk"}, "cache='disk'"),
        ({"target": "y", "n_threads": 2}, "n_threads=2"),
        ({"target": "y", "solver": "sgd"}, "solver='sgd'"),
    ):
        with pytest.raises(ValueError, match=message):
            fastgd.fit(parts, **options)
    parts = parts.map_partitions(lambda part: part.assign(x1=part["x1"].mask(part.index == 2200)), meta=table.iloc[:0])
    with pytest.raises(ValueError, match=r"partition 3: X has missing values: x1 \(1, the first in row 100\)"):
        fastgd.fit(parts, target="y", sample_weight="w")


def test_what_travels_is_sums(client):
    """Of a pass: a function that holds the coefficients, and O(d) numbers from each partition."""
    X, y, _ = problem("logistic", n=20_000, d=20)
    given = client.persist(arrays(X, y, rows=2000))
    fastgd.fit(*given, loss="logistic", tol=1e6)
    sizes = []
    made = Partitions._make_graph

    def measured(self, work, own):
        sizes.append((len(work), None if own is None else len(own)))
        return made(self, work, own)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Partitions, "_make_graph", measured)
        result = fastgd.fit(*given, loss="logistic", solver="lbfgs", tol=1e-8, l2=1e-3)
    # The survey, evaluations and Hessians; a glance at the first partition, and some rows in the end.
    assert len(sizes) == result.history.passes[-1] + 2
    assert max(size for size, _ in sizes) < 8 * 20 + 6000
    assert len(given[0].chunks[0]) > FAN_IN  # so that sums are added up by more than one task
