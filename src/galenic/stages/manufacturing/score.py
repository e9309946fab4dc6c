"""Tables and plots of a campaign: strategies side by side, with the spread over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from galenic.stages.manufacturing.campaign import STRATEGIES
from galenic.twin.result import Axis, Column, Plot, Result, Series, Table, Value

MEASURES: dict[str, tuple[str, str]] = {
    "content_sd": ("%", "standard deviation of content, of label"),
    "content_out_all": ("%", "tablets made outside 95 to 105 % of label"),
    "content_out_accepted": ("%", "accepted tablets outside 95 to 105 % of label"),
    "dose_out_accepted": ("%", "accepted tablets whose dose is outside 95 to 105 %"),
    "weight_rsd": ("%", "relative standard deviation of tablet weight"),
    "diverted": ("kg", "mass diverted"),
    "diverted_needlessly": ("kg", "mass diverted although inside the limits"),
    "good": ("kg", "accepted mass"),
}
REFERENCE = "local"

Results = Sequence[Mapping[str, Any]]


def by_strategy(results: Results) -> dict[str, list[Mapping[str, Any]]]:
    """Results by strategy, each in order of seed."""
    found: dict[str, list[Mapping[str, Any]]] = {name: [] for name in STRATEGIES}
    for result in sorted(results, key=lambda r: r["trial"]["seed"]):
        found[result["trial"]["strategy"]].append(result)
    return {name: rows for name, rows in found.items() if rows}


def comparison(results: Results) -> Table:
    """Mean of each measure and its standard deviation over seeds, two columns per strategy."""
    columns = [
        Column("measure", list(MEASURES)),
        Column("in", [text for text, _ in MEASURES.values()]),
    ]
    for name, rows in by_strategy(results).items():
        table = [np.array([r["score"][measure] for r in rows]) for measure in MEASURES]
        spread = [float(v.std(ddof=1)) if len(v) > 1 else 0.0 for v in table]
        columns.append(Column(name, [float(v.mean()) for v in table]))
        columns.append(Column(f"± {name}", spread, meaning="spread over seeds"))
    return Table("strategies", tuple(columns))


def against(results: Results, reference: str = REFERENCE) -> Table | None:
    """Each strategy relative to the reference on the same seeds: paired, with a 95 % interval."""
    groups = by_strategy(results)
    if reference not in groups or len(groups) < 2:
        return None
    base = {r["trial"]["seed"]: r["score"] for r in groups[reference]}
    rows = []
    for name, found in groups.items():
        for measure in ("content_sd", "content_out_all", "diverted"):
            pairs = [
                (r["score"][measure], base[r["trial"]["seed"]][measure])
                for r in found
                if r["trial"]["seed"] in base
            ]
            if name == reference or not pairs:
                continue
            mine, theirs = np.array(pairs).T
            gap = mine - theirs
            rows.append((name, measure, _ratio(mine, theirs), float(gap.mean()),
                         _half_width(gap), int((gap < 0).sum()), len(gap)))  # fmt: skip
    names = ("strategy", "measure", "ratio", "difference", "95 % half width", "better", "seeds")
    table = list(zip(*rows, strict=True))
    return Table(
        f"against {reference}",
        tuple(Column(name, list(data)) for name, data in zip(names, table, strict=True)),
    )


def _ratio(mine: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> float:
    return float(mine.sum() / theirs.sum()) if theirs.sum() else float("nan")


def _half_width(gap: np.ndarray[Any, Any]) -> float:
    from scipy.stats import t

    if len(gap) < 2:
        return float("nan")
    return float(t.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / np.sqrt(len(gap)))


def beliefs(results: Results) -> Table | None:
    """Error and coverage of 90 % intervals of what the twin believes, by strategy."""
    rows = [
        (strategy, name,
         float(np.sqrt(np.mean([b["rmse"] ** 2 for b in found]))),
         float(np.mean([b["coverage"] for b in found])))
        for strategy, trials in by_strategy(results).items()
        for name, found in _collected(trials, "belief").items()
    ]  # fmt: skip
    return _table("belief against truth", ("strategy", "quantity", "rmse", "inside 90 %"), rows)


def forecasts(results: Results) -> Table | None:
    """Share of outcomes inside the 90 % band of forecasts made 1, 5 and 15 min before."""
    rows = [
        (strategy, name,
         float(np.average([b["inside"] for b in found], weights=[b["count"] for b in found])),
         float(np.sqrt(np.mean([b["rmse"] ** 2 for b in found]))),
         int(sum(b["count"] for b in found)))
        for strategy, trials in by_strategy(results).items()
        for name, found in _collected(trials, "forecast").items()
    ]  # fmt: skip
    names = ("strategy", "quantity and seconds ahead", "inside 90 %", "rmse", "count")
    return _table("forecasts against outcomes", names, rows)


def _collected(trials: Results, part: str) -> dict[str, list[Mapping[str, float]]]:
    found: dict[str, list[Mapping[str, float]]] = {}
    for trial in trials:
        for name, facts in trial["watch"].get(part, {}).items():
            found.setdefault(name, []).append(facts)
    return found


def acting(results: Results) -> Table | None:
    """How the two-way twins acted: time in charge, level changes, plans and their speed."""
    names = ("raised", "lowered", "plans", "fallbacks", "refused", "plan_median", "plan_worst")
    rows = [
        (r["trial"]["strategy"], r["trial"]["seed"], r["watch"]["share_acting"],
         *(r["acting"][name] for name in names))
        for r in results if r.get("acting")
    ]  # fmt: skip
    return _table("acting", ("strategy", "seed", "share of time", *names), rows)


def _table(title: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table | None:
    if not rows:
        return None
    columns = zip(names, zip(*rows, strict=True), strict=True)
    return Table(title, tuple(Column(name, list(data)) for name, data in columns))


def plots(results: Results) -> list[Plot]:
    """One plot per measure: its value over the seeds, a line per strategy."""
    groups = by_strategy(results)
    seeds = sorted({r["trial"]["seed"] for r in results})
    made = []
    for measure in ("content_sd", "content_out_all", "diverted"):
        text, meaning = MEASURES[measure]
        series = []
        for name, rows in groups.items():
            known = {r["trial"]["seed"]: r["score"][measure] for r in rows}
            series.append(Series(name, [known.get(seed) for seed in seeds], text))
        made.append(Plot(meaning, Axis("seed", seeds), tuple(series)))
    return made


def report(results: Results) -> Result:
    """The campaign in words, numbers, tables and plots."""
    tables = [comparison(results), against(results), beliefs(results), forecasts(results),
              acting(results)]  # fmt: skip
    return Result(
        _words(results), _values(results), [t for t in tables if t is not None], plots(results)
    )


def _mean(results: Results, strategy: str, measure: str) -> float | None:
    rows = by_strategy(results).get(strategy, [])
    return float(np.mean([r["score"][measure] for r in rows])) if rows else None


def _values(results: Results) -> dict[str, Value]:
    values = {}
    for name in by_strategy(results):
        for measure in ("content_sd", "content_out_all", "diverted"):
            text, meaning = MEASURES[measure]
            values[f"{name} {measure}"] = Value(_mean(results, name, measure), text, meaning)
    good, without = (_mean(results, name, "good") for name in ("mpc", REFERENCE))
    if good is not None and without is not None:
        values["material saved"] = Value(
            good - without, "kg", "accepted mass per run more than with local"
        )
    return values


def _words(results: Results) -> str:
    hours = {r["trial"]["duration"] / 3600 for r in results}
    seeds = sorted({r["trial"]["seed"] for r in results})
    scenarios = ", ".join(sorted({r["trial"]["scenario"] for r in results}))
    lines = [
        f"{len(results)} runs of {', '.join(f'{h:g} h' for h in sorted(hours))} on {scenarios}, "
        f"seeds {', '.join(map(str, seeds))}"
    ]
    for name in by_strategy(results):
        sd, out, kg = (
            _mean(results, name, m) for m in ("content_sd", "content_out_all", "diverted")
        )
        lines.append(
            f"{name}: content sd {sd:.2f} %, {out:.2f} % of tablets outside 95 to 105 %, "
            f"{kg:.2f} kg diverted"
        )
    return "\n".join(lines)
