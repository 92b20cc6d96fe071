"""Hypotheses by names: what a text means, which hypotheses are tested, and one clear error for the others."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastgd

N = 300
COLUMNS = ["a", "b", "two words", "x=y", "2a", "a-b", "e3", "it's", 'q"q', "ab", "a,b", "größe", "x.1", "a[1]"]


def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.standard_normal(N) for name in COLUMNS})
    frame["carrier"] = rng.choice(["AA", "UA", "DL"], N)
    frame["one"] = rng.choice(["p", "q r"], N)
    return frame, frame["a"] + frame["b"] + rng.standard_normal(N)


FRAME, Y = table()
INFERENCE = fastgd.fit(FRAME, Y, covariance="classical").inference
NAMES = INFERENCE.names


def row(**factors):
    return row_of(factors)


def row_of(factors):
    R = np.zeros(len(NAMES))
    for name, factor in factors.items():
        R[NAMES.index(name)] = factor
    return R


def by_hand(text, rows, values, inference=INFERENCE):
    """Whether a text and a matrix give the same test."""
    found, expected = inference.wald_test(text), inference.wald_test((rows, values))
    np.testing.assert_allclose(found.statistic, expected.statistic, rtol=1e-9)
    np.testing.assert_allclose(found.p_value, expected.p_value, rtol=1e-9)
    assert (found.df, found.df_denominator) == (expected.df, expected.df_denominator)


def test_names_of_coefficients():
    expected = (*COLUMNS, "carrier[DL]", "carrier[UA]", "one[q r]", "intercept")
    assert INFERENCE.names == expected


ONE = [
    ("a = b", {"a": 1, "b": -1}, 0),
    ("a=b", {"a": 1, "b": -1}, 0),
    ("  a   =b ", {"a": 1, "b": -1}, 0),
    ("a - b", {"a": 1, "b": -1}, 0),
    ("a", {"a": 1}, 0),
    ("2 a + b = 1", {"a": 2, "b": 1}, 1),
    ("2 * a + b = 1", {"a": 2, "b": 1}, 1),
    ("2*a+b=1", {"a": 2, "b": 1}, 1),
    ("3b = 1", {"b": 3}, 1),
    ("-a = -1", {"a": 1}, 1),
    ("- a + b", {"a": -1, "b": 1}, 0),
    ("a = +1", {"a": 1}, 1),
    ("3 = a", {"a": 1}, 3),
    ("a = b + 1 - b", {"a": 1}, 1),
    ("a + a = 1", {"a": 2}, 1),
    ("1 + a = 2", {"a": 1}, 1),
    ("1e-3 a = 2E2", {"a": 1e-3}, 200),
    ("1.5e+2 a = .5", {"a": 150}, 0.5),
    ("a = 1e-3", {"a": 1}, 1e-3),
    ("2. a = 0", {"a": 2}, 0),
    ("2a = 0", {"2a": 1}, 0),
    ("2 a = 0", {"a": 2}, 0),
    ("2 2a = 0", {"2a": 2}, 0),
    ("'2a' = 0", {"2a": 1}, 0),
    ("two words = 0", {"two words": 1}, 0),
    ("'two words' = 0", {"two words": 1}, 0),
    ('"two words" = a', {"two words": 1, "a": -1}, 0),
    ("x=y = 1", {"x=y": 1}, 1),
    ("'x=y' = 1", {"x=y": 1}, 1),
    ("a-b = 0", {"a-b": 1}, 0),
    ("a -b = 0", {"a": 1, "b": -1}, 0),
    ("a,b = 0", {"a,b": 1}, 0),
    ("e3 = 1e3", {"e3": 1}, 1000),
    ("it's = 0", {"it's": 1}, 0),
    ('"it\'s" = 0', {"it's": 1}, 0),
    ('q"q = 0', {'q"q': 1}, 0),
    ("'q\"q' = 0", {'q"q': 1}, 0),
    ("ab = a", {"ab": 1, "a": -1}, 0),
    ("größe = 0", {"größe": 1}, 0),
    ("x.1 = .1", {"x.1": 1}, 0.1),
    ("a[1] = a", {"a[1]": 1, "a": -1}, 0),
    ("carrier[UA] = carrier[DL]", {"carrier[UA]": 1, "carrier[DL]": -1}, 0),
    ("2 carrier[UA] - carrier[DL] = 1", {"carrier[UA]": 2, "carrier[DL]": -1}, 1),
    ("'carrier[UA]'", {"carrier[UA]": 1}, 0),
    ("one[q r] = 0", {"one[q r]": 1}, 0),
    ("one = 0", {"one[q r]": 1}, 0),
    ("one + a = 0", {"one[q r]": 1, "a": 1}, 0),
    ("intercept = 0.5", {"intercept": 1}, 0.5),
    ("2*(a + b) = 0", {"a": 2, "b": 2}, 0),
    ("2 (a + b) = 1", {"a": 2, "b": 2}, 1),
    ("(a + b) * 2 = 1", {"a": 2, "b": 2}, 1),
    ("(a - b) / 4 = 1", {"a": 0.25, "b": -0.25}, 1),
    ("(a) = 0", {"a": 1}, 0),
    ("-(a - (b - 2 (ab + 1))) = 0", {"a": -1, "b": 1, "ab": -2}, 2),
    ("(1 + 1) * a = (3 - 1) / 2", {"a": 2}, 1),
    ("1/2 a = 2/4", {"a": 0.5}, 0.5),
    ("2 * 3 a = -1 * -2", {"a": 6}, 2),
    ("a * 2 = 1", {"a": 2}, 1),
    ("a / 2 * 3 = 1", {"a": 1.5}, 1),
    ("(two words + 'x=y') = (a-b)", {"two words": 1, "x=y": 1, "a-b": -1}, 0),
]


@pytest.mark.parametrize(("text", "factors", "value"), ONE, ids=[each[0] for each in ONE])
def test_one_equation(text, factors, value):
    by_hand(text, row_of(factors), value)


SEVERAL = [
    ("a = 0, b = 0", [{"a": 1}, {"b": 1}], [0, 0]),
    ("a, b", [{"a": 1}, {"b": 1}], [0, 0]),
    ("a , b", [{"a": 1}, {"b": 1}], [0, 0]),
    ("a = b, b = ab, intercept = 1", [{"a": 1, "b": -1}, {"b": 1, "ab": -1}, {"intercept": 1}], [0, 0, 1]),
    ("carrier = 0", [{"carrier[DL]": 1}, {"carrier[UA]": 1}], [0, 0]),
    ("carrier", [{"carrier[DL]": 1}, {"carrier[UA]": 1}], [0, 0]),
    ("'carrier' = 0", [{"carrier[DL]": 1}, {"carrier[UA]": 1}], [0, 0]),
    ("2 carrier = 1", [{"carrier[DL]": 2}, {"carrier[UA]": 2}], [1, 1]),
    ("carrier = a", [{"carrier[DL]": 1, "a": -1}, {"carrier[UA]": 1, "a": -1}], [0, 0]),
    ("0 = carrier", [{"carrier[DL]": 1}, {"carrier[UA]": 1}], [0, 0]),
    ("carrier = 0, a = 1", [{"carrier[DL]": 1}, {"carrier[UA]": 1}, {"a": 1}], [0, 0, 1]),
    ("a,b, a, b", [{"a,b": 1}, {"a": 1}, {"b": 1}], [0, 0, 0]),
    ("a = b = ab", [{"a": 1, "b": -1}, {"b": 1, "ab": -1}], [0, 0]),
    ("a = b = 0", [{"a": 1}, {"b": 1}], [0, 0]),
    ("a == b = 2 = ab, e3", [{"a": 1, "b": -1}, {"b": 1}, {"ab": 1}, {"e3": 1}], [0, 2, 2, 0]),
    ("carrier = a = 1", [{"carrier[DL]": 1, "a": -1}, {"carrier[UA]": 1, "a": -1}, {"a": 1}], [0, 0, 1]),
    ("carrier[DL] = carrier[UA] = 0", [{"carrier[DL]": 1}, {"carrier[UA]": 1}], [0, 0]),
    ("-2 (carrier) = 1", [{"carrier[DL]": -2}, {"carrier[UA]": -2}], [1, 1]),
]


@pytest.mark.parametrize(("text", "rows", "values"), SEVERAL, ids=[each[0] for each in SEVERAL])
def test_several_equations(text, rows, values):
    by_hand(text, np.array([row_of(each) for each in rows]), values)


PLAIN = ["a", "b", "ab", "two words", "carrier[UA]", "intercept"]
FACTORS = st.dictionaries(st.sampled_from(PLAIN), st.integers(1, 99).map(lambda k: k / 8), min_size=1, max_size=4)


@given(FACTORS, FACTORS, st.integers(-20, 20), st.integers(-20, 20))
def test_a_text_means_the_matrix_that_is_made_of_its_terms(left, right, a, b):
    R = row_of(left) - row_of(right)
    if not R.any():
        return
    sides = [" + ".join(f"{factor} {name}" for name, factor in side.items()) for side in (left, right)]
    by_hand(f"{sides[0]} + {a} = {sides[1]} + {b}".replace("+ -", "- "), R, b - a)


UNKNOWN = {
    "zz = 0": "zz",
    "a = zz": "zz",
    "2 zz + a = 1": "zz",
    "carrier[XX] = 0": "carrier[XX]",
    "'no such' = 0": "no such",
    "(zz) = 0": "zz",
    "2*(a + zz) = 0": "zz",
    "log(a) = 0": "log(a)",
    "2 (log(a) + b) = 0": "log(a)",
    "a = b = c": "c",
    "A = 0": "A",
    "a = 0, zz": "zz",
}


@pytest.mark.parametrize("text", UNKNOWN)
def test_unknown_names_are_named(text):
    with pytest.raises(ValueError, match=re.escape(f"{UNKNOWN[text]!r} is no coefficient; there are")):
        INFERENCE.wald_test(text)


WRONG = [
    ("a =", "each = needs something on both sides"),
    ("= a", "each = needs something on both sides"),
    ("a = = b", "each = needs something on both sides"),
    ("a = b =", "each = needs something on both sides"),
    ("", "there is no equation before or after a comma"),
    ("a = b,", "there is no equation before or after a comma"),
    (",", "there is no equation before or after a comma"),
    ("(a + b = 0", "a parenthesis is not closed on its side of an equation"),
    ("(a = b)", "a parenthesis is not closed on its side of an equation"),
    ("2 (a, b) = 0", "a parenthesis is not closed on its side of an equation"),
    ("a + b) = 0", "')' is not expected there"),
    ("() = 0", "')' is not expected there"),
    ("a (b) = 0", "'(' is not expected there"),
    ("(a) b = 0", "'b' is not expected there"),
    ("a * b = 0", "coefficients can only be multiplied by numbers"),
    ("(a + 1) * (b + 1) = 0", "coefficients can only be multiplied by numbers"),
    ("2 / a = 0", "only numbers other than 0 can be divided by"),
    ("a / 0 = 0", "only numbers other than 0 can be divided by"),
    ("a / (b - b) = 0", "only numbers other than 0 can be divided by"),
    ("1e999 a = 0", "a number in it is too large"),
    ("1e300 * 1e300 a = 0", "a number in it is too large"),
    ("2 * = 0", "a sign has nothing after it"),
    ("2 (a + ) = 0", "')' is not expected there"),
    ("(carrier + 1) = 0", "carrier is a category; it has to stand alone"),
    ("carrier[AA] = 0", "carrier[AA] is the reference level of carrier: its coefficient is 0 by definition"),
    ("carrier[UA] = carrier[AA]", "carrier[AA] is the reference level of carrier: its coefficient is 0"),
    ("'carrier[AA]' = 0", "carrier[AA] is the reference level of carrier: its coefficient is 0"),
    ("2*(one[p] + a) = 0", "one[p] is the reference level of one: its coefficient is 0"),
    ("a + = 1", "a sign has nothing after it"),
    ("a = -", "a sign has nothing after it"),
    ("a b = 0", "'b' is not expected there"),
    ("a 2 = 0", "'2' is not expected there"),
    ("2 3 a = 0", "'3' is not expected there"),
    ("* a = 0", "is not expected there"),
    ("carrier + a = 0", "carrier is a category; it has to stand alone"),
    ("1 = 1", "some equation has no coefficient in it"),
    ("a = a", "some equation has no coefficient in it"),
    ("a = 0, 2 = 2", "some equation has no coefficient in it"),
    ("a = 0, a = 1", "contradict each other"),
    ("a = b, b = ab, ab = a + 1", "contradict each other"),
    ("carrier = 0, carrier = 1", "contradict each other"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[each[0] for each in WRONG])
def test_what_is_no_hypothesis_is_refused(text, message):
    with pytest.raises(ValueError, match=f"hypothesis.*{re.escape(message)}"):
        INFERENCE.wald_test(text)


def test_a_level_of_each_category_may_have_a_coefficient():
    inference = fastgd.fit(FRAME[["a", "carrier"]], Y, l2=0.1, drop_first=False, covariance="penalised").inference
    by_hand("carrier[AA] = 0", [0.0, 1.0, 0.0, 0.0, 0.0], 0.0, inference)
    assert inference.wald_test("carrier = 0").df == 2  # penalised coefficients of all levels add up to 0


def test_parentheses_of_names():
    frame = FRAME[["a", "b"]].rename(columns={"a": "size (cm)", "b": "log(x)"}).assign(cm=FRAME["ab"])
    inference = fastgd.fit(frame, Y, covariance="classical").inference
    by_hand("2*(size (cm) + log(x)) = cm", [2.0, 2.0, -1.0, 0.0], 0.0, inference)


def test_reference_levels_of_loaded_models(tmp_path):
    result = fastgd.fit(FRAME[["a", "carrier"]], Y, covariance="classical")
    result.save(tmp_path / "m.json")
    with pytest.raises(ValueError, match="is the reference level of carrier"):
        fastgd.load(tmp_path / "m.json").inference.wald_test("carrier[AA] = 0")


P = len(NAMES)
MATRICES = {
    "few columns": (np.eye(3), "of shape \\(3, 3\\)"),
    "long r": ((np.eye(P)[:1], [0.0, 0.0]), "r of \\(2,\\)"),
    "short r": ((np.eye(P), [0.0, 0.0]), "r of \\(2,\\)"),
    "cube": (np.zeros((1, 1, P)), "of shape \\(1, 1, "),
    "nan": (np.full(P, np.nan), "must be finite"),
    "infinite r": ((np.eye(P)[:1], [np.inf]), "must be finite"),
    "zeros": (np.zeros(P), "contradict each other, or the covariance cannot"),
    "no rows": (np.zeros((0, P)), "contradict each other, or the covariance cannot"),
}


@pytest.mark.parametrize("given_", MATRICES)
def test_matrices_that_do_not_fit_are_refused(given_):
    matrix, message = MATRICES[given_]
    with pytest.raises(ValueError, match=f"hypothesis: .*{message}"):
        INFERENCE.wald_test(matrix)


REDUNDANT = [
    ("a = b, b = a", "a = b", 1),
    ("a = b, 2 a = 2 b, a = 0", "a = b, a = 0", 2),
    ("a = 1, b = 2, a + b = 3", "a = 1, b = 2", 2),
    ("1e-9 a = 1e-9 b, a = b", "a = b", 1),
]


@pytest.mark.parametrize(("several", "few", "df"), REDUNDANT)
def test_hypotheses_that_follow_from_others_do_not_count(several, few, df):
    test, expected = INFERENCE.wald_test(several), INFERENCE.wald_test(few)
    assert test.df == df
    np.testing.assert_allclose(test.statistic, expected.statistic, rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-200, 1e-9, 1.0, 1e12])
def test_the_scale_of_equations_does_not_matter(scale):
    one = INFERENCE.wald_test((scale * np.array([row(a=1), row(b=1, a=-1)]), [scale, 0.0]))
    other = INFERENCE.wald_test("a = 1, b = a")
    assert one.df == other.df == 2
    np.testing.assert_allclose(one.statistic, other.statistic, rtol=1e-9)


def test_one_hypothesis_is_the_square_of_t():
    for j, name in enumerate(NAMES):
        test = INFERENCE.wald_test(f'"{name}" = 0' if '"' not in name else f"'{name}' = 0")
        np.testing.assert_allclose(test.statistic, INFERENCE.statistic[j] ** 2, rtol=1e-9)
        np.testing.assert_allclose(test.p_value, INFERENCE.p_values[j], rtol=1e-9)
        assert (test.df, test.df_denominator, test.distribution) == (1, INFERENCE.df_resid, "F")


def test_all_columns_at_once_are_the_f_test():
    test = INFERENCE.wald_test(np.eye(P)[:-1])
    np.testing.assert_allclose(test.statistic, INFERENCE.f_test().statistic, rtol=1e-8)
    np.testing.assert_allclose(test.p_value, INFERENCE.f_test().p_value, rtol=1e-8)


@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
@pytest.mark.parametrize("covariance", ["classical", "HC1"])
def test_redundant_columns_have_no_test_of_their_own(covariance):
    X = np.column_stack((FRAME[["a", "b"]], FRAME["a"]))
    inference = fastgd.fit(X, Y, covariance=covariance).inference
    for text in ("x2 = 0", "x2 = x1", "x1 = 2 x2, x2"):
        with pytest.raises(ValueError, match="hypothesis: x2 is redundant"):
            inference.wald_test(text)
    assert inference.wald_test("x1 = 0, x2 = 0").statistic == inference.wald_test("x1 = 0").statistic
    assert inference.f_test().df == 2


def test_names_of_arrays():
    X = FRAME[COLUMNS[:12]].to_numpy()
    inference = fastgd.fit(X, Y, covariance="HC1").inference
    R = np.zeros(13)
    R[[1, 10]] = 1.0, -1.0
    by_hand("x1 = x10", R, 0.0, inference)
    assert inference.wald_test("x1 = x10").distribution == "chi2"
    with pytest.raises(ValueError, match="'x12' is no coefficient"):
        inference.wald_test("x12 = 0")


def test_without_an_intercept_there_is_none_to_test():
    inference = fastgd.fit(FRAME[["a", "b"]], Y, covariance="classical", intercept=False).inference
    with pytest.raises(ValueError, match="'intercept' is no coefficient; there are a, b"):
        inference.wald_test("intercept = 0")


def test_of_several_classes_hypotheses_hold_for_each():
    X, classes = FRAME[["a", "b"]], np.digitize(Y, [-1.0, 1.0])
    inference = fastgd.fit(X, classes, loss="logistic", covariance="classical").inference
    test = inference.wald_test("a = b")
    R = np.kron(np.eye(2), [1.0, -1.0, 0.0])
    away = R @ inference.coef.ravel()
    np.testing.assert_allclose(test.statistic, away @ np.linalg.solve(R @ inference.covariance @ R.T, away), rtol=1e-9)
    assert (test.df, test.distribution) == (2, "chi2")
