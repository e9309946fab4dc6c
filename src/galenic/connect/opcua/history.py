"""What a tag server remembers, for clients that were away."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncua import ua

MOST_VALUES = 10_000


class TagHistory:
    """Answers HistoryRead (raw values) from memory; takes the place of the stack's own manager.

    Values are kept for ``period`` [s] of source time per node, and given in order of it.
    """

    def __init__(self, period: float) -> None:
        self.period = timedelta(seconds=period)
        self._kept: dict[ua.NodeId, deque[ua.DataValue]] = {}

    def keep(self, node: ua.NodeId, data: ua.DataValue) -> None:
        """Remember ``data``; what is older than the period before it is forgotten."""
        if not self.period:
            return
        kept = self._kept.setdefault(node, deque())
        kept.append(data)
        while data.SourceTimestamp - kept[0].SourceTimestamp > self.period:
            kept.popleft()

    async def init(self) -> None:
        """Nothing to prepare; called by the server."""

    async def stop(self) -> None:
        """Nothing to stop; called by the server."""

    def update_history(self, params: Any) -> list[ua.HistoryUpdateResult]:
        """Refused: history is made by publishing only."""
        status = ua.StatusCode(ua.StatusCodes.BadHistoryOperationUnsupported)
        return [ua.HistoryUpdateResult(StatusCode=status) for _ in params.HistoryUpdateDetails]

    async def read_history(self, params: ua.HistoryReadParameters) -> list[ua.HistoryReadResult]:
        """The raw values of each node between two times, both included."""
        details = params.HistoryReadDetails
        if not isinstance(details, ua.ReadRawModifiedDetails) or not self.period:
            status = ua.StatusCode(ua.StatusCodes.BadHistoryOperationUnsupported)
            return [ua.HistoryReadResult(StatusCode=status) for _ in params.NodesToRead]
        return [self._read(details, item) for item in params.NodesToRead]

    def _read(
        self, details: ua.ReadRawModifiedDetails, item: ua.HistoryReadValueId
    ) -> ua.HistoryReadResult:
        kept = sorted(self._kept.get(item.NodeId, ()), key=_time)
        first = bisect_left(kept, _aware(details.StartTime), key=_time)
        last = bisect_right(kept, _aware(details.EndTime), key=_time)
        # The continuation point is the count of values already given for the same question.
        first += int(item.ContinuationPoint or b"0")
        most = min(details.NumValuesPerNode or MOST_VALUES, MOST_VALUES)
        found = kept[first : min(last, first + most)]
        result = ua.HistoryReadResult(HistoryData=ua.HistoryData(DataValues=found))
        if first + most < last:
            given = int(item.ContinuationPoint or b"0") + most
            result.ContinuationPoint = str(given).encode()
        return result


def _time(data: ua.DataValue) -> datetime:
    return _aware(data.SourceTimestamp)


def _aware(stamp: datetime) -> datetime:
    return stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)
