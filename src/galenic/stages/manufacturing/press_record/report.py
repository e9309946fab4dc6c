"""The whole scoring of a record: tune on one batch, score the others, as tables and plots."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from galenic.clock import SECOND
from galenic.signals import Sample
from galenic.stages.manufacturing.press_record import events, identifiability
from galenic.stages.manufacturing.press_record.definition import MAIN, TAGS
from galenic.stages.manufacturing.press_record.events import Recognised
from galenic.stages.manufacturing.press_record.pursuit import HORIZONS, Foretold, foretell, moments
from galenic.stages.manufacturing.press_record.rows import Rows
from galenic.stages.manufacturing.press_record.scores import Score, score, tune
from galenic.twin.result import Axis, Column, Plot, Result, Series, Table

SHOWN = 360  # rows of the plot: one hour


@dataclass(frozen=True, eq=False)
class Scored:
    """What the scoring of a record found."""

    tuned_on: str
    scores: list[Score]
    recognised: dict[str, list[Recognised]]
    combinations: Table
    rows: Rows
    foretold: Foretold

    def result(self) -> Result:
        """Tables of forecasts, events and identifiability, and a plot of one hour."""
        lines = [f"tuned on batch {self.tuned_on}, scored on all; forces in kN"]
        tables = [_scores(self.scores), _events(self.recognised), self.combinations]
        return Result("\n".join(lines), {}, tables, [self.plot()])

    def find(self, **wanted: Any) -> Score:
        """The one score with these values of its fields."""
        found = [s for s in self.scores if all(getattr(s, k) == v for k, v in wanted.items())]
        if len(found) != 1:
            raise LookupError(f"{len(found)} scores with {wanted}")
        return found[0]

    def plot(self) -> Plot:
        """Main force and what was foretold 5 minutes before, in the last hour that it ran."""
        at = self.rows.target(HORIZONS[1])
        origins = np.flatnonzero((at >= 0) & np.isfinite(self.foretold.mean[:, 1, 0]))[-SHOWN:]
        goals = at[origins]
        mean, sd = self.foretold.mean[origins, 1, 0], self.foretold.sd[origins, 1, 0]
        hours = (self.rows.time[goals] - self.rows.time[goals[0]]) / SECOND / 3600
        measured = self.rows.columns[TAGS[MAIN]][goals]
        band = (mean - 1.645 * sd, mean + 1.645 * sd)
        return Plot(
            "main force, foretold 5 min before",
            Axis("time", hours.tolist(), "h"),
            (
                Series("measured", measured.tolist(), "kN", "measured"),
                Series("foretold, 90 %", mean.tolist(), "kN", "predicted",
                       band[0].tolist(), band[1].tolist()),
            ),
        )  # fmt: skip


def scored(
    samples: Iterable[Sample],
    tuned_on: str,
    progress: Callable[[float, str], None] = lambda fraction, text: None,
) -> Scored:
    """Score a record: rivals are tuned on one batch, every batch is scored.

    Parameters
    ----------
    samples : iterable of Sample
        Of the tags of the definition ``press-record``, in order of arrival.
    tuned_on : str
        Batch on which the rivals are tuned and the combinations judged.
    """
    progress(0.02, "read the record")
    record = moments(samples)
    rows = Rows.of(record)
    tuning = rows.part(tuned_on)
    progress(0.1, "follow it with the twin")
    foretold = foretell(record)
    progress(0.85, "tune the rivals")
    rivals = tune(tuning)
    scores, recognised = [], {}
    for batch in dict.fromkeys(rows.batch.tolist()):
        here = rows.batch == batch
        part = rows.part(batch)
        mine = Foretold(foretold.mean[here], foretold.sd[here], foretold.surprise[here])
        scores += score(part, mine, rivals)
        recognised[batch] = recognise(part, mine)
    progress(0.95, "judge what can be told")
    return Scored(tuned_on, scores, recognised, combinations(tuning), rows, foretold)


def recognise(rows: Rows, foretold: Foretold) -> list[Recognised]:
    """Stops and restarts from frozen readings, fill changes from innovations."""
    found = []
    for tags in (events.FORCES, events.ALL):
        stops, restarts = events.score_stops(rows, tags, 0.0)
        found += [stops, events.score_stops(rows, tags, 60.0)[0], restarts]
    return [*found, events.score_changes(rows, events.fill_alarms(foretold.surprise))]


def combinations(rows: Rows) -> Table:
    """What forces can tell at the settings of a batch, from the poorest case to the richest."""
    judged = identifiability.judge(rows)
    lines = [
        (case, found.structural_rank, found.practical_rank, c.text, c.sd)
        for case, found in judged.items()
        for c in found.estimable
    ]
    names = ("seen", "rank in principle", "rank in these data", "combination", "relative sd")
    columns = [Column(n, list(v)) for n, v in zip(names, zip(*lines, strict=True), strict=True)]
    return Table("combinations that can be estimated", tuple(columns))


def _scores(scores: Sequence[Score]) -> Table:
    names = [f.name for f in fields(Score)]
    units = {"horizon": "s", "mae": "kN", "rmse": "kN", "crps": "kN"}
    columns = [Column(n, [getattr(s, n) for s in scores], units.get(n, "")) for n in names]
    return Table("forecasts", tuple(columns))


def _events(recognised: dict[str, list[Recognised]]) -> Table:
    lines = [(batch, found) for batch, many in recognised.items() for found in many]
    names = ("what", "seen_from", "events", "found", "alarms", "right",
             "recall", "precision", "chance", "delay")  # fmt: skip
    columns = [Column(n, [getattr(f, n) for _, f in lines], "s" if n == "delay" else "")
               for n in names]  # fmt: skip
    return Table("events", (Column("batch", [batch for batch, _ in lines]), *columns))
