"""Summaries show what inference has: as text, as HTML, on the command line, in reports, and as a picture."""

import re
import warnings
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from internals import main
from matplotlib.collections import LineCollection

import fastgd

N = 400


def samples():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"a": rng.standard_normal(N), "<b & c>": 50.0 + rng.standard_normal(N)})
    frame["kind"] = rng.choice(["u", "v", "w"], N)
    frame["group"] = [f"g{k}" for k in rng.integers(0, 30, N)]
    frame["count"] = rng.integers(0, 4, N)
    frame["y"] = frame["a"] - frame["<b & c>"] + (frame["kind"] == "v") + rng.standard_normal(N)
    frame["late"] = np.where(frame["y"] > frame["y"].median() + rng.logistic(size=N), "yes", "no")
    return frame


FRAME = samples()
FEATURES = ["a", "<b & c>", "kind"]
LOGISTIC = {"loss": "logistic"}
Y3 = np.digitize(FRAME["y"], [-50.5, -49.5])


def fitted(y="y", **options):
    y = FRAME[y] if isinstance(y, str) else y
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fastgd.fit(FRAME[FEATURES], y, **{"covariance": "classical", **options})


FITS = {
    "classical": lambda: fitted(),
    "HC3": lambda: fitted(covariance="HC3"),
    "clustered": lambda: fitted(covariance=None, clusters=FRAME["group"]),
    "no intercept": lambda: fitted(intercept=False),
    "penalised": lambda: fitted(covariance="penalised", l2=0.1),
    "two classes": lambda: fitted("late", **LOGISTIC),
    "three classes": lambda: fitted(Y3, **LOGISTIC),
    "two targets": lambda: fitted(np.column_stack((FRAME["y"], FRAME["a"] ** 2))),
    "huber": lambda: fitted(covariance="HC1", loss="huber"),
}


def table_of(text):
    """The rows of a summary's table, as lists of a name and of numbers."""
    lines = text.splitlines()
    rules = [k for k, line in enumerate(lines) if line and set(line) == {"-"}]
    return [line.rsplit(maxsplit=6) for line in lines[rules[1] + 1 : rules[2]]]


def facts_of(result):
    return dict(result.summary().facts)


@pytest.mark.parametrize("fit", FITS)
def test_the_table_has_the_numbers_of_inference(fit):
    result = FITS[fit]()
    inference = result.inference
    size = len(inference.names)
    rows = table_of(str(result.summary(level=0.9)))
    order = [size - 1, *range(size - 1)] if inference.intercept else range(size)
    places = [k * size + j for k in range(max(1, len(inference.outputs))) for j in order]
    prefixes = [f"{output}: " for output in inference.outputs] or [""]
    assert [row[0] for row in rows] == [prefixes[p // size] + inference.names[p % size] for p in places]
    columns = [inference.coef, inference.standard_errors, inference.statistic, inference.p_values]
    columns += [inference.conf_int(0.9)[..., 0], inference.conf_int(0.9)[..., 1]]
    forms = ["{:.6g}", "{:.4g}", "{:.3f}", None, "{:.5g}", "{:.5g}"]
    for column, values in enumerate(columns):
        for row, value in zip(rows, np.ravel(values)[places], strict=True):
            if forms[column]:
                assert row[1 + column] == forms[column].format(value)
            else:
                shown = float(row[4].removeprefix("<"))
                assert abs(shown - value) <= 5e-4 and (value >= 1e-3 or shown <= 1.1 * value or value < 1e-300)


def test_the_heads_say_which_distribution_and_level():
    assert fitted().summary().columns == ("", "coef", "std err", "t", "P>|t|", "[0.025", "0.975]")
    assert fitted(covariance="HC1").summary(level=0.9).columns == (
        *("", "coef", "std err", "z", "P>|z|", "[0.05"),
        "0.95]",
    )


@pytest.mark.parametrize("fit", FITS)
def test_the_facts_are_those_of_inference(fit):
    result = FITS[fit]()
    inference, facts = result.inference, facts_of(result)
    assert facts["observations"] == str(inference.n)
    decimals = 2 if fit == "penalised" else 0
    assert facts["df model"] == f"{inference.df_model:,.{decimals}f}"
    assert facts["df residuals"] == f"{inference.df_resid:,.{decimals}f}"
    assert facts["status"] == "Converged"
    assert facts["loss"].startswith(f"{result.loss:.6g} (")
    measures = {
        "R²": inference.r_squared,
        "adjusted R²": inference.adjusted_r_squared,
        "pseudo R²": inference.pseudo_r_squared,
        "log-likelihood": inference.log_likelihood,
        "AIC": inference.aic,
        "BIC": inference.bic,
        "deviance": inference.deviance,
    }
    for name, values in measures.items():
        if np.isfinite(values).all():
            assert facts[name] == ", ".join(f"{value:.6g}" for value in np.ravel(values)), name
        else:
            assert name not in facts
    assert ("F test" in facts) == (inference.quadratic and fit != "penalised")
    assert ("LR test" in facts) == fit.endswith("classes")
    test = inference.f_test() if "F test" in facts else None
    test = inference.likelihood_ratio_test() if "LR test" in facts else test
    if test is not None and fit != "two targets":
        assert facts.get("F test", facts.get("LR test")).startswith(f"{test.statistic:.6g}, P ")
    text = str(result.summary())
    assert all(value in text for value in facts.values())


def test_effective_degrees_of_freedom_have_two_decimals():
    X = np.random.default_rng(0).standard_normal((20_000, 3))
    y = X[:, 0] + np.random.default_rng(1).standard_normal(20_000)
    for l2, model, left in ((1e-5, "3.00", "19,996.00"), (0.5, "2.40", "19,996.60"), (1e3, "0.006", "19,998.99")):
        facts = facts_of(fastgd.fit(X, y, l2=l2, covariance="penalised"))
        assert (facts["df model"], facts["df residuals"]) == (model, left)
    facts = facts_of(fastgd.fit(X, y, covariance="classical"))
    assert (facts["df model"], facts["df residuals"]) == ("3", "19,996")


def test_covariances_and_clusters_are_named():
    assert facts_of(FITS["clustered"]())["covariance"] == "clustered, 30 clusters"
    assert facts_of(FITS["HC3"]())["covariance"] == "HC3, robust"


def test_tiny_p_values_are_no_zeros():
    x = np.arange(2000.0)
    inference = fastgd.fit(x[:, None], x + np.sin(x), covariance="HC1")
    assert "<1e-300" in str(inference.summary())


def test_without_inference_there_are_coefficients_and_how_to_get_more():
    result = fitted(covariance=None)
    text = str(result.summary())
    assert "give fit covariance='classical'" in text and "fastgd.inference(result, X, y)" in text
    for name, value in zip(["intercept", *result.coef_names], [result.intercept, *result.coef], strict=True):
        assert any(line.split() == [*name.split(), f"{value:.6g}"] for line in text.splitlines()), name
    assert result.summary().rows[0][0] == "intercept"
    assert "std err" not in text
    several = fitted(Y3, covariance=None, **LOGISTIC)
    assert [row[0] for row in several.summary().rows][:2] == ["0: intercept", "0: a"]


@pytest.mark.parametrize("covariance", ["classical", None])
def test_at_most_so_many_coefficients(covariance):
    X = np.random.default_rng(0).standard_normal((300, 120))
    result = fastgd.fit(X, X[:, 0] + np.random.default_rng(1).standard_normal(300), covariance=covariance)
    assert len(result.summary().rows) == 100
    assert [row[0] for row in result.summary(most=3).rows] == ["intercept", "x0", "x1"]
    assert "118 more coefficients: summary(most='all') shows them; " in str(result.summary(most=3))
    if covariance:
        assert "inference.to_frame() is a table of all" in str(result.summary(most=3))
        assert len(result.inference.to_frame()) == 121
    assert len(result.summary(most=500).rows) == len(result.summary(most="all").rows) == 121
    assert "more coefficients" not in str(result.summary(most="all"))


def test_all_coefficients_of_all_classes():
    result = fitted(Y3, **LOGISTIC)
    assert [row[0] for row in result.summary(most="all").rows] == [row[0] for row in result.summary().rows]
    assert len(result.summary(most=2.0).rows) == 4
    assert "6 more coefficients" in str(result.summary(most=2))
    assert "9 more coefficients" in str(fitted(Y3, covariance=None, **LOGISTIC).summary(most=2))


def test_notes_about_redundant_columns():
    with pytest.warns(np.exceptions.RankWarning):
        result = fastgd.fit(FRAME[["a"]].assign(twice=2.0 * FRAME["a"]), FRAME["y"], covariance="classical")
    text = str(result.summary())
    assert "No standard error: twice, constant or combinations of other columns" in text
    assert table_of(text)[2][2:] == ["nan"] * 5


def test_notes_about_separated_classes():
    x = np.arange(20.0)
    X = np.column_stack((x, np.random.default_rng(0).standard_normal(20)))
    with pytest.warns(fastgd.ConvergenceWarning, match="separated"):
        result = fastgd.fit(X, x > 9, loss="logistic", covariance="classical")
    text = str(result.summary())
    assert "Wald tests of them mean nothing" in text and "Separated" in text and "LR test" in text
    assert result.inference.likelihood_ratio_test().p_value < 1e-5


def test_notes_about_what_has_not_converged():
    with pytest.warns(fastgd.ConvergenceWarning):
        result = fastgd.fit(
            FRAME[["a"]], FRAME["late"], loss="logistic", solver="gd", max_iter=1, covariance="classical"
        )
    assert "The fit has not converged, so these numbers are not those of the minimum." in str(result.summary())


class Wellformed(HTMLParser):
    """Knows which elements are open, and collects the texts of cells by rows."""

    def __init__(self):
        super().__init__()
        self.open, self.rows, self.texts = [], [], []

    def handle_starttag(self, tag, attrs):  # noqa: ARG002
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        else:
            self.texts.append(data)


def parsed(html):
    parser = Wellformed()
    parser.feed(html)
    parser.close()
    assert not parser.open
    return parser


@pytest.mark.parametrize("fit", [*FITS, "none"])
def test_html(fit):
    result = fitted(covariance=None) if fit == "none" else FITS[fit]()
    summary = result.summary()
    found = parsed(summary._repr_html_())
    assert found.rows[-len(summary.rows) :] == [[*row] for row in summary.rows]
    facts = [fact for row in found.rows[: -len(summary.rows) - 1] for fact in (tuple(row[:2]), tuple(row[2:]))]
    assert {*summary.facts} <= {*facts}
    assert found.texts == summary.notes
    whole = parsed(result._repr_html_())
    assert whole.texts[0] == result.message and whole.rows == found.rows


def test_frames_have_all_numbers():
    result = FITS["three classes"]()
    frame, inference = result.inference.to_frame(0.9), result.inference
    assert [*frame.columns] == ["output", "name", "coef", "std_err", "statistic", "p_value", "lower", "upper"]
    assert frame["output"].tolist() == np.repeat(["1", "2"], 5).tolist()
    assert frame["name"].tolist() == [*inference.names] * 2
    np.testing.assert_array_equal(frame["coef"], inference.coef.ravel())
    np.testing.assert_array_equal(frame["std_err"], inference.standard_errors.ravel())
    np.testing.assert_array_equal(frame[["lower", "upper"]], inference.conf_int(0.9).reshape(-1, 2))
    assert "output" not in fitted().inference.to_frame()


# The command line.

CHOSEN = ["--features", ",".join(FEATURES)]
PATHS = {"csv": "t.csv", "parquet": "t.parquet", "folder": "parts"}


@pytest.fixture
def data(tmp_path):
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    FRAME.to_parquet(tmp_path / "t.parquet", index=False)
    (tmp_path / "parts").mkdir()
    for number, start in enumerate(range(0, N, 150)):
        FRAME[start : start + 150].to_parquet(tmp_path / "parts" / f"{number}.parquet", index=False)
    return tmp_path


COMMANDS = {
    "summary": ("y", "linear", ["--summary"], {"covariance": "classical"}),
    "covariance": ("y", "linear", ["--covariance", "HC3"], {"covariance": "HC3"}),
    "lower case": ("y", "linear", ["--covariance", "hc1"], {"covariance": "HC1"}),
    "both": ("y", "linear", ["--summary", "--covariance", "HC1"], {"covariance": "HC1"}),
    "cluster": ("y", "linear", ["--cluster", "group"], {"clusters": "group"}),
    "all": ("y", "linear", ["--summary", "--covariance", "cluster", "--cluster", "group"], {"clusters": "group"}),
    "weights": (
        *("y", "linear", ["--summary", "--weight", "count", "--weights", "frequency"]),
        {"covariance": "classical", "weights": "frequency", "sample_weight": "count"},
    ),
    "logistic": ("late", "logistic", ["--summary"], {"covariance": "classical", **LOGISTIC}),
    "penalised": (
        *("y", "linear", ["--covariance", "penalised", "--l2", "0.1"]),
        {"covariance": "penalised", "l2": 0.1},
    ),
}


def without_run(text):
    """The lines of a summary, but for what depends on the machine and on where the samples lie."""
    table = text[text.index("---") :].splitlines()
    words = text[: text.index("---")].split()
    for name in ("seconds", "passes"):
        place = words.index(name)
        del words[place : place + 2]
    return words, table


@pytest.mark.parametrize("source", PATHS)
@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_prints_the_summary(command, source, data, capsys):
    target, model, arguments, options = COMMANDS[command]
    path = data / PATHS[source]
    given = [str(path), "--target", target, "--model", model, *CHOSEN, "--output", str(data / "m.json")]
    assert main(["fit", *given, *arguments]) == 0
    printed = capsys.readouterr().out.split("\n\nwrote ")[0]
    result = fastgd.fit(path, target=target, features=FEATURES, **options)
    assert without_run(printed) == without_run(str(result.summary()))
    assert str(fastgd.load(data / "m.json").summary()).strip() == printed.strip()
    memory = fastgd.fit(FRAME, target=target, features=FEATURES, **options)
    assert without_run(printed)[1] == without_run(str(memory.summary()))[1]


def test_without_these_options_the_command_prints_what_it_did(data, capsys):
    assert main(["fit", str(data / "t.csv"), "--target", "y", *CHOSEN]) == 0
    assert "std err" not in capsys.readouterr().out


WRONG = {
    "--cluster no": "no: .* has no such column",
    "--cluster group --covariance HC1": "covariance='HC1' has no clusters",
    "--covariance cluster": "covariance='cluster' needs clusters",
    "--covariance classical --l2 0.1": "covariance='classical': a penalty",
    "--covariance penalised": "covariance='penalised' is for fits with a penalty",
    "--weights frequency": "weights='frequency': that is for a covariance",
}


@pytest.mark.parametrize("arguments", WRONG)
def test_the_command_refuses_in_one_line(arguments, data, capsys):
    given = ["fit", str(data / "t.csv"), "--target", "y", *CHOSEN]
    assert main([*given, *arguments.split()]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and re.search(WRONG[arguments], error), error


def test_a_report_has_the_summary_and_a_picture(data):
    given = ["fit", str(data / "t.csv"), "--target", "y", *CHOSEN]
    pages = []
    for options in ([], ["--covariance", "HC1"]):
        assert main([*given, *options, "--report", str(data / "r.html")]) == 0
        pages.append((data / "r.html").read_text(encoding="utf-8"))
    assert "How sure the coefficients are" not in pages[0]
    section = pages[1].split("How sure the coefficients are")[1].split("<h2>")[0]
    assert "std err" in section and "HC1, robust" in section and "kind[v]" in section
    assert "Coefficients and their intervals" in section and ("<svg" in section or "data:image" in section)


# The picture.


def drawn(ax):
    """Points and lines of a picture: places, centres, and ends."""
    (lines,) = [each for each in ax.collections if isinstance(each, LineCollection)]
    segments = np.array(lines.get_segments())
    points = next(line for line in ax.lines if line.get_marker() == "o")
    return segments[:, 0, 1], points.get_xdata(), points.get_ydata(), segments[:, :, 0]


@pytest.mark.parametrize("fit", FITS)
def test_points_and_lines_are_at_the_intervals(fit):
    result = FITS[fit]()
    inference, d = result.inference, result.coef.shape[-1]
    ax = fastgd.plots.coefficients(result, level=0.9)
    heights, centres, places, ends = drawn(ax)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    prefixes = [f"{output}: " for output in inference.outputs] or [""]
    names = [prefix + name for prefix in prefixes for name in result.coef_names]
    assert sorted(labels) == sorted(names)
    chosen = [names.index(label) for label in labels]
    coef = (inference.coef[..., :d] * result.spread).ravel()
    intervals = (inference.conf_int(0.9)[..., :d, :] * result.spread[:, None]).reshape(-1, 2)
    np.testing.assert_allclose(centres, coef[chosen])
    np.testing.assert_allclose(ends, intervals[chosen])
    assert heights.tolist() == places.tolist() == [*range(len(names))]
    assert (np.diff(centres) >= 0.0).all()
    assert "90 % interval" in ax.get_xlabel()


def test_at_most_30_are_drawn_those_that_are_surest():
    X = np.random.default_rng(0).standard_normal((300, 50))
    y = X[:, 10:40] @ np.linspace(1.0, 3.0, 30) + np.random.default_rng(1).standard_normal(300)
    result = fastgd.fit(X, y, covariance="classical")
    ax = fastgd.plots.coefficients(result)
    assert {label.get_text() for label in ax.get_yticklabels()} == {f"x{j}" for j in range(10, 40)}
    assert "without 20 that are closer to 0" in ax.get_title()
    assert len(drawn(fastgd.plots.coefficients(result, most=4))[1]) == 4


@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
def test_what_is_not_determined_is_not_drawn():
    result = fastgd.fit(FRAME[["a"]].assign(twice=2.0 * FRAME["a"]), FRAME["y"], covariance="classical")
    ax = fastgd.plots.coefficients(result)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a"]


def test_axes_of_ones_own():
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    assert fastgd.plots.coefficients(fitted(), ax=ax) is ax
