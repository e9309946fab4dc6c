"""The arguments by which services are told a model, a data set and what varies."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_type_hints

from galenic.twin.service import File, Help, ModelRef, Result, Values

Data = Annotated[
    File,
    Help("Data set in NONMEM's style: ID, TIME, DV, AMT, EVID, CMT, RATE, ADDL, II, SS, MDV."),
]
Structure = Annotated[ModelRef, Help("The structural model; its values are the start.")]
DoseTo = Annotated[str, Help("State that gets the doses; empty where there are none.")]
Start = Annotated[Values, Help("Typical values to start from: path and value with unit.")]
Output = Annotated[str, Help("Output that DV measures.")]
Vary = Annotated[
    tuple[str, ...],
    Help("What varies between subjects: CL, CL=0.3 (sd to start from) or emax=0.5:logit."),
]
Occasions = Annotated[tuple[str, ...], Help("What varies between occasions, in the same form.")]
Correlated = Annotated[tuple[str, ...], Help("Effects with a covariance: CL+V1.")]
Known = Annotated[tuple[str, ...], Help("Covariates with column and unit: weight=WT:kg.")]
Effects = Annotated[
    tuple[str, ...],
    Help("Effects of covariates: CL~weight/70^0.75, CL~weight/70^? (estimated) or CL~sex."),
]
Others = Annotated[tuple[str, ...], Help("Further typical values to estimate.")]
Hold = Annotated[tuple[str, ...], Help("Numbers to hold, by path or name: omega(CL).")]
Additive = Annotated[float, Help("Additive error to start from, in the unit of DV; 0 for none.")]
Proportional = Annotated[float, Help("Proportional error to start from; 0 for none.")]
Combine = Annotated[
    Literal["variance", "sd", "log"],
    Help("How errors combine: variances or sd added, or a log-normal error."),
]
DoseUnit = Annotated[str, Help("Unit of AMT.")]
DvUnit = Annotated[str, Help("Unit of DV; that of the output if left out.")]
Limit = Annotated[
    Literal["M1", "M2", "M3", "M5", "M6"], Help("What is done with values below the limit.")
]
Locf = Annotated[bool, Help("Carry covariates forward instead of backward.")]
Restart = Annotated[bool, Help("Whether a time that falls begins a period with an empty body.")]
Endpoint = Annotated[str, Help("DVID of the endpoint; others are left out. All rows if empty.")]


def study(
    model: Structure,
    data: Data,
    dose_to: DoseTo,
    output: Output,
    vary: Vary,
    occasion: Occasions = (),
    correlated: Correlated = (),
    covariates: Known = (),
    effects: Effects = (),
    values: Start | None = None,
    estimate: Others = (),
    hold: Hold = (),
    additive: Additive = 0.0,
    proportional: Proportional = 0.2,
    combine: Combine = "variance",
    dose_unit: DoseUnit = "mg",
    output_unit: DvUnit = "",
    blq: Limit = "M3",
    locf: Locf = False,
    restart: Restart = False,
    endpoint: Endpoint = "",
) -> Any:
    """The Problem that the arguments tell."""
    from galenic.stages.clinical import estimation

    return estimation.problem(
        estimation.start(model.load()(), values), data, dose_to, output, vary, occasion,
        correlated, covariates, effects, estimate, hold, additive, proportional, combine,
        dose_unit, output_unit, blq, locf, restart, endpoint,
    )  # fmt: skip


def of_study(function: Callable[..., Result]) -> Callable[..., Result]:
    """A function of a Problem as one of the arguments of ``study`` and its own.

    It may take arguments of ``study`` itself too, by their names.
    """
    function.__annotations__.pop("problem")
    shared = inspect.signature(study).parameters
    own = inspect.signature(function).parameters
    hints = get_type_hints(study, include_extras=True)
    hints |= get_type_hints(function, include_extras=True)

    def whole(**given: Any) -> Result:
        told = {name: value for name, value in given.items() if name in shared}
        mine = {name: value for name, value in given.items() if name in own}
        return function(study(**told), **mine)

    named = {**shared, **own}
    named.pop("problem")
    whole.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in named.values()]
    )
    whole.__annotations__ = hints
    whole.__name__, whole.__doc__ = function.__name__, function.__doc__
    whole.__module__ = function.__module__
    return whole
