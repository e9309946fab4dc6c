"""Arguments that services on live twins share."""

from __future__ import annotations

from typing import Annotated

from galenic.twin.service import Duration, Help, TwinRef

OneTwin = Annotated[TwinRef, Help("Id of the twin.")]
Reason = Annotated[str, Help("Why; it stands in the ledger.")]
Horizon = Annotated[Duration, Help("How far; as the definition says if left out.")]
Interval = Annotated[Duration, Help("Interval of the times.")]
Outputs = Annotated[
    tuple[str, ...],
    Help("Paths of quantities; those that the definition shows if left out."),
]
