# ruff: noqa: S105  a token is a part of a text here
"""Linear hypotheses about coefficients, written by names: ``"a = b"``, ``"2 a + b = 1, carrier = 0"``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fastgd._typing import Floats

_NUMBER = r"\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?"

_SIGN = r"(?P<sign>==|[-+*/=,;])"


class Hypothesis(NamedTuple):
    """``R β = r``: a row for each equation.

    Attributes
    ----------
    matrix : ndarray of shape (equations, coefficients)
    values : ndarray of shape (equations,)
    """

    matrix: Floats
    values: Floats


class Token(NamedTuple):
    """A part of a text: a name, a number or a sign."""

    kind: str
    text: str


def parse(text: str, names: Sequence[str], groups: Mapping[str, Sequence[int]]) -> Hypothesis:
    """Return the hypothesis that a text states.

    Parameters
    ----------
    text : str
        Equations, separated by commas. Each side is a sum of terms: numbers and at most one name, with ``*`` or ``/``
        between them; the star may be left out before a name. An equation without ``=`` says that its side is 0. Names
        may stand in quotes, and have to where they look like something else.
    names : sequence of str
        Of the coefficients.
    groups : mapping of str to sequence of int
        The coefficients of categories, by the names of their columns: such a name, alone on its side, stands for each
        of them.

    Raises
    ------
    ValueError
        Naming what is not understood.
    """
    known = {name: list(places) for name, places in groups.items()}
    known |= {name: [place] for place, name in enumerate(names)}
    rows: list[Floats] = []
    try:
        for equation in _split(_tokens(text, known), ","):
            sides = _split(equation, "=")
            if len(sides) > 2 or not all(sides):
                raise ValueError("one = with something on both sides is needed in each equation")
            left = _side(sides[0], known, len(names))
            right = _side(sides[1], known, len(names)) if len(sides) == 2 else np.zeros((1, len(names) + 1))
            if 1 not in (len(left), len(right)) and len(left) != len(right):
                raise ValueError(f"sides of an equation stand for {len(left)} and {len(right)} coefficients")
            rows.append(left - right)
        whole = np.concatenate(rows)
        if not whole[:, :-1].any(axis=1).all():
            raise ValueError("some equation has no coefficient in it")
    except ValueError as error:
        raise ValueError(f"hypothesis {text!r}: {error}") from None
    return Hypothesis(whole[:, :-1], -whole[:, -1])


def _tokens(text: str, known: Mapping[str, Sequence[int]]) -> list[Token]:
    """Return what a text consists of: the longest name that is there comes first, names of digits only in quotes."""
    ordered = sorted((name for name in known if name and not re.fullmatch(_NUMBER, name)), key=len, reverse=True)
    names = "|".join(map(re.escape, ordered)) or r"(?!)"
    kinds = (
        rf"(?P<quoted>\"[^\"]*\"|'[^']*')|(?P<name>(?:{names})(?![\w\[]))|(?P<number>{_NUMBER})|(?P<sign>==|[-+*/=,;])"
    )
    found = []
    for match in re.finditer(rf"\s*(?:{kinds}|(?P<other>\S))", text):
        kind = match.lastgroup or "other"
        token = match.group(kind)
        if kind == "quoted":
            kind, token = "name", token[1:-1]
        if kind == "other" or (kind == "name" and token not in known):
            rest = token if kind == "name" else re.split(r"[-+*/=,;]", text[match.start(kind) :])[0].strip() or token
            some = ", ".join([*known][:10]) + (", ..." if len(known) > 10 else "")
            raise ValueError(f"{rest!r} is no coefficient; there are {some}")
        found.append(Token(kind, {"==": "=", ";": ","}.get(token, token) if kind == "sign" else token))
    return found


def _split(tokens: Sequence[Token], sign: str) -> list[list[Token]]:
    """Return the parts between signs."""
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token == ("sign", sign):
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _side(tokens: Sequence[Token], known: Mapping[str, Sequence[int]], size: int) -> Floats:
    """Return what a side stands for: rows of factors of the coefficients, and a constant after them."""
    terms: list[tuple[float, str | None]] = []
    factor, name, before = 1.0, None, "+"
    for kind, token in [*tokens, Token("sign", "end")]:
        if kind == "sign":
            if token == "end" and before not in ("name", "number"):
                raise ValueError("a sign has nothing after it")
            if before in ("*", "/") or (token in ("*", "/") and before in ("+", "-")):
                raise ValueError(f"{token!r} is not expected there")
            if token in ("+", "-", "end") and before not in ("+", "-"):
                terms.append((factor, name))
                factor, name = 1.0, None
            factor = -factor if token == "-" else factor
            before = token
        elif kind == "name" and name is None and before != "/":
            name, before = token, kind
        elif kind == "number" and before in ("+", "-", "*", "/"):
            factor = factor / float(token) if before == "/" else factor * float(token)
            before = kind
        else:
            raise ValueError(f"{token!r} is not expected there")
    rows = np.zeros((1, size + 1))
    for number, term in terms:
        places = [size] if term is None else known[term]
        if len(places) > 1:
            if len(terms) > 1:
                raise ValueError(f"{term} is a category; it has to stand alone")
            rows = np.zeros((len(places), size + 1))
            rows[np.arange(len(places)), places] = number
        else:
            rows[:, places[0]] += number
    return rows
