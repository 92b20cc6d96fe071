"""Every bad argument of a fit is refused with a message that says which one, where, and what was found."""

import numpy as np
import pandas as pd
import pytest
from internals import max_threads
from scipy import sparse

import fastgd
from fastgd.losses import LOSSES

X = np.random.default_rng(0).standard_normal((30, 3))
Y = X @ [1.0, 2.0, 3.0] + 0.5
CLASSES = (Y > 0).astype(float)


def but(array, index, value):
    """A copy with one other value."""
    array = array.astype(np.result_type(array, np.asarray(value)))
    array[index] = value
    return array


TABLE = pd.DataFrame({"a": X[:, 0], "k": list("xyz") * 10})
RESULT = fastgd.minimize(lambda p: (float(p @ p), 2 * p), np.ones(4))
LOGISTIC = {"loss": "logistic"}

BAD = [
    # X
    ({"X": X[0]}, "X has 1 dimensions, shape (3,)"),
    ({"X": None}, "X has 0 dimensions"),
    ({"X": X[:0], "y": Y[:0]}, "X has shape (0, 3)"),
    ({"X": X[:, :0]}, "X has shape (30, 0)"),
    ({"X": X.astype(str)}, "X has dtype <U32"),
    ({"X": X.astype(object)}, "X has dtype object"),
    ({"X": X * 1j}, "X has dtype complex128"),
    ({"X": [[1.0, 2.0], [3.0]], "y": [1, 2]}, "X"),
    ({"X": but(X, (7, 2), np.nan)}, "X contains NaN in row 7, column 2 (x2)"),
    ({"X": but(X, (29, 0), np.inf)}, "X contains infinity in row 29, column 0 (x0)"),
    ({"X": but(X, (0, 1), -np.inf)}, "X contains infinity in row 0, column 1 (x1)"),
    ({"X": but(X, (3, 1), np.nan).astype(np.float32)}, "X contains NaN in row 3, column 1 (x1)"),
    ({"X": X * [1, 1e200, 1]}, "column 1 (x1) are so large"),
    ({"X": but(X, (7, 2), np.nan), "sample_weight": but(np.ones(30), 7, 0.0)}, "X contains NaN in row 7"),
    ({"X": TABLE, "categorical": ()}, "X has columns that are not numbers: k (str); name those of text as categorical"),
    ({"X": TABLE.assign(a=but(X[:, 0], 4, np.nan))}, "X has missing values: a (1, the first in row 4)"),
    ({"X": TABLE.assign(a=but(X[:, 0], 4, np.inf))}, "X contains infinity in row 4, column 0 (a)"),
    ({"X": TABLE.assign(k=["x", None, "y"] * 10)}, "X has missing values: k (10, the first in row 1)"),
    ({"X": TABLE, "categorical": ["z"]}, "categorical z: no such column"),
    ({"X": TABLE, "categorical": "k"}, "categorical"),
    ({"X": TABLE, "categorical": 3}, "categorical=3; 'auto' or a list of column names is needed"),
    ({"X": TABLE, "categorical": ["auto"]}, "categorical auto: no such column"),
    ({"X": TABLE, "drop_first": "no"}, "drop_first='no'; True or False"),
    ({"X": TABLE, "drop_first": False}, "drop_first=False gives every level of k a coefficient"),
    ({"X": TABLE.assign(j="v"), "drop_first": False, "intercept": False}, "every level of k, j a coefficient"),
    ({"categorical": ["a"]}, "categorical: X has no named columns"),
    ({"X": np.ma.array(X, mask=X > 0)}, "X is a masked array, whose mask would be lost"),
    ({"X": {"a": np.ma.array(Y, mask=Y > 0)}}, "X: column a is a masked array"),
    ({"X": {"a": [1, "1"] * 15}}, "X: column a has text beside other values, '1' in row 1 and 1 in row 0; convert"),
    ({"X": {"c": ["x", "y"] * 15, "c[y]": Y}}, "X: columns c and c[y] both have a coefficient c[y]; rename one"),
    ({"X": {"c[y]": Y, "c": ["x", "y"] * 15}}, "X: columns c[y] and c both have a coefficient c[y]; rename one"),
    ({"X": {"a": ["v"] * 30}}, "X has shape (30, 0); at least one row and one feature are needed; all its columns are"),
    # y
    ({"y": Y[:-1]}, "y has shape (29,); X has 30 rows"),
    ({"y": Y[:, None], **LOGISTIC}, "y has shape (30, 1)"),
    ({"y": Y[:, None, None]}, "y has shape (30, 1, 1)"),
    ({"y": but(np.column_stack((Y, Y)), (4, 1), np.nan)}, "y: column 1 contains NaN in row 4"),
    ({"y": None}, "y is missing"),
    ({"y": [[1, 2], [3]]}, "y"),
    ({"y": Y.astype(str)}, "y has dtype <U32"),
    ({"y": but(Y, 5, np.nan)}, "y contains NaN in row 5"),
    ({"y": but(Y, 5, -np.inf)}, "y contains infinity in row 5"),
    ({"y": Y * 1e200}, "y: values are so large"),
    ({"y": np.ones(30), **LOGISTIC}, "y has only one class: 1.0"),
    ({"y": ["a"] * 30, **LOGISTIC}, "y has only one class: a"),
    (
        {"y": ["a"] * 9 + ["b"] * 21, "sample_weight": np.arange(30) > 8, **LOGISTIC},
        "zero for all samples but those of b",
    ),
    (
        {"y": np.arange(30) % 3, "sample_weight": np.arange(30) % 3 == 1, **LOGISTIC},
        "zero for all samples but those of 1",
    ),
    ({"y": Y, **LOGISTIC}, "y has 30 different values that are not whole numbers"),
    ({"y": but(CLASSES, 2, np.nan), **LOGISTIC}, "y contains NaN in row 2"),
    ({"y": ["a", None] * 15, **LOGISTIC}, "y has no value in row 1"),
    ({"y": CLASSES[:-1], **LOGISTIC}, "y has shape (29,)"),
    ({"y": np.ma.array(Y, mask=Y > 0)}, "y is a masked array"),
    ({"y": Y[:, None][:, :0]}, "y has shape (30, 0); X has 30 rows, so (30,) or (30, targets) is needed"),
    ({"y": Y.astype(object)}, "y has dtype object; numbers are needed: y.astype(float)"),
    ({"y": sparse.csr_array(Y[:, None])}, "y is a sparse matrix; an array is needed"),
    ({"y": [1, "1"] * 15, **LOGISTIC}, "y has text beside other values, '1' in row 1 and 1 in row 0"),
    ({"y": np.array(["a"] * 29 + [1], object), **LOGISTIC}, "y has text beside other values, 'a' in row 0 and 1 in"),
    # sample_weight
    ({"sample_weight": np.ma.array(np.ones(30), mask=Y > 0)}, "sample_weight is a masked array"),
    ({"sample_weight": sparse.csr_array(np.ones((30, 1)))}, "sample_weight is a sparse matrix"),
    ({"sample_weight": np.ones(29)}, "sample_weight has shape (29,)"),
    ({"sample_weight": 1.0}, "sample_weight has shape ()"),
    ({"sample_weight": ["1"] * 30}, "sample_weight has dtype <U1"),
    ({"sample_weight": but(np.ones(30), 4, -0.5)}, "sample_weight is -0.5 in row 4"),
    ({"sample_weight": but(np.ones(30), 4, np.nan)}, "sample_weight contains NaN in row 4"),
    ({"sample_weight": but(np.ones(30), 4, np.inf)}, "sample_weight contains infinity in row 4"),
    ({"sample_weight": np.zeros(30)}, "sample_weight is zero in every row"),
    # options
    ({"checkpoint": ""}, "checkpoint=''; the name of a file, or None, is needed"),
    ({"loss": "hinge"}, "loss='hinge'; choose one of squared, logistic"),
    ({"loss": None}, "loss=None"),
    ({"loss": LOSSES["squared"]}, "loss="),
    ({"l2": -0.1}, "l2=-0.1"),
    ({"l2": np.nan}, "l2=nan"),
    ({"l2": np.inf}, "l2=inf"),
    ({"l2": "1"}, "l2='1'"),
    ({"l2": True}, "l2=True"),
    ({"intercept": "yes"}, "intercept='yes'"),
    ({"intercept": 2}, "intercept=2"),
    ({"standardize": "no"}, "standardize='no'"),
    ({"solver": "adam"}, "solver='adam'"),
    ({"solver": None}, "solver=None"),
    ({"learning_rate": 0.1}, "learning_rate"),
    ({"learning_rate": 0, "solver": "gd"}, "learning_rate=0"),
    ({"learning_rate": -1.0, "solver": "nesterov"}, "learning_rate=-1.0"),
    ({"learning_rate": np.nan, "solver": "gd"}, "learning_rate=nan"),
    ({"learning_rate": "fast", "solver": "gd"}, "learning_rate='fast'"),
    ({"learning_rate": None, "solver": "gd"}, "learning_rate=None"),
    ({"tol": -1e-6}, "tol=-1e-06"),
    ({"tol": np.nan}, "tol=nan"),
    ({"max_iter": -1}, "max_iter=-1"),
    ({"max_iter": 2.5}, "max_iter=2.5"),
    ({"max_iter": "9"}, "max_iter='9'"),
    ({"time_limit": -1}, "time_limit=-1"),
    ({"time_limit": "1 s"}, "time_limit='1 s'"),
    ({"start": "zero"}, "start='zero'"),
    ({"start": np.zeros(3)}, "start has shape (3,); (4,) is needed: the coefficients, then the intercept"),
    ({"start": np.zeros(4), "intercept": False}, "start has shape (4,); (3,) is needed: the coefficients"),
    ({"start": [0, 0, np.nan, 0]}, "start contains NaN"),
    ({"start": ["a", "b", "c", "d"]}, "start"),
    ({"start": RESULT}, "start"),
    ({"start": fastgd.fit(X[:, :2], Y)}, "start has 2 coefficients; X has 3 features"),
    ({"start": fastgd.fit(X, CLASSES, l2=1.0, **LOGISTIC)}, "start is a"),
    ({"start": np.full(4, 1e200)}, "start"),
    ({"rng": "seed"}, "rng"),
    ({"rng": -1}, "rng"),
    ({"n_threads": 0}, "n_threads=0; a finite number of at least 1"),
    ({"n_threads": max_threads() + 1}, "n_threads="),
    ({"n_threads": "2"}, "n_threads='2'"),
    ({"n_threads": 1.5}, "n_threads=1.5"),
    ({"callback": 3}, "callback"),
]


def describe(case):
    return "-".join(f"{name} {fragment}" for name, fragment in [(next(iter(case[0])), case[1][:40])])


@pytest.mark.parametrize(("change", "fragment"), BAD, ids=map(describe, BAD))
def test_bad_input_is_refused_by_name(change, fragment):
    with pytest.raises((ValueError, TypeError)) as error:
        fastgd.fit(**{"X": X, "y": Y, **change})
    assert fragment in str(error.value)


PREDICT = [
    (X[:, :2], "X has 2 features, but the model was fitted on 3"),
    (X[0], "X has 1 dimensions"),
    (but(X, (8, 1), np.nan), "X contains NaN in row 8, column 1 (x1)"),
    (X.astype(str), "X has dtype"),
]


@pytest.mark.parametrize(("samples", "fragment"), PREDICT, ids=[fragment for _, fragment in PREDICT])
def test_bad_samples_are_refused_by_predict(samples, fragment):
    result = fastgd.fit(X, Y)
    for method in (result.predict, result.decision_function):
        with pytest.raises(ValueError) as error:
            method(samples)
        assert fragment in str(error.value)


TABLES = [
    (TABLE.drop(columns="a"), "fitted on a: no such column; there are k"),
    (TABLE.assign(k="new"), "column k has levels that the model was not fitted on: new; known are x, y, z"),
    (TABLE.assign(a="text"), "X has columns that are not numbers: a"),
    (TABLE.assign(a=np.nan), "X has missing values: a (30, the first in row 0)"),
    (X, "the model has categorical columns"),
]


@pytest.mark.parametrize(("samples", "fragment"), TABLES, ids=[fragment for _, fragment in TABLES])
def test_bad_tables_are_refused_by_predict(samples, fragment):
    result = fastgd.fit(TABLE, Y)
    with pytest.raises(ValueError) as error:
        result.predict(samples)
    assert fragment in str(error.value)


def test_a_regression_has_no_probabilities():
    with pytest.raises(TypeError, match="squared loss has no probabilities"):
        fastgd.fit(X, Y).predict_proba(X)
