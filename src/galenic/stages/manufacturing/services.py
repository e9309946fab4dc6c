"""What can be asked about the making of tablets: strategies compared, and the score."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from galenic.stages.manufacturing.press_record.services import score_record
from galenic.twin.service import Duration, In, Result, Run, service

__all__ = ["compare_strategies", "score", "score_record"]

FOLDER = "score"


@service("Score the twin of the tablet line", stage="manufacturing")
def score(
    seeds: int = 10,
    duration: Duration = 4 * 3600.0,
    scenario: str = "day",
    first_seed: int = 11,
    resume: bool = True,
    workers: int = 2,
    folder: str = FOLDER,
    *,
    run: Run,
) -> Result:
    """Run local, ratio, predictive control and predictive control with a wrong model on many seeds.

    Gives content, tablets outside limits, diverted mass, the quality of belief and forecasts, each
    with its spread over seeds. Results are kept in a folder; a stopped score goes on where it was.

    Parameters
    ----------
    seeds : int
        Number of plant histories.
    duration : duration
        Plant time of each run.
    scenario : str
        What happens on the plant: a named scenario, a TOML file, or gone.
    first_seed : int
        The first of the seeds. The twin was tuned on seeds 1 to 5.
    resume : bool
        Take results of earlier runs of the same code.
    workers : int
        Processes that share the work; 0 works in this one.
    folder : str
        Where results are kept.
    """
    strategies = ("local", "ratio", "shadow", "mpc", "mpc-wrong")
    return _compared(strategies, scenario, range(first_seed, first_seed + seeds), duration,
                     resume, workers, folder, run)  # fmt: skip


@service("Compare control strategies", stage="manufacturing")
def compare_strategies(
    strategies: tuple[str, ...] = ("local", "ratio", "mpc"),
    scenario: str = "day",
    seeds: Annotated[int, In(lower=1, upper=1000)] = 2,
    duration: Duration = 30 * 60.0,
    first_seed: int = 11,
    workers: int = 2,
    folder: str = FOLDER,
    *,
    run: Run,
) -> Result:
    """Compare control strategies on the virtual plant before any is allowed near a real one.

    Parameters
    ----------
    strategies : list of str
        Of local, ratio, shadow, mpc and mpc-wrong.
    scenario : str
        What happens on the plant: a named scenario, a TOML file, or gone.
    seeds : int
        Number of plant histories.
    duration : duration
        Plant time of each run.
    first_seed : int
        The first of the seeds.
    workers : int
        Processes that share the work; 0 works in this one.
    folder : str
        Where results are kept.
    """
    return _compared(strategies, scenario, range(first_seed, first_seed + seeds), duration, True,
                     workers, folder, run)  # fmt: skip


def _compared(
    strategies: tuple[str, ...],
    scenario: str,
    seeds: range,
    duration: float,
    resume: bool,
    workers: int,
    folder: str,
    run: Run,
) -> Result:
    from galenic.stages.manufacturing.campaign import Trial, campaign
    from galenic.stages.manufacturing.score import report

    trials = [Trial(name, scenario, seed, float(duration)) for seed in seeds for name in strategies]
    results = campaign(trials, Path(folder), resume=resume, workers=workers, progress=run.progress)
    return report(results)
