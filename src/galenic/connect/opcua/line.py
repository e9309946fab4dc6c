"""One life of an OPC UA session: every call has a time limit, every failure one meaning."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from asyncua import Client, ua
from asyncua.crypto import security_policies
from asyncua.crypto.uacrypto import load_certificate

from galenic.connect.opcua.address import AddressBook, TagNode
from galenic.connect.opcua.security import APPLICATION_URI, Security
from galenic.connect.opcua.values import status_name, to_datetime
from galenic.errors import ConnectionLost

CHUNK = 500
SESSION_LIFETIME = 60.0
Sink = Callable[[list[tuple[TagNode, ua.DataValue]]], None]
LossSink = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How to connect and how fast to listen; times in s."""

    endpoint: str
    security: Security
    user: str = ""
    password: str = ""
    nodes: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    root: str = ""
    publishing: float = 0.2
    sampling: float = 0.1
    queue_size: int = 10
    timeout: float = 4.0
    alive: float = 2.0


class OpcUaLine:
    """A connected session. Made by `dial`; when `lost` returns it is of no more use."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self.settings = settings
        self.warnings: list[str] = []
        self._client = client
        self._session = client.uaclient.session
        self._lost = asyncio.Event()
        self._reason = ""
        self._listening: dict[int, tuple[float, float]] = {}
        self._book = AddressBook(self._session, settings.nodes, settings.units, settings.root)
        client.connection_lost_callback = self._on_lost

    @classmethod
    async def dial(cls, settings: Settings) -> OpcUaLine:
        """Connect and open a session, or raise ConnectionLost."""
        client = Client(
            settings.endpoint, timeout=settings.timeout, watchdog_intervall=settings.alive
        )
        client.application_uri = APPLICATION_URI
        client.name = client.description = "galenic"
        client.session_timeout = SESSION_LIFETIME * 1000
        line = cls(settings, client)
        try:
            async with line._limit("connect", settings.timeout * 2):
                await line._secure()
                if settings.user:
                    client.set_user(settings.user)
                    client.set_password(settings.password)
                await client.connect()
        except BaseException:
            await line.hang_up()
            raise
        return line

    async def lost(self) -> str:
        """Return the reason when the session or one of its subscriptions has died."""
        while not self._lost.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self.settings.alive):
                    await self._lost.wait()
            now = time.monotonic()
            for identity, (last, allowed) in self._listening.items():
                if now - last > allowed:
                    self._lose(f"subscription {identity} silent for {now - last:.1f} s")
        return self._reason

    async def hang_up(self) -> None:
        """Say goodbye if that is possible in a second, and free the socket in any case."""
        protocol = self._client.uaclient.protocol
        try:
            with suppress(Exception):
                async with asyncio.timeout(1.0):
                    await self._client.disconnect()
        finally:
            transport = getattr(protocol, "transport", None)
            if transport is not None:
                transport.abort()
            await asyncio.sleep(0)

    async def find(self, tags: Sequence[str]) -> list[TagNode]:
        """The nodes of ``tags``; UnknownName for one that the server does not have."""
        async with self._limit("find tags", self.settings.timeout * 4):
            return await self._book.find(tags)

    async def all(self) -> list[TagNode]:
        """Every tag of the server."""
        async with self._limit("browse", self.settings.timeout * 10):
            return await self._book.all()

    async def read(self, nodes: Sequence[TagNode]) -> list[ua.DataValue]:
        """The present value of each node."""
        values: list[ua.DataValue] = []
        async with self._limit("read"):
            for first in range(0, len(nodes), CHUNK):
                part = [node.node for node in nodes[first : first + CHUNK]]
                values += await self._session.read_attributes(part, ua.AttributeIds.Value)
        return values

    async def write(self, node: TagNode, value: ua.Variant) -> int:
        """Write and return the server's status code; ConnectionLost where there is no answer."""
        data = ua.DataValue(value)
        async with self._limit("write"):
            (status,) = await self._session.write_attributes(
                [node.node], [data], ua.AttributeIds.Value
            )
        return int(status.value)

    async def history(self, node: TagNode, start: int, stop: int) -> list[ua.DataValue]:
        """Raw values with source times in ``start`` to ``stop`` [ns], oldest first."""
        details = ua.ReadRawModifiedDetails(
            IsReadModified=False,
            StartTime=to_datetime(start),
            EndTime=to_datetime(stop),
            NumValuesPerNode=0,
            ReturnBounds=False,
        )
        values: list[ua.DataValue] = []
        point = None
        async with self._limit("history", self.settings.timeout * 4):
            while True:
                result = await self._client.get_node(node.node).history_read(details, point)
                result.StatusCode.check()
                values += result.HistoryData.DataValues
                point = result.ContinuationPoint
                if not point:
                    return values

    async def monitor(
        self, nodes: Sequence[TagNode], sink: Sink, on_loss: LossSink
    ) -> tuple[int, dict[str, int]]:
        """Deliver data changes of ``nodes`` to ``sink``.

        Returns the subscription's number, and the status codes of refused nodes by tag.
        """
        refused: dict[str, int] = {}
        async with self._limit("subscribe", self.settings.timeout * 2):
            params = self._subscription_parameters()
            listener = _Listener(nodes, sink, on_loss, self._lose)
            result = await self._session.create_subscription(params, listener)
            interval = result.RevisedPublishingInterval / 1000
            self._note_revision("publishing interval", self.settings.publishing, interval, "s")
            allowed = interval * result.RevisedMaxKeepAliveCount * 1.5 + self.settings.timeout
            identity = result.SubscriptionId
            listener.heard = lambda: self._listening.update({identity: (time.monotonic(), allowed)})
            listener.heard()
            for first in range(0, len(nodes), CHUNK):
                refused |= await self._add_items(identity, first, nodes[first : first + CHUNK])
        return identity, refused

    async def forget(self, subscription: int) -> None:
        """End one subscription."""
        self._listening.pop(subscription, None)
        async with self._limit("unsubscribe"):
            await self._session.delete_subscriptions([subscription])

    async def _add_items(
        self, subscription: int, first: int, nodes: Sequence[TagNode]
    ) -> dict[str, int]:
        asked = [self._item(first + i, node) for i, node in enumerate(nodes)]
        results = await self._session.create_monitored_items(
            ua.CreateMonitoredItemsParameters(
                SubscriptionId=subscription,
                TimestampsToReturn=ua.TimestampsToReturn.Both,
                ItemsToCreate=asked,
            )
        )
        refused = {}
        for node, result in zip(nodes, results, strict=True):
            if result.StatusCode.is_bad():
                refused[node.info.tag] = int(result.StatusCode.value)
                continue
            sampling = result.RevisedSamplingInterval / 1000
            self._note_revision("sampling interval", self.settings.sampling, sampling, "s")
            size = result.RevisedQueueSize
            self._note_revision("queue size", self.settings.queue_size, size, "values")
        return refused

    def _item(self, handle: int, node: TagNode) -> ua.MonitoredItemCreateRequest:
        return ua.MonitoredItemCreateRequest(
            ItemToMonitor=ua.ReadValueId(NodeId=node.node, AttributeId=ua.AttributeIds.Value),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=ua.MonitoringParameters(
                ClientHandle=handle,
                SamplingInterval=self.settings.sampling * 1000,
                Filter=ua.DataChangeFilter(
                    Trigger=ua.DataChangeTrigger.StatusValueTimestamp,
                    DeadbandType=ua.DeadbandType.None_,
                    DeadbandValue=0.0,
                ),
                QueueSize=self.settings.queue_size,
                DiscardOldest=True,
            ),
        )

    def _subscription_parameters(self) -> ua.CreateSubscriptionParameters:
        keep_alive = max(1, math.ceil(self.settings.alive / self.settings.publishing))
        lifetime = max(3 * keep_alive, math.ceil(SESSION_LIFETIME / self.settings.publishing))
        return ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=self.settings.publishing * 1000,
            RequestedLifetimeCount=lifetime,
            RequestedMaxKeepAliveCount=keep_alive,
            MaxNotificationsPerPublish=0,
            PublishingEnabled=True,
            Priority=0,
        )

    async def _secure(self) -> None:
        security = self.settings.security
        if not security.encrypts:
            return
        policy = getattr(security_policies, f"SecurityPolicy{security.policy}")
        await self._client.set_security(policy, security.certificate, security.key)
        if not security.trusted:
            self.warnings.append("any server certificate is accepted: set trusted")
            return
        presented = self._client.security_policy.peer_certificate
        known = [await load_certificate(path) for path in security.trusted]
        if presented not in [_der(certificate) for certificate in known]:
            raise ConnectionLost(
                "the server's certificate is not among the trusted ones",
                where=self.settings.endpoint,
                hint="compare its fingerprint, then add the file to trusted",
            )

    @asynccontextmanager
    async def _limit(self, what: str, timeout: float | None = None) -> AsyncIterator[None]:
        """Bound the time of what is inside; ConnectionLost for whatever the stack raises."""
        limit = timeout or self.settings.timeout
        place = self.settings.endpoint
        try:
            async with asyncio.timeout(limit):
                yield
        except TimeoutError as error:
            raise ConnectionLost(f"{what}: no answer within {limit:g} s", where=place) from error
        except ua.UaStatusCodeError as error:
            hint = _HINTS.get(error.code, "")
            name = status_name(error.code)
            raise ConnectionLost(f"{what}: {name}", where=place, hint=hint) from error
        except (OSError, ua.UaError) as error:
            raise ConnectionLost(f"{what}: {error}", where=place) from error

    def _note_revision(self, what: str, asked: float, given: float, unit: str) -> None:
        text = f"the server revised the {what} from {asked:g} to {given:g} {unit}"
        if not math.isclose(asked, given, rel_tol=1e-3) and text not in self.warnings:
            self.warnings.append(text)

    async def _on_lost(self, error: Exception) -> None:
        self._lose(str(error) or type(error).__name__)

    def _lose(self, reason: str) -> None:
        if not self._lost.is_set():
            self._reason = reason
            self._lost.set()


class _Listener:
    """Takes the publish results of one subscription apart."""

    def __init__(
        self, nodes: Sequence[TagNode], sink: Sink, on_loss: LossSink, on_end: LossSink
    ) -> None:
        self._nodes = nodes
        self._sink = sink
        self._on_loss = on_loss
        self._on_end = on_end
        self._sequence: int | None = None
        self.heard: Callable[[], object] = lambda: None

    def __call__(self, result: ua.PublishResult) -> None:
        self.heard()
        message = result.NotificationMessage
        if not message.NotificationData:
            return
        self._count(int(message.SequenceNumber))
        for notification in message.NotificationData:
            if isinstance(notification, ua.DataChangeNotification):
                items = notification.MonitoredItems
                self._sink([(self._nodes[item.ClientHandle], item.Value) for item in items])
            elif isinstance(notification, ua.StatusChangeNotification):
                code = int(notification.Status.value)
                self._on_end(f"the server ended the subscription: {status_name(code)}")

    def _count(self, number: int) -> None:
        """Report a jump; 0 is the stack's own message, and the count restarts at 1."""
        if number == 0:
            return
        if self._sequence is not None and number not in (self._sequence + 1, 1):
            self._on_loss(f"notifications {self._sequence + 1} to {number - 1} are missing")
        self._sequence = number


def _der(certificate: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return bytes(certificate.public_bytes(Encoding.DER))


_HINTS = {
    ua.StatusCodes.BadUserAccessDenied: "check user and password",
    ua.StatusCodes.BadIdentityTokenRejected: "the server wants another kind of sign-in: set user "
    "and password, or leave them out",
    ua.StatusCodes.BadIdentityTokenInvalid: "check user and password",
    ua.StatusCodes.BadSecurityChecksFailed: "the server may not trust our certificate yet",
    ua.StatusCodes.BadCertificateUntrusted: "add our certificate to the server's trust list",
}
