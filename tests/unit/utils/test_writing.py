"""Files appear whole or not at all: on a full disk what stood there is unchanged, and the error names the file."""

import errno
import os

import pytest
from internals import replacing

pytestmark = pytest.mark.slow

# A limit on the size of arrow stands for a full disk: bytes are refused in the middle of a file.
FULL = """
import resource, sys
from pathlib import Path
import numpy as np
import fastgd
from internals import arrow

path = Path(sys.argv[1])
X = np.random.default_rng(0).standard_normal((50, 5))
model = fastgd.fit(X, X.sum(axis=1))
numbers = {"x": np.random.default_rng(0).random(10_000)}
write = model.save if path.suffix == ".json" else lambda path: arrow.write_table(path, numbers)
write(path)
before = path.read_bytes()
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    write(path)
except OSError as error:
    print(error)
assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
"""


@pytest.mark.skipif(os.name != "posix", reason="no limits here")
@pytest.mark.parametrize("name", ["model.json", "table.csv", "table.parquet"])
def test_a_full_disk_leaves_earlier_files_intact(name, tmp_path, run_python):
    path = tmp_path / name
    message = run_python(FULL, path)
    assert message.startswith(f"[Errno {errno.EFBIG}] {path} was not written: ")
    assert os.strerror(errno.EFBIG) in message


@pytest.mark.parametrize("earlier", [None, "precious"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), OSError("no number"), ValueError("other")])
def test_errors_while_writing(error, earlier, tmp_path):
    path = tmp_path / "file"
    if earlier is not None:
        path.write_text(earlier)

    def write():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)) as raised:
        write()
    if isinstance(error, OSError):
        assert f"{path} was not written: " in str(raised.value) and raised.value.errno == error.errno
    assert [p.read_text() for p in tmp_path.iterdir()] == ([] if earlier is None else [earlier])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")
def test_devices_are_written_to_and_stay():
    def write():
        with replacing("/dev/full") as path, open(path, "w") as file:
            file.write("something")

    with pytest.raises(OSError, match="/dev/full was not written: No space left"):
        write()
    with replacing(os.devnull) as path:
        path.write_text("something")
    assert os.path.exists("/dev/full") and os.path.exists(os.devnull)
