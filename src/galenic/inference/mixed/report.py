"""A fit as one HTML file that needs nothing else: numbers, doubts, pictures, what was used."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from galenic.inference.mixed import plots
from galenic.inference.mixed.residuals import residuals
from galenic.inference.mixed.vpc import check

if TYPE_CHECKING:
    from galenic.inference.mixed.fit import Fit

STYLE = """body{font:14px/1.45 system-ui,sans-serif;max-width:1080px;margin:2rem auto;
padding:0 1rem;color:#222}table{border-collapse:collapse;margin:.6rem 0}td,th{padding:.2rem .7rem;
text-align:right;border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}
h1{font-size:1.5rem}
h2{font-size:1.1rem;margin-top:2rem}.flag{color:#a33}svg{max-width:100%;height:auto}
pre{background:#f6f6f6;padding:.6rem;overflow:auto}"""


def html(fit: Fit, title: str = "Population fit", simulations: int = 500, seed: int = 0) -> str:
    """The report.

    Parameters
    ----------
    simulations : int
        For NPDE and visual predictive checks; 0 leaves them out.
    """
    parts = [f"<h1>{escape(title)}</h1>", _summary(fit), _flags(fit), _estimates(fit)]
    every = residuals(fit, simulations, seed)
    if simulations:
        parts += ["<h2>Normalised prediction distribution errors</h2>", _pairs(every.tests())]
    for e, (output, _) in enumerate(fit.problem.records.endpoints):
        parts += [f"<h2>Goodness of fit, {escape(output)}</h2>"]
        parts += [plots.svg(plots.goodness(fit, every, e))]
        if simulations:
            panels = check(fit, e, simulations=simulations, seed=seed)
            panels += check(fit, e, corrected=True, simulations=simulations, seed=seed)
            parts += ["<h2>Visual predictive check, plain and corrected for prediction</h2>"]
            parts += [plots.svg(plots.predictive(panels))]
        parts += ["<h2>Individuals</h2>", plots.svg(plots.individuals(fit, e))]
    parts += ["<h2>Random effects</h2>", plots.svg(plots.effects(fit))]
    if fit.problem.records.covariates and fit.problem.population.between:
        parts += [plots.svg(plots.against_covariates(fit))]
    parts += ["<h2>Search</h2>", plots.svg(plots.trace(fit))]
    parts += ["<h2>Data used</h2>", f"<pre>{escape(fit.problem.records.report())}</pre>"]
    body = "\n".join(parts)
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(title)}</title>"
        f"<style>{STYLE}</style><body>{body}</body></html>"
    )


def summary(fit: Fit) -> dict[str, Any]:
    """The figures that stand at the head of a report."""
    problem = fit.problem
    return {
        "method": fit.method,
        "solution of the equations": problem.course.method,
        "individuals": len(problem.course),
        "observations": problem.count,
        "objective (without n ln 2 pi)": fit.objective,
        "-2 log likelihood": fit.minus2ll,
        "AIC": fit.aic,
        "BIC": fit.bic,
        "condition number": fit.condition,
        "message": fit.message,
        "processor time [s]": fit.seconds,
    }


def _summary(fit: Fit) -> str:
    facts = summary(fit)
    sampled = fit.notes.get("importance")
    if sampled is not None:
        facts["objective by importance sampling"] = f"{sampled.objective:.3f} ± {sampled.error:.3f}"
    return _pairs(facts)


def _pairs(facts: dict[str, Any]) -> str:
    rows = "".join(f"<tr><td>{escape(k)}</td><td>{_text(v)}</td></tr>" for k, v in facts.items())
    return f"<table>{rows}</table>"


def _flags(fit: Fit) -> str:
    return "".join(f"<p class='flag'>{escape(text)}</p>" for text in fit.warnings)


def _estimates(fit: Fit) -> str:
    head = ("", "estimate", "unit", "SE", "RSE %", "95 % interval", "as sd", "shrinkage %")
    rows = []
    for row in fit.table():
        rse = None if row["rse"] is None else 100 * row["rse"]
        low, high = row["lower"], row["upper"]
        between = "held" if low is None else f"{_text(low)} to {_text(high)}"
        name = row["name"]
        inner = name[name.find("(") + 1 : -1] if name.startswith("omega(") else ""
        shrunk = fit.shrinkage.get(inner)
        cells = [name, row["value"], row["unit"], row["se"], rse, between, row.get("sd")]
        cells.append(None if shrunk is None else 100 * shrunk)
        rows.append("".join(f"<td>{_text(cell)}</td>" for cell in cells))
    header = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<h2>Estimates</h2><table><tr>{header}</tr>{body}</table>"


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else escape(str(value))
