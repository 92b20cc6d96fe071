"""What is said is enough to act on: limits with their numbers, commands in their own words, odd columns by name."""

from types import SimpleNamespace

import numpy as np
import pytest
from internals import Outcome, describe, main

import fastgd

pytestmark = pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
RNG = np.random.default_rng(0)
X = RNG.standard_normal((200, 3))
Y = X @ [1.0, 2.0, 3.0] + RNG.standard_normal(200)


def write(path, **columns):
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.mark.parametrize("call", ["fit", "minimize"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_iter": 2}, " max_iter=2."),
        ({"time_limit": 0.0}, " time_limit=0 s."),
        ({"callback": lambda row: row.iteration == 1}, "start=result goes on."),
    ],
)
def test_limits_are_named(call, options, said):
    options = {"solver": "gd", "learning_rate": 1e-3, **options}
    result = (
        fastgd.fit(X, Y, **options) if call == "fit" else fastgd.minimize(lambda x: (x @ x, 2 * x), [1.0], **options)
    )
    assert said in result.message
    assert ("goes on" in said) or result.message.endswith(said)


@pytest.mark.parametrize("status", fastgd.Status)
def test_the_command_line_speaks_of_its_own_options(status):
    outcome = Outcome(status, reason="Total l2 is 3.", facts="After 2 iterations.", limit=("max_iter", 3))
    ended = SimpleNamespace(outcome=outcome)
    said = describe(ended)
    sentence = said.partition(" Total l2 is 3.")[0]
    assert not any(text in sentence for text in ("_", "='", "start=result")) or status.name == "STOPPED"
    assert said.endswith(" Total l2 is 3. After 2 iterations. --max-iter 3.")  # names of columns stay as they are
    assert outcome.text().endswith(" Total l2 is 3. After 2 iterations. max_iter=3.")
    assert outcome.text().startswith(status.value)


def test_a_fit_that_did_not_converge_is_told_once_and_in_options(tmp_path, capsys):
    data = write(tmp_path / "d.csv", a=X[:, 0], max_iter=X[:, 1], twice=2 * X[:, 1], y=Y)
    assert main(["fit", data, "--target", "y", "--solver", "gd", "--max-iter", "1"]) == 1
    printed = capsys.readouterr()
    assert "status                Max iter\n" in printed.out and "Stopped" not in printed.out
    assert printed.err.startswith("fastgd: Stopped at --max-iter before reaching --tol: raise --max-iter, ")
    assert (
        " s. --max-iter 1. Redundant" in printed.err
        and "columns before: twice." in printed.err
        and printed.err.count("\n") == 1
    )
    assert main(["fit", data, "--target", "y", "--solver", "gd", "--learning-rate", "1000"]) == 1
    assert "--learning-rate auto, or --solver lbfgs" in capsys.readouterr().err


def test_redundant_columns_of_a_converged_fit_are_in_the_table(tmp_path, capsys):
    data = write(tmp_path / "d.csv", a=X[:, 0], b=X[:, 1], twice=2 * X[:, 1], y=Y)
    assert main(["fit", data, "--target", "y", "--solver", "lbfgs"]) == 0
    printed = capsys.readouterr()
    assert "redundant             twice\n" in printed.out and printed.err == ""
    assert main(["fit", data, "--target", "y", "--features", "a,b"]) == 0
    assert "redundant" not in capsys.readouterr().out


def test_a_column_of_numbers_with_a_typo_is_no_category(tmp_path, capsys):
    typo = [f"{a:.4f}" for a in X[:, 0]]
    typo[17] = "1.2.3"
    data = write(tmp_path / "d.csv", a=typo, b=X[:, 1], y=Y)
    arguments = ["fit", data, "--target", "y", "--l2", "0.1"]
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert f"fastgd: X: column a has numbers, but '1.2.3' in row 17 of {data}; correct that, or" in printed.err
    assert main([*arguments, "--features", "b"]) == 0
    assert main([*arguments, "--categorical", "a"]) == 0


@pytest.mark.parametrize(
    "levels",
    [
        ["10", "12", "other"],
        ["00501", "00544", "K1A"],
        ["1.1", "1.10", "beta"],
        [f"{k}{'x' * (k % 5 == 0)}" for k in range(100)],
        ["a", "b"],
    ],
)
def test_categories_with_numbers_among_them_stay(levels, tmp_path):
    values = (levels * 200)[:200]
    data = write(tmp_path / "d.csv", c=values, y=Y)
    assert main(["fit", data, "--target", "y", "--l2", "0.1", "--output", str(tmp_path / "m.json")]) == 0
    assert len(fastgd.load(tmp_path / "m.json").features[0].levels) == len(levels)
