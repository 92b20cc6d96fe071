"""The report of a fit as an HTML page: coefficients, plots of the fit and of the descent, and the command."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastgd import plots
from fastgd._cli.output import coefficient_rows, duality_gap, made_zeros
from fastgd._linear.result import FitResult

_COEFFICIENTS = 200
"""The maximum number of coefficients in the table."""
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0.2rem; }
h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ccc; }
.status { border-left: 0.5rem solid; padding: 0.6rem 1rem; background: #f4f4f4; }
.good { border-color: #1b7f4d; } .bad { border-color: #b3261e; }
table { border-collapse: collapse; } td, th { padding: 0.15rem 1.2rem 0.15rem 0; text-align: left; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
tbody tr:nth-child(odd) { background: #f8f8f8; }
img { max-width: 100%; height: auto; }
pre { background: #f4f4f4; padding: 0.8rem; overflow-x: auto; white-space: pre-wrap; }
"""


def page(result: FitResult, X: Any, y: ArrayLike, *, target: str, title: str, repeat: str) -> str:
    """Return a report of a fit as a self-contained HTML page.

    Parameters
    ----------
    result : FitResult
        The fit.
    X : array-like of shape (n, d), or a table
        The samples from which the fit is judged, those of the fit or others.
    y : array-like of shape (n,)
        The targets of these samples.
    target : str
        The name of y.
    title : str
        The title of the page.
    repeat : str
        The command or call that fits this model again.

    Returns
    -------
    str
    """
    history, zeros = result.history, made_zeros(result)
    facts = [
        ("rows", f"{result.rows:,}"),
        ("coefficients", f"{result.coef.size:,}{f', of which {zeros:,} are 0' if zeros else ''}"),
        ("loss", f"{result.loss:.8g} ({result.settings.loss['name']}, penalty included)"),
        ("solver", f"{result.settings.solver} ({result.settings.solver_reason})"),
        ("passes over the data", f"{history.passes[-1]:.4g}"),
        ("seconds", f"{history.seconds[-1]:.3g}"),
        ("duality gap", f"{duality_gap(result)}{_tolerance(result)}")
        if duality_gap(result)
        else ("gradient norm", f"{history.gradient_norm[-1]:.3g}{_tolerance(result)}"),
        ("intercept", ", ".join(f"{b:.6g}" for b in np.ravel(result.intercept))),
    ]
    if len(history) > 1:
        descent = _picture(plots.history(history), "Loss, gradient norm, step and ratio of decreases against passes")
    else:
        descent = "<p>There was no way to go: the first evaluation was the last one.</p>"
    if np.ndim(result.intercept):
        judged = "<p>Calibration is drawn for models of one target or two classes.</p>"
    else:
        judged = _picture(plots.fit(result, X, y, target=target), "Predicted against actual")
        if result.classes is None:
            judged += _picture(plots.residuals(result, X, y), "Residuals against predictions")
    settings = json.dumps({**dict(result.settings), "fastgd": result.version}, indent=1)
    css_class = "good" if result.converged else "bad"
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(title)}</title><style>{_STYLE}</style></head>
<body>
<h1>{escape(title)}</h1>
<p class="status {css_class}">{escape(result.message)}</p>
<h2>The fit</h2>
{_table(("", ""), facts, numbers=0)}
<h2>The coefficients</h2>
{_coefficients(result)}
{_inference(result)}
<h2>How well it fits</h2>
{judged}
<h2>How it got there</h2>
{descent}
<h2>To repeat it</h2>
<pre>{escape(repeat)}</pre>
<details><summary>All settings</summary><pre>{escape(settings)}</pre></details>
</body>
</html>
"""


def _coefficients(result: FitResult) -> str:
    """Return an HTML table of the coefficients, the largest effects first."""
    rows = coefficient_rows(result, _COEFFICIENTS)
    zeros = made_zeros(result)
    left = result.coef.size - zeros - len(rows)
    more = f"<p>{left:,} more, with smaller effects, are in the model.</p>" if left else ""
    if zeros:
        more += f"<p>{zeros:,} others are 0: the penalty has left them out.</p>"
    cells = [(row.name, f"{row.coef:.6g}", f"{row.effect:.4g}") for row in rows]
    return _table(("name", "coefficient", "effect per standard deviation"), cells, numbers=2) + more


def _inference(result: FitResult) -> str:
    """Return the summary and the intervals of coefficients as HTML, if the fit has standard errors."""
    if result.inference is None:
        return ""
    words = "Coefficients and their intervals"
    try:
        drawn = _picture(plots.coefficients(result), words)
    except ValueError:  # none of them has a standard error
        drawn = ""
    return f"<h2>How sure the coefficients are</h2>{result.summary()._repr_html_()}{drawn}"


def _tolerance(result: FitResult) -> str:
    """Return a text with the tolerance, empty if the fit had none."""
    return "" if result.settings.tol is None else f", tolerance {result.settings.tol:.3g}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int) -> str:
    """Return an HTML table, whose last ``numbers`` columns are aligned to the right."""
    kinds = [""] * (len(heads) - numbers) + [' class="number"'] * numbers
    head = "".join(f"<th{kind}>{escape(text)}</th>" for kind, text in zip(kinds, heads, strict=True))
    body = "\n".join(
        "<tr>" + "".join(f"<td{kind}>{escape(text)}</td>" for kind, text in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    top = f"<thead><tr>{head}</tr></thead>" if any(heads) else ""
    return f"<table>{top}<tbody>\n{body}\n</tbody></table>"


def _picture(axes: Any, words: str) -> str:
    """Return the figure of some Axes as an HTML image, with ``words`` as its description.

    An image in a data URL has its own names for elements, so that several images on a page do not conflict.
    """
    file = io.BytesIO()
    np.atleast_1d(axes).ravel()[0].figure.savefig(file, format="svg", metadata={"Date": None})
    return f'<img alt="{escape(words)}" src="data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}">'
