"""A table with a category and clusters, that inference of several files of tests is about."""

from dataclasses import fields

import numpy as np
import pandas as pd

import fastgd

N, CHUNK = 400, 90
KINDS = ["classical", "HC1", "HC3", "cluster"]
LOSSES = {"squared": {}, "logistic": {"loss": "logistic", "tol": 1e-8}}
STREAMED = {"cache": "none", "memory_limit": "1MB"}


def samples(seed=3):
    """A table whose numbers float32 holds, with a category, clusters of neighbours and of distant rows, and targets."""
    rng = np.random.default_rng(seed)
    a, far = (np.float32(v).astype(float) for v in (rng.standard_normal(N), 100.0 + rng.gamma(2.0, 3.0, N)))
    kind = rng.choice(["u", "v", "w"], N)
    group = rng.integers(0, 30, N)
    z = a - 0.1 * (far - 106.0) + (kind == "v") + 0.5 * rng.standard_normal(30)[group]
    noise = (0.3 + abs(a)) * rng.standard_normal(N)
    frame = pd.DataFrame({"a": a, "far": far, "kind": kind, "group": [f"g{k}" for k in group]})
    return frame, {"squared": z + noise, "logistic": (z + 2.0 * noise > 0.0).astype(int)}


FRAME, TARGETS = samples()
GROUPS = FRAME["group"].to_numpy()
DENSE = np.column_stack((FRAME[["a", "far"]], FRAME["kind"] == "v", FRAME["kind"] == "w")).astype(float)
NAMES = ("a", "far", "kind[v]", "kind[w]", "intercept")


def same_bits(one, two):
    """Whether all attributes of two inferences have the same types, shapes and bits."""
    for field in fields(fastgd.Inference):
        a, b = getattr(one, field.name), getattr(two, field.name)
        assert type(a) is type(b), field.name
        if isinstance(a, np.ndarray):
            assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()), field.name
        else:
            assert a == b or a != a, field.name
    return True
