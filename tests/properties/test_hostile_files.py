"""Damaged model files, CSV and Parquet: one clear error each, whatever was done to them, and no code is run."""

import copy
import json
import re
import signal
from contextlib import contextmanager, suppress
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from internals import checksum, main
from pyarrow import csv, parquet

import fastgd

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3))
TABLE = {"a": X[:, 0], "kind": np.array(["p", "q", "ß"] * 13 + ["p"]), "b": X[:, 1]}
LABEL = np.array(["no", "yes"])[(X[:, 2] > 0).astype(int)]
MODELS = ["array", "table", "three classes"]


@cache
def fitted(kind):
    """Samples and a model of them."""
    if kind == "array":
        return X, fastgd.fit(X, X[:, 0] + 1.0, l2=0.1)
    if kind == "table":
        return TABLE, fastgd.fit(TABLE, LABEL, loss="logistic", l2=0.1)
    return X, fastgd.fit(X, np.digitize(X[:, 2], [-0.5, 0.5]), loss="logistic", l2=0.1)


FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # its one file is written anew each time


@contextmanager
def within(seconds):
    """A guard against hangs."""

    def give_up(*_):
        raise AssertionError(f"still running after {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def saved(model, path):
    model.save(path)
    return path.read_bytes()


def same_content(a, b):
    """Whether two models are the same in everything."""
    arrays = ("coef", "intercept", "spread", "loss")
    told = ("status", "message", "features", "rows", "settings", "version", "coef_names")
    return all(
        np.asarray(getattr(a, name)).tobytes() == np.asarray(getattr(b, name)).tobytes() for name in arrays
    ) and all(getattr(a, name) == getattr(b, name) for name in told)


def names_the_file(error, path):
    assert str(error).startswith(str(path)) and len(str(error)) < 1000


def is_refused_or_whole(path, model):
    """Damage that leaves what the file says, as in ``1E5`` for ``1e5``, is none."""
    try:
        with within(60):
            again = fastgd.load(path)
    except ValueError as error:
        names_the_file(error, path)
        return
    assert same_content(again, model)


# --- Models -----------------------------------------------------------------------------------------------------------


@FOLDER
@pytest.mark.parametrize("kind", MODELS)
@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1, max_size=4))
def test_flipped_bits_are_told(kind, flips, tmp_path):
    _, model = fitted(kind)
    damaged = bytearray(saved(model, tmp_path / "model.json"))
    for place, bit in flips:
        damaged[int(place * len(damaged))] ^= 1 << bit
    (tmp_path / "bad.json").write_bytes(damaged)
    is_refused_or_whole(tmp_path / "bad.json", model)


@FOLDER
@pytest.mark.parametrize("kind", MODELS)
@given(cuts=st.tuples(st.floats(0, 1), st.floats(0, 1)), twice=st.booleans())
def test_lost_and_repeated_bytes_are_told(kind, cuts, twice, tmp_path):
    _, model = fitted(kind)
    whole = saved(model, tmp_path / "model.json")
    first, last = sorted(int(cut * len(whole)) for cut in cuts)
    (tmp_path / "bad.json").write_bytes(whole[:last] + whole[first:] if twice else whole[:first] + whole[last:])
    is_refused_or_whole(tmp_path / "bad.json", model)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([10**300, -1, 0.0]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def places(document, path=()):
    """The paths to all values."""
    yield path
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield from places(value, (*path, key))


@FOLDER
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("kind", MODELS)
@given(data=st.data())
def test_swapped_values_are_told_or_harmless(kind, signed, data, tmp_path):
    samples, model = fitted(kind)
    document = json.loads(saved(model, tmp_path / "model.json"))
    *parents, last = data.draw(st.sampled_from([path for path in places(document) if path]))
    value = data.draw(JSON)
    parent = document
    for key in parents:
        parent = parent[key]
    before, parent[last] = copy.deepcopy(parent[last]), value
    if signed and "checksum" not in (last, *parents):
        document["checksum"] = checksum(document)
    (tmp_path / "bad.json").write_text(json.dumps(document), encoding="utf-8")
    if not signed and repr(before) != repr(value):
        with pytest.raises(ValueError, match=re.escape(str(tmp_path / "bad.json"))):
            fastgd.load(tmp_path / "bad.json")
        return
    try:  # whoever writes a right checksum may say what they like, but it has to be a model
        again = fastgd.load(tmp_path / "bad.json")
    except ValueError as error:
        names_the_file(error, tmp_path / "bad.json")
        return
    assert np.isfinite(again.decision_function(samples, unseen="zero")).all() and repr(again)
    again.save(tmp_path / "again.json")
    assert same_content(fastgd.load(tmp_path / "again.json"), again)


def nested(depth, of="[]"):
    return of[0] * depth + of[1] * depth


BOMBS = {
    "deep list": lambda text: text.replace('"rows"', f'"bomb": {nested(100_000)}, "rows"'),
    "list of some depth": lambda text: text.replace('"rows"', f'"bomb": {nested(990)}, "rows"'),
    "deep coef": lambda text: re.sub(r'"coef": \[', f'"coef": [{nested(900)}, ', text),
    "deep objects": lambda text: text.replace('"rows"', '"b": ' + '{"a":' * 50_000 + "1" + "}" * 50_000 + ', "rows"'),
    "long number": lambda text: text.replace('"rows": ', '"rows": ' + "1" * 1_000_000),
    "long fraction": lambda text: text.replace('"loss": ', '"loss": 0.' + "1" * 1_000_000 + "e", 1),
    "large exponent": lambda text: text.replace('"loss": ', '"loss": 1e999999999, "loss2": ', 1),
    "long text": lambda text: text.replace('"message": "', '"message": "' + "a" * 10_000_000),
    "many numbers": lambda text: re.sub(r'"coef": \[', '"coef": [' + "0," * 2_000_000, text),
    "many keys": lambda text: text.replace('"rows"', "".join(f'"k{k}": {k},' for k in range(300_000)) + '"rows"'),
    "same key": lambda text: text.replace('"rows"', '"coef": [],' * 300_000 + '"rows"'),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused(bomb, tmp_path):
    path = tmp_path / "bomb.json"
    text = BOMBS[bomb](saved(fitted("array")[1], path).decode())
    path.write_text(text, encoding="utf-8")
    with within(60), pytest.raises(ValueError) as error:
        fastgd.load(path)
    assert str(error.value).startswith(str(path)) and len(str(error.value)) < 1000


# --- Tables in files --------------------------------------------------------------------------------------------------


def one_line_or_a_model(arguments, capsys):
    """Run a command on a damaged file: it fits what is left, or says in a line why not."""
    with within(60):
        code = main(arguments)
    printed = capsys.readouterr()
    assert code in (0, 1), printed
    if printed.err:
        assert printed.err.startswith("fastgd: ") and printed.err.count("\n") == 1 and code == 1
        assert len(printed.err) < 2000
    else:
        assert code == 0
    return code, printed


ROWS = {"a": X[:, 0].round(2), "kind": TABLE["kind"], "n": np.arange(40), "y": X[:, 2].round(3)}


def damaged(whole, damage):
    content = bytearray(whole)
    for place, byte, length in damage:
        at = int(place * len(content))
        content[at : at + length] = byte
    return bytes(content)


DAMAGE = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.binary(max_size=3) | st.sampled_from([b"\n", b",", b'"', b"\0", b"\xff", b"\r", b"nan", b"1e999", b",,\n"]),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=5,
)


@FOLDER
@given(damage=DAMAGE)
def test_damaged_csv(damage, tmp_path, capsys):
    csv.write_csv(pa.table(ROWS), tmp_path / "data.csv")
    (tmp_path / "bad.csv").write_bytes(damaged((tmp_path / "data.csv").read_bytes(), damage))
    one_line_or_a_model(["fit", str(tmp_path / "bad.csv"), "--target", "y", "--l2", "0.1"], capsys)


@FOLDER
@given(damage=DAMAGE, cut=st.floats(0.5, 1.5))
def test_damaged_parquet(damage, cut, tmp_path, capsys):
    parquet.write_table(pa.table(ROWS), tmp_path / "data.parquet")
    whole = (tmp_path / "data.parquet").read_bytes()
    (tmp_path / "bad.parquet").write_bytes(damaged(whole, damage)[: int(cut * len(whole))])
    one_line_or_a_model(["fit", str(tmp_path / "bad.parquet"), "--target", "y", "--l2", "0.1"], capsys)


MALFORMED = {
    "empty": b"",
    "blank lines": b"\n\n\n",
    "header only": b"a,y\n",
    "ragged": b"a,y\n1,2\n3\n",
    "too many": b"a,y\n1,2\n3,4,5\n",
    "twice the same name": b"a,a,y\n1,2,3\n",
    "no names": b",,\n1,2,3\n",
    "open quote": b'a,y\n"1,2\n3,4\n',
    "not UTF-8": b"a,y\n\xff\xfe,2\n3,4\n",
    "header not UTF-8": b"\xff,y\n1,2\n3,4\n",
    "UTF-16": "a,y\n1,2\n3,4\n".encode("utf-16"),
    "zero bytes": b"a,y\n\0,2\n\0,4\n",
    "infinite": b"a,y\ninf,2\n3,4\n",
    "infinite target": b"a,y\n1,inf\n3,4\n",
    "not numbers": b"a,y\nnan,2\n3,4\n",
    "all nulls": b"a,y\n,2\n,4\n",
    "null target": b"a,y\n1,\n2,\n",
    "text target": b"a,y\n1,x\n2,z\n",
    "dates": b"a,y\n2020-01-01,1\n2020-01-02,2\n",
    "constant text": b"a,y\nx,1\nx,2\n",
    "too large": b"a,y\n1e200,1\n2e200,2\n",
    "integers too large": b"a,y\n99999999999999999999999,x\n2,y\n",
    "packed, but not": b"\x1f\x8bnothing of the kind",
}


@pytest.mark.parametrize("content", MALFORMED)
def test_malformed_csv_is_refused_in_a_line(content, tmp_path, capsys):
    path = tmp_path / ("bad.csv.gz" if "packed" in content else "bad.csv")
    path.write_bytes(MALFORMED[content])
    code, _ = one_line_or_a_model(["fit", str(path), "--target", "y"], capsys)
    assert code == 1


COLUMNS = {
    "lists": pa.array([[1.0], [2.0]]),
    "structs": pa.array([{"a": 1}, {"a": 2}]),
    "lists of one size": pa.array([[1.0], [2.0]], pa.list_(pa.float64(), 1)),
    "maps": pa.array([[(1, 2)], [(3, 4)]], pa.map_(pa.int64(), pa.int64())),
    "dates": pa.array([1, 2], pa.date32()),
    "dates in a dictionary": pa.array([1, 2], pa.date32()).dictionary_encode(),
    "timestamps": pa.array([1, 2], pa.timestamp("ns")),
    "durations": pa.array([1, 2], pa.duration("s")),
    "binary": pa.array([b"\xff", b"b"]),
    "decimals": pa.array([1, 2], pa.decimal128(5, 2)),
    "nulls": pa.nulls(2),
    "some null": pa.array([1.0, None]),
    "NaN": pa.array([1.0, float("nan")]),
    "infinite": pa.array([1.0, float("inf")]),
    "none": pa.array([], pa.float64()),
}


@pytest.mark.parametrize("role", ["feature", "target", "weight"])
@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("model", ["linear", "logistic"])
def test_columns_of_other_kinds_are_refused_in_a_line(kind, role, model, tmp_path, capsys):
    column = COLUMNS[kind]
    plain = pa.array([0.5, 2.0][: len(column)], pa.float64())
    named = {"feature": plain, "target": plain, "weight": plain} | {role: column}
    parquet.write_table(pa.table(named), tmp_path / "data.parquet")
    arguments = ["fit", str(tmp_path / "data.parquet"), "--target", "target", "--weight", "weight"]
    code, _ = one_line_or_a_model([*arguments, "--model", model, "--l2", "0.1"], capsys)
    assert code == 1


def test_no_code_in_a_model_is_run(tmp_path):
    """Names of things to call stay text."""
    mark = tmp_path / "was-here"
    call = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    document = json.loads(saved(fitted("table")[1], tmp_path / "model.json"))
    for path in places(document):
        changed = copy.deepcopy(document)
        parent = changed
        for key in path[:-1]:
            parent = parent[key]
        if path and isinstance(parent[path[-1]], str):
            parent[path[-1]] = call
            changed["checksum"] = checksum(changed)
            (tmp_path / "bad.json").write_text(json.dumps(changed), encoding="utf-8")
            with suppress(ValueError):
                fastgd.load(tmp_path / "bad.json")
    assert not mark.exists()
