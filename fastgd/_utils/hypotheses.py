"""Linear hypotheses about coefficients, written by names: ``"a = b"``, ``"2 a + b = 1, carrier = 0"``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fastgd._typing import Floats

_NUMBER = r"\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?"

_SIGN = r"(?P<sign>==|[-+*/=,;()])"


LARGEST = 50_000_000
"""Numbers of a matrix that a category stands for, at most."""


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


def parse(
    text: str,
    names: Sequence[str],
    groups: Mapping[str, Sequence[int]],
    references: Mapping[str, str] | None = None,
) -> Hypothesis:
    """Return the hypothesis that a text states.

    Parameters
    ----------
    text : str
        Equations, separated by commas. Each side is a sum of terms, which are products and quotients of numbers, sums
        in parentheses and at most one name; the star may be left out after a number. ``a = b = c`` stands for ``a = b``
        and ``b = c``. An equation without ``=`` says that its side is 0. Names may stand in quotes, and have to where
        they look like something else.
    names : sequence of str
        Of the coefficients.
    groups : mapping of str to sequence of int
        The coefficients of categories, by the names of their columns: such a name, alone on its side, stands for each
        of them.
    references : mapping of str to str, optional
        The columns of reference levels, by what the coefficients of these would be called. They are refused.

    Raises
    ------
    ValueError
        Naming what is not understood.
    """
    known = {name: list(places) for name, places in groups.items()}
    known |= {name: [place] for place, name in enumerate(names)}
    absent = {name: column for name, column in (references or {}).items() if name not in known}
    rows: list[Floats] = []
    try:
        for equation in _split(_tokens(text, known, absent), ","):
            parts = _split(equation, "=")
            if not equation:
                raise ValueError("there is no equation before or after a comma")
            if not all(parts):
                raise ValueError("each = needs something on both sides")
            with np.errstate(over="ignore", invalid="ignore"):
                sides = [_Side(part, known, len(names)).read() for part in parts]
                sides = sides if len(sides) > 1 else [*sides, np.zeros((1, len(names) + 1))]
                rows += [_difference(*pair) for pair in pairwise(sides)]
        whole = np.concatenate(rows)
        if not np.isfinite(whole).all():
            raise ValueError("a number in it is too large")
        if not whole[:, :-1].any(axis=1).all():
            raise ValueError("some equation has no coefficient in it")
    except ValueError as error:
        raise ValueError(f"hypothesis {text!r}: {error}") from None
    return Hypothesis(whole[:, :-1], -whole[:, -1])


def _difference(left: Floats, right: Floats) -> Floats:
    """Return what is 0 if two sides are equal."""
    if 1 not in (len(left), len(right)) and len(left) != len(right):
        raise ValueError(f"sides of an equation stand for {len(left)} and {len(right)} coefficients")
    return left - right


def _tokens(text: str, known: Mapping[str, Sequence[int]], references: Mapping[str, str]) -> list[Token]:
    """Return what a text consists of: the longest name that is there comes first, names of digits only in quotes."""
    candidates = (name for name in (*known, *references) if name and not re.fullmatch(_NUMBER, name))
    names = "|".join(map(re.escape, sorted(candidates, key=len, reverse=True))) or r"(?!)"
    kinds = rf"(?P<quoted>\"[^\"]*\"|'[^']*')|(?P<name>(?:{names})(?![\w\[]))|(?P<number>{_NUMBER})|{_SIGN}"
    found = []
    for match in re.finditer(rf"\s*(?:{kinds}|(?P<other>\S))", text):
        kind = match.lastgroup or "other"
        token = match.group(kind)
        if kind == "quoted":
            kind, token = "name", token[1:-1]
        if kind == "name" and token in references:
            raise ValueError(
                f"{token} is the reference level of {references[token]}: its coefficient is 0 by definition, and those "
                "of other levels are differences from it"
            )
        if kind == "other" or (kind == "name" and token not in known):
            rest = token if kind == "name" else _word(text[match.start(kind) :])
            some = ", ".join([*known][:10]) + (", ..." if len(known) > 10 else "")
            raise ValueError(f"{rest!r} is no coefficient; there are {some}")
        found.append(Token(kind, {"==": "=", ";": ","}.get(token, token) if kind == "sign" else token))
    return found


def _word(text: str) -> str:
    """Return what a text begins with, up to a sign, or to a parenthesis that was opened before it."""
    word = re.split(r"[-+*/=,;]", text)[0].strip()
    while word.endswith(")") and word.count(")") > word.count("("):
        word = word[:-1].strip()
    return word or text[0]


def _split(tokens: Sequence[Token], sign: str) -> list[list[Token]]:
    """Return the parts between signs."""
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token == ("sign", sign):
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


class _Sum(NamedTuple):
    """What a part of a side stands for.

    Attributes
    ----------
    rows : ndarray of shape (1, coefficients + 1), or with a row for each coefficient of a category
        Factors of the coefficients, and a constant after them.
    category : str
        The name of the category that it is, or is a multiple of; empty if there is none.
    """

    rows: Floats
    category: str = ""

    @property
    def number(self) -> float | None:
        """What it is if it is a number."""
        return None if self.rows[:, :-1].any() else float(self.rows[0, -1])

    def times(self, factor: float) -> _Sum:
        """Return a multiple."""
        return self._replace(rows=factor * self.rows)


class _Side:
    """Reads one side of an equation, from its tokens."""

    def __init__(self, tokens: Sequence[Token], known: Mapping[str, Sequence[int]], size: int) -> None:
        self.tokens = [*tokens, Token("end", "")]
        self.known = known
        self.size = size
        self.place = 0

    def read(self) -> Floats:
        """Return what the side stands for: rows of factors of the coefficients, and a constant after them."""
        found = self._sum()
        if self._ahead.kind != "end":
            raise ValueError(f"{self._ahead.text!r} is not expected there")
        return found.rows

    @property
    def _ahead(self) -> Token:
        return self.tokens[self.place]

    @property
    def _after_number(self) -> bool:
        return self.tokens[self.place - 1].kind == "number"

    def _take(self) -> Token:
        self.place += 1
        return self.tokens[self.place - 1]

    def _sum(self) -> _Sum:
        """Read terms with + and − between them."""
        found = self._term()
        while self._ahead.text in ("+", "-") and self._ahead.kind == "sign":
            sign = 1.0 if self._take().text == "+" else -1.0
            other = self._term()
            if category := found.category or other.category:
                raise ValueError(f"{category} is a category; it has to stand alone")
            found = _Sum(found.rows + sign * other.rows)
        return found

    def _term(self) -> _Sum:
        """Read factors with stars and slashes between them; after a number the star may be left out."""
        found = self._factor()
        while True:
            if self._ahead == ("sign", "/"):
                self._take()
                by = self._factor().number
                if not by:
                    raise ValueError("only numbers other than 0 can be divided by")
                found = found._replace(rows=found.rows / by)
                continue
            if self._ahead == ("sign", "*"):
                self._take()
            elif not (self._after_number and (self._ahead.kind == "name" or self._ahead == ("sign", "("))):
                return found
            other = self._factor()
            if found.number is not None:
                found = other.times(found.number)
            elif other.number is not None:
                found = found.times(other.number)
            else:
                raise ValueError("coefficients can only be multiplied by numbers")

    def _factor(self) -> _Sum:
        """Read a number, a name or a sum in parentheses, with signs before it."""
        kind, text = self._take()
        if kind == "end":
            raise ValueError("a sign has nothing after it")
        if kind == "sign" and text in ("+", "-"):
            return self._factor().times(1.0 if text == "+" else -1.0)
        if kind == "sign" and text == "(":
            found = self._sum()
            if self._take() != ("sign", ")"):
                raise ValueError("a parenthesis is not closed on its side of an equation")
            return found
        if kind == "sign":
            raise ValueError(f"{text!r} is not expected there")
        places, factor = ([self.size], float(text)) if kind == "number" else (self.known[text], 1.0)
        if len(places) > 1 and len(places) * self.size > LARGEST:
            raise ValueError(f"{text} has {len(places):,} levels, too many to test at once; name some of them")
        rows = np.zeros((len(places), self.size + 1))
        rows[np.arange(len(places)), places] = factor
        return _Sum(rows, text if len(places) > 1 else "")
