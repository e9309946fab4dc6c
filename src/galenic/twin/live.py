"""The live feed: what pages and the WebSocket get, through queues that never block the loop.

A message is a dict with ``type``:

``samples``   twin-independent: ``{tag: {value, unit, time, quality}}``            measured
``twin``      ``id``, ``time``, ``level``, ``health``, ``estimates``, ``speed``   estimated
``forecast``  ``id``, ``forecast`` (times, mean, sd, quantiles)                     predicted
``proposal``  ``id``, ``verdicts``                                                  proposed
``effect``    ``id``, ``effect`` (write, alert or record, as plain values)          written, told
``receipt``   ``id``, ``receipt``                                                   done, failed
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

Message = dict[str, Any]


class Subscription:
    """Messages for one listener; when it is slow the oldest are dropped and counted."""

    def __init__(self, live: Live, size: int) -> None:
        self._live = live
        self._messages: deque[Message] = deque(maxlen=size)
        self._arrived = asyncio.Event()
        self._closed = False
        self.dropped = 0

    def put(self, message: Message) -> None:
        """Append a message; called by the feed."""
        if len(self._messages) == self._messages.maxlen:
            self.dropped += 1
        self._messages.append(message)
        self._arrived.set()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Message:
        while not self._messages:
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._messages.popleft()

    def close(self) -> None:
        """End the subscription; what is waiting can still be read."""
        self._closed = True
        self._arrived.set()
        self._live.forget(self)


class Live:
    """Hands each message to every subscription."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription] = []

    @property
    def listeners(self) -> int:
        return len(self._subscriptions)

    def subscribe(self, size: int = 1000) -> Subscription:
        """A new listener's queue; to be called in the event loop."""
        subscription = Subscription(self, size)
        self._subscriptions.append(subscription)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def publish(self, message: Message) -> None:
        for subscription in self._subscriptions:
            subscription.put(message)

    def close(self) -> None:
        """End every subscription."""
        for subscription in list(self._subscriptions):
            subscription.close()
