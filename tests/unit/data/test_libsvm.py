"""Files in libsvm's format: each line is one row whatever the chunks, and what is wrong is named with its line."""

import bz2
import errno
import gzip
import lzma
import re
from itertools import product

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

import fastgd
from fastgd.io import LibSVM

PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
LENGTHS = {"short": [1, 3, 2], "long": [150], "short and long": [0, 1, 120, 2, 0, 200, 1]}
"""Entries of the lines, over and over."""
CHUNKS = [1, 7, 100, 4096, 1 << 20]
STYLES = {
    "plain": lambda lines: b"\n".join(lines) + b"\n",
    "no newline at the end": lambda lines: b"\n".join(lines),
    "CRLF": lambda lines: b"\r\n".join(lines) + b"\r\n",
    "comments": lambda lines: b"# 9999:1\n" + b" # 1:2 9999:3\n".join(lines) + b"\t# 8888:1 9999:1 \n#9999:1",
    "blank lines": lambda lines: b"\n\n" + b"\n \t\n\r\n".join(lines) + b"\n\n\n",
}


def text_lines(entries, n=60):
    rng = np.random.default_rng(0)
    for row, number in zip(range(n), entries * n, strict=False):
        columns = np.sort(rng.choice(700, number, replace=False)) + 1
        values = rng.standard_normal(number)
        yield " ".join([f"{row - 7.5}", *(f"{j}:{v:.9g}" for j, v in zip(columns, values, strict=True))]).encode()


def read(chunks):
    """The rows and targets of all chunks together."""
    parts = list(chunks)
    return sparse.vstack([part.X for part in parts], format="csr"), np.concatenate([part.y for part in parts])


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("lengths", LENGTHS)
def test_each_line_is_one_row(tmp_path, lengths, style):
    content = STYLES[style]([*text_lines(LENGTHS[lengths])])
    (tmp_path / "whole.svm").write_bytes(content)
    X, y = load_svmlight_file(str(tmp_path / "whole.svm"), zero_based=False)
    assert X.shape[0] == 60
    numbers = [k for k, line in enumerate(content.split(b"\n"), 1) if line.partition(b"#")[0].strip()]
    for ending, size in product(PACK, CHUNKS):
        path = tmp_path / f"some.svm{ending}"
        path.write_bytes(PACK[ending](content))
        chunks = LibSVM([path])
        assert chunks.width == X.shape[1] and chunks.stored_bytes == path.stat().st_size
        chunks.chunk_bytes = size
        for _ in range(2):
            got, targets = read(chunks)
            assert got.shape == X.shape and (got != X).nnz == 0 and (targets == y).all()
        names = [chunk.name for chunk in chunks]
        if size == 1:
            assert names == [f"{path}, from line {k}" for k in numbers]
        assert len(names) == 1 or size < len(content)


def test_chunks_are_as_long_as_asked_for_but_for_a_line(tmp_path):
    lines = [*text_lines([30], 500)]
    (tmp_path / "a.svm").write_bytes(b"\n".join(lines))
    chunks, longest = LibSVM(tmp_path / "a.svm"), max(map(len, lines)) + 1
    chunks.limit(5000)
    firsts = [int(chunk.name.rpartition(" ")[2]) - 1 for chunk in chunks]
    sizes = [sum(len(line) + 1 for line in lines[a:b]) for a, b in zip(firsts, [*firsts[1:], 500], strict=True)]
    assert len(sizes) > 10 and max(sizes) < 5000 + longest and min(sizes[:-1]) >= 5000
    chunks.limit(1 << 40)
    assert chunks.chunk_bytes == 1 << 24


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("suffix", [".svm", ".libsvm", ".svmlight"])
def test_fit_knows_packed_files_by_their_names(tmp_path, suffix, ending):
    X = np.random.default_rng(0).standard_normal((200, 3))
    y = X @ [1.0, 2.0, 3.0] + 4.0
    dump_svmlight_file(X, y, str(tmp_path / "plain"), zero_based=False)
    (tmp_path / f"a{suffix}{ending}").write_bytes(PACK[ending]((tmp_path / "plain").read_bytes()))
    for path in (tmp_path / f"a{suffix}{ending}", tmp_path / f"*{suffix}{ending}"):
        assert fastgd.fit(path).coef.round(6).tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_files_give_what_the_matrix_gives(tmp_path, loss):
    rng = np.random.default_rng(0)
    X = sparse.random_array((6000, 40), density=0.1, format="csr", rng=rng)
    y = X @ rng.standard_normal(40) + 0.3 * rng.standard_normal(6000)
    y = (y > 0).astype(int) if loss == "logistic" else y.round(6)
    for part in range(2):
        rows = slice(3000 * part, 3000 * part + 3000)
        dump_svmlight_file(X[rows], y[rows], str(tmp_path / f"{part}.svm"), zero_based=False)
    whole = fastgd.fit(X, y, loss=loss, l2=1e-3, tol=1e-12)
    for cache in ("auto", "none"):
        got = fastgd.fit(tmp_path / "*.svm", loss=loss, l2=1e-3, tol=1e-12, cache=cache, memory_limit="1MB")
        np.testing.assert_allclose(got.coef, whole.coef, rtol=1e-9, atol=1e-11)
        assert got.rows == 6000
    listed = fastgd.fit([tmp_path / "0.svm", tmp_path / "1.svm"], loss=loss, l2=1e-3, tol=1e-12, memory_limit="1MB")
    assert (listed.coef == fastgd.fit(tmp_path / "?.svm", loss=loss, l2=1e-3, tol=1e-12, memory_limit="1MB").coef).all()
    with pytest.raises(ValueError, match=r"target='late': that is in the file"):
        fastgd.fit(tmp_path / "0.svm", target="late")


def test_rows_are_counted_once_within_any_memory(tmp_path):
    lines = [f"{k % 2} " + " ".join(f"{j}:{(j * k) % 7 - 2.5}" for j in range(1, 3000)) for k in range(20)]
    (tmp_path / "wide.svm").write_text("\n".join(lines))
    for limit in ("1MB", "4MB", "512MB"):
        assert fastgd.fit(tmp_path / "wide.svm", loss="logistic", l2=10.0, memory_limit=limit).rows == 20


FORMAT = "is not label index:value ..., with ascending indices from 1"
MALFORMED = {
    b"1 0:2 1:3": "Invalid index 0",
    b"1 -3:2": "Invalid index -3",
    b"1 3:2 2:1": "should be sorted and unique",
    b"1 2:1 2:1": "should be sorted and unique",
    b"0 nonsense": "need more than 1 value to unpack",
    b"spam 1:2": "could not convert string to float: b'spam'",
    b"1 1:x": "could not convert string to float: b'x'",
    b"1 a:2": "b'a'",
    b"1 1:2\rx 1:2": "",
    b"1 99999999999:2": "an index is beyond 2,147,483,647",
    b"1 " + b"9" * 5000 + b":1": "Exceeds the limit",
    b"x" * 100_000: "could not convert string to float",
    b"\x00\xff\xfe": "could not convert string to float",
    b"1,2 1:3": "could not convert string to float: b'1,2'",
}


@pytest.mark.parametrize("bad", MALFORMED, ids=lambda bad: repr(bad[:20]))
def test_malformed_lines_are_named(tmp_path, bad):
    lines = [b"%d 1:%d 3:1" % (k % 2, k) for k in range(200)]
    for ending, (at, size), newline in product(PACK, [(0, 1 << 24), (150, 1 << 24), (199, 300), (77, 1)], [b"\n", b""]):
        path = tmp_path / f"a.svm{ending}"
        path.write_bytes(PACK[ending](b"# 1\n\n" + b"\n".join([*lines[:at], bad, *lines[at:]]) + newline))
        chunks = LibSVM([path])
        chunks.chunk_bytes = size
        with pytest.raises(ValueError) as error:
            read(chunks)
        message = str(error.value)
        start = bad[:60].decode(errors="backslashreplace")
        assert message.startswith(f"{path}, line {at + 3}: {start!r}") and FORMAT in message
        assert MALFORMED[bad] in message and len(message) < 500 + len(str(path)) and "\n" not in message


def test_the_first_of_several_malformed_lines_is_named(tmp_path):
    (tmp_path / "a.svm").write_text("1 1:2\n" * 10 + "1 0:1\n" + "1 1:2\n" * 10 + "x\n1 2:1 1:1\n")
    with pytest.raises(ValueError, match=r"a\.svm, line 11: '1 0:1' is not"):
        read(LibSVM([tmp_path / "a.svm"]))


def test_more_features_than_expected(tmp_path):
    (tmp_path / "a.svm").write_text("1 1:2 3:4\n" * 50 + "1 1:2 7:4\n")
    with pytest.raises(ValueError, match=r"a\.svm, line 51: '1 1:2 7:4' .* up to 5, the number of features: 7$"):
        read(LibSVM([tmp_path / "a.svm"], 5))
    assert read(LibSVM([tmp_path / "a.svm"], 9))[0].shape == (51, 9)


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("content", [b"", b"# 1:2\n", b"\n\n", b"1\n0\n", b"1 # 3:4\n", b"\r\n#\r\n"])
def test_files_without_rows_or_entries(tmp_path, content, ending):
    path, other = tmp_path / f"empty.svm{ending}", tmp_path / "other.svm"
    path.write_bytes(PACK[ending](content))
    other.write_bytes(b"1 1:1 2:3\n0 1:2\n")
    with pytest.raises(ValueError, match=r"empty\.svm.*: no line has an entry index:value after its label"):
        LibSVM([path])
    labels = content.count(b"1\n") + content.count(b"0\n") + content.count(b"1 #")
    assert sum(len(chunk.y) for chunk in LibSVM([path], 2)) == labels
    assert read(LibSVM([path, other]))[0].shape == (labels + 2, 2)


def cut(packed):
    return packed[: len(packed) // 2]


def overwritten(packed):
    return packed[: len(packed) // 2] + bytes(40) + packed[len(packed) // 2 + 40 :]


@pytest.mark.parametrize("damage", [cut, overwritten, lambda _: b"1 1:2\n0 1:3\n" * 99], ids=["cut", "zeros", "text"])
@pytest.mark.parametrize("ending", [*PACK][1:])
@pytest.mark.parametrize("width", [None, 700])
def test_damaged_packed_files_are_named(tmp_path, ending, damage, width):
    path = tmp_path / f"a.svm{ending}"
    path.write_bytes(damage(PACK[ending](b"\n".join(text_lines([50], 2000)))))
    with pytest.raises(ValueError) as error:
        read(LibSVM([path], width))
    place, _, message = str(error.value).partition(": ")
    line = int(re.fullmatch(rf"{re.escape(str(path))}, (?:from )?line (\d+)", place)[1])
    assert 1 <= line < 2000 and ("is damaged, or not packed as its name says: " in message or FORMAT in message)


@pytest.mark.parametrize("ending", [*PACK][1:])
def test_packed_files_whose_name_does_not_say_so(tmp_path, ending):
    (tmp_path / "a.svm").write_bytes(PACK[ending](b"1 1:2\n"))
    with pytest.raises(ValueError, match=rf"a\.svm: is packed; name it .*a\.svm\{ending}$"):
        LibSVM([tmp_path / "a.svm"])


def test_a_file_given_twice_is_refused(tmp_path):
    path, link = str(tmp_path / "a.svm"), tmp_path / "b.svm"
    (tmp_path / "a.svm").write_text("1 1:2\n0 1:3\n")
    link.symlink_to(path)
    for given in ([path, path], [path, str(tmp_path / "a*.svm")], [path, link], [str(tmp_path / "*.svm")]):
        with pytest.raises(ValueError, match=r"[ab]\.svm: is given twice.*; each of its rows would count twice"):
            fastgd.fit(given)


def test_names_that_look_like_patterns(tmp_path):
    for name, value in {"a[1].svm": 2, "a1.svm": 3}.items():
        (tmp_path / name).write_text(f"1 1:{value}\n")
    assert read(LibSVM([tmp_path / "a[1].svm"]))[0].toarray() == 2


def test_files_that_cannot_be_opened(tmp_path):
    for paths, error, message in [
        (tmp_path / "none.svm", FileNotFoundError, r"none\.svm: no such file"),
        (tmp_path / "*.svm", FileNotFoundError, r"\*\.svm: no such file"),
        (tmp_path, IsADirectoryError, "^" + re.escape(f"{tmp_path}: Is a directory")),
        ([], ValueError, "no file is given"),
    ]:
        with pytest.raises(error, match=message):
            LibSVM(paths)


def test_faults_of_the_disk_are_no_damage(tmp_path, monkeypatch):
    (tmp_path / "a.svm.gz").write_bytes(gzip.compress(b"1 1:2\n"))
    chunks = LibSVM(tmp_path / "a.svm.gz")

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(gzip.GzipFile, "read", fail)
    with pytest.raises(OSError, match=r"a\.svm\.gz: Input/output error$"):
        read(chunks)


@pytest.mark.parametrize("change", ["vanishes", "grows"])
def test_files_that_change_between_passes(tmp_path, change):
    path = tmp_path / "a.svm"
    path.write_text("1 1:2\n")
    chunks = LibSVM([path])
    read(chunks)
    path.unlink() if change == "vanishes" else path.write_text("1 1:2\n0 1:1\n")
    with pytest.raises(
        (ValueError, OSError), match=r"a\.svm: (no such file, or no longer|changed while it was in use)"
    ):
        read(chunks)
