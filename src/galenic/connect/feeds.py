"""Subscriptions of users to what a connection receives, and the latest of every tag."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from galenic.connect.connector import Gap
from galenic.connect.queue import QueueState, SampleQueue
from galenic.signals import Sample

MOST_GAPS = 1000


class Feeds:
    """Passes samples on to those that asked for their tags; knows the latest of each tag.

    Parameters
    ----------
    name : str
        Of the connection, for messages.
    capacity : int
        Samples that one subscription may hold back.
    """

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self.capacity = capacity
        self.latest: dict[str, Sample] = {}
        self._open: list[tuple[frozenset[str], SampleQueue]] = []
        self._by_tag: dict[str, list[SampleQueue]] = {}
        self._closed = QueueState()
        self._gaps: dict[tuple[str, int], Gap] = {}
        self._unfilled: dict[str, Gap] = {}
        self._running: set[str] = set()

    def add(self, tags: Sequence[str]) -> tuple[frozenset[str], SampleQueue]:
        """A subscription, which starts with the latest known of each tag."""
        queue = SampleQueue(self.name, self.capacity)
        queue.put(self.latest[tag] for tag in tags if tag in self.latest)
        feed = (frozenset(tags), queue)
        self._open.append(feed)
        for tag in feed[0]:
            self._by_tag.setdefault(tag, []).append(queue)
        return feed

    async def batches(
        self, feed: tuple[frozenset[str], SampleQueue]
    ) -> AsyncIterator[list[Sample]]:
        """Its samples, until closed; leaving ends the subscription."""
        tags, queue = feed
        try:
            async for batch in queue.batches():
                yield batch
        finally:
            if feed in self._open:
                self._open.remove(feed)
                self._closed += QueueState(lost=queue.lost)
                for tag in tags:
                    self._by_tag[tag].remove(queue)

    def deliver(self, samples: Sequence[Sample]) -> None:
        """Pass on; a sample that is not historical and not older becomes the latest of its tag."""
        waiting: dict[int, tuple[SampleQueue, list[Sample]]] = {}
        for sample in samples:
            if sample.historical:
                self.overlap(sample)
            else:
                if sample.tag in self._running and sample.value is not None:
                    self._end(sample)
                before = self.latest.get(sample.tag)
                # What says only that nothing is known must not hide a value of a slower clock.
                if (
                    before is None
                    or before.value is None
                    or sample.source_time >= before.source_time
                ):
                    self.latest[sample.tag] = sample
            for queue in self._by_tag.get(sample.tag, ()):
                waiting.setdefault(id(queue), (queue, []))[1].append(sample)
        for queue, batch in waiting.values():
            queue.put(batch)

    def miss(self, tag: str, now: int, reason: str) -> None:
        """Tell that samples of a tag may be missing since its latest, up to its next one [ns]."""
        if not self._by_tag.get(tag):
            return
        latest = self.latest.get(tag)
        start = latest.source_time if latest else now
        self._note(Gap(tag, start, max(start, now), reason))
        self._running.add(tag)

    def _note(self, gap: Gap) -> None:
        self._gaps[gap.tag, gap.start] = self._unfilled[gap.tag] = gap
        while len(self._gaps) > MOST_GAPS:
            self._gaps.pop(next(iter(self._gaps)))

    def overlap(self, sample: Sample) -> None:
        """A source sends its history in order: from before a gap on means that it is filled."""
        gap = self._unfilled.get(sample.tag)
        if gap is not None and sample.source_time <= gap.start:
            self._note(replace(gap, filled=True))
            del self._unfilled[sample.tag]

    def _end(self, sample: Sample) -> None:
        """The tag is back: its gap ends with this sample."""
        self._running.discard(sample.tag)
        gap = self._unfilled.get(sample.tag)
        if gap is not None:
            self._note(replace(gap, stop=max(gap.start, sample.source_time)))

    def close(self) -> None:
        """End every subscription after what it still holds."""
        for _, queue in self._open:
            queue.close()

    @property
    def subscribed(self) -> list[str]:
        """Tags that somebody listens to."""
        return [tag for tag, queues in self._by_tag.items() if queues]

    @property
    def is_filling(self) -> bool:
        """Whether a subscription is half full: a source that can wait should."""
        states = [queue.state for _, queue in self._open]
        return any(2 * state.waiting > state.capacity for state in states)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Spans in which samples may be missing."""
        return tuple(self._gaps.values())

    @property
    def queue(self) -> QueueState:
        """All subscriptions taken together."""
        return sum((queue.state for _, queue in self._open), self._closed)
