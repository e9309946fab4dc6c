"""One life of a connection to an MQTT broker; every wait in it is bounded."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from galenic.errors import ConnectionLost, DataError

log = logging.getLogger(__name__)

BEAT = 0.2  # s between looks at the keep-alive
Receive = Callable[[str, bytes, bool], None]


class Encryption(ssl.SSLContext):
    """TLS that checks certificate and name; keeps its socket, which paho forgets on failure."""

    wrapped: ssl.SSLSocket | None = None

    def wrap_socket(self, *given: Any, **options: Any) -> ssl.SSLSocket:
        """Encrypt a socket."""
        self.wrapped = super().wrap_socket(*given, **options)
        return self.wrapped


class Access(TypedDict, total=False):
    """How to reach a broker: the options of `Broker` that every user of one takes."""

    port: int
    tls: bool
    ca: str | Path | None
    certificate: str | Path | None
    key: str | Path | None
    user: str
    password: str
    keepalive: int
    timeout: float


@dataclass(frozen=True)
class Broker:
    """Where and how to connect.

    Parameters
    ----------
    host : str
        Name or address of the broker.
    port : int
        0 is 8883 with TLS and 1883 without.
    tls : bool
        False must be written to get clear text.
    ca, certificate, key : path, optional
        Authorities that are trusted (those of the machine by default); our certificate and key.
    user, password : str
        Sign-in; empty for none.
    client : str
        Client identifier; a second connection with the same one ends the first.
    keepalive : int [s]
        A silent broker is probed this often; it is taken as lost after about twice as long.
    timeout : float [s]
        Limit of one request.
    """

    host: str
    port: int = 0
    tls: bool = True
    ca: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    client: str = ""
    keepalive: int = 5
    timeout: float = 4.0

    @classmethod
    def of(cls, host: str, client: str, **access: Unpack[Access]) -> Self:
        """The broker as a connector is told of it; DataError for certificates of no use."""
        broker = cls(host, client=client, **access)
        broker.context()
        return broker

    def __post_init__(self) -> None:
        if not self.host or "://" in self.host:
            raise DataError(f"broker {self.host!r}", expected="a name or address, as plant.example")
        if self.keepalive < 1 or self.keepalive != int(self.keepalive):
            raise DataError(f"keepalive {self.keepalive!r} s", expected="whole seconds, 1 or more")
        if not self.timeout > 0:
            raise DataError(f"timeout {self.timeout!r} s", expected="above 0")

    @property
    def place(self) -> str:
        """``host:port``."""
        return f"{self.host}:{self.port or (8883 if self.tls else 1883)}"

    def context(self) -> Encryption | None:
        """How to encrypt, or None for clear text; DataError for unusable files."""
        if not self.tls:
            return None
        try:
            context = Encryption(ssl.PROTOCOL_TLS_CLIENT)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.ca:
                context.load_verify_locations(self.ca)
            else:
                context.load_default_certs()
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise DataError(
                f"cannot use the certificates: {error}", where=f"broker {self.place}",
                hint="ca, certificate and key are PEM files",
            ) from error  # fmt: skip
        return context


@dataclass(frozen=True)
class Will:
    """What the broker publishes when the connection dies."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


class MqttLine:
    """A connected client. Made by `dial`; when `lost` returns it is of no more use."""

    def __init__(self, broker: Broker, receive: Receive) -> None:
        self.broker = broker
        self.resumed = False
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._gone = asyncio.Event()
        self._closed = asyncio.Event()
        self._reason = ""
        self._encryption: Encryption | None = None
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._client = Client(
            CallbackAPIVersion.VERSION2, broker.client, protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )  # fmt: skip
        self._client.connect_timeout = broker.timeout
        if broker.user:
            self._client.username_pw_set(broker.user, broker.password)
        self._listen()

    def _listen(self) -> None:
        client = self._client
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_answered
        client.on_publish = lambda c, u, mid, code, p: self._answer(mid, [code])
        client.on_message = self._on_message
        client.on_socket_open = lambda c, u, sock: self._soon(self._open_socket, sock)
        client.on_socket_close = lambda c, u, sock: self._close_socket(sock)
        client.on_socket_register_write = lambda c, u, sock: self._soon(self._watch_writes, sock)
        client.on_socket_unregister_write = lambda c, u, sock: self._forget_writes(sock)

    @classmethod
    async def dial(
        cls, broker: Broker, receive: Receive, *, will: Will | None = None, session: int = 0
    ) -> MqttLine:
        """Connect, or raise ConnectionLost.

        Parameters
        ----------
        broker : Broker
            Where.
        receive : callable
            ``receive(topic, payload, retained)`` for every message, in order.
        will : Will, optional
            Published by the broker when this connection dies.
        session : int [s]
            How long the broker keeps subscriptions and messages of QoS 1 after a loss.
        """
        line = cls(broker, receive)
        try:
            await line._connect(will, session)
        except BaseException:
            await line.hang_up()
            raise
        return line

    async def _connect(self, will: Will | None, session: int) -> None:
        client, broker = self._client, self.broker
        self._encryption = broker.context()
        if self._encryption is not None:
            client.tls_set_context(self._encryption)
        if will is not None:
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = session
        host, _, port = broker.place.rpartition(":")
        dialled = asyncio.ensure_future(
            asyncio.to_thread(
                client.connect,
                host,
                int(port),
                int(broker.keepalive),
                clean_start=session == 0,
                properties=properties,
            )
        )
        try:
            await asyncio.shield(dialled)
            async with asyncio.timeout(broker.timeout):
                await self._connected
        except TimeoutError as error:
            found = f"connect: no answer within {broker.timeout:g} s"
            raise ConnectionLost(found, where=broker.place) from error
        except OSError as error:  # ssl.SSLError is one
            raise ConnectionLost(f"connect: {error}", where=broker.place) from error
        finally:
            # The thread cannot be stopped; its socket must not outlive us. Bounded by the timeout.
            if not dialled.done():
                await asyncio.gather(dialled, return_exceptions=True)

    async def subscribe(self, filters: Sequence[tuple[str, int]]) -> None:
        """Receive what is published to ``filters`` (topic filter, QoS)."""
        if not filters:
            return
        code, mid = self._client.subscribe([(name, qos) for name, qos in filters])
        names = ", ".join(name for name, _ in filters)
        await self._wait(code, mid, f"subscribe to {names}")

    async def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        """Send; returns when written (QoS 0) or when the broker has it (QoS 1)."""
        if self._gone.is_set():
            raise ConnectionLost(f"publish {topic}: {self._reason}", where=self.broker.place)
        sent = self._client.publish(topic, payload, qos, retain)
        await self._wait(sent.rc, sent.mid, f"publish {topic}")

    async def lost(self) -> str:
        """Return the reason when the connection has died."""
        while not self._gone.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT):
                    await self._gone.wait()
            if not self._gone.is_set():
                self._client.loop_misc()
        return self._reason

    @property
    def is_lost(self) -> bool:
        """Whether the connection has died."""
        return self._gone.is_set()

    def drop(self, reason: str) -> None:
        """Make `lost` return, for reasons of our own."""
        self._lose(reason)

    async def hang_up(self) -> None:
        """Say goodbye if that is possible in a second, and free the socket in any case."""
        self._lose("closed")
        self._receive = _ignore
        if self._client.socket() is not None:
            with suppress(Exception):
                self._client.disconnect()
                async with asyncio.timeout(1.0):
                    await self._closed.wait()
        left = self._client.socket()
        if isinstance(left, socket.socket):
            self._close_socket(left)
            left.close()
        if self._encryption is not None and self._encryption.wrapped is not None:
            self._encryption.wrapped.close()
        if self._connected.done() and not self._connected.cancelled():
            self._connected.exception()

    async def _wait(self, code: MQTTErrorCode, mid: int | None, what: str) -> None:
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise ConnectionLost(f"{what}: {code.name}", where=self.broker.place)
        answered: asyncio.Future[None] = self._loop.create_future()
        self._waiting[mid] = answered
        try:
            async with asyncio.timeout(self.broker.timeout):
                await answered
        except TimeoutError as error:
            found = f"{what}: no answer within {self.broker.timeout:g} s"
            raise ConnectionLost(found, where=self.broker.place) from error
        except ConnectionLost as error:
            raise ConnectionLost(f"{what}: {error.found}", where=self.broker.place) from error
        finally:
            self._waiting.pop(mid, None)

    def _on_connect(
        self, client: Client, data: Any, flags: Any, code: ReasonCode, properties: Any
    ) -> None:
        if self._connected.done():
            return
        if code.is_failure:
            hint = "check user and password" if code.value in (0x86, 0x87) else ""
            self._connected.set_exception(
                ConnectionLost(f"connect: {code}", where=self.broker.place, hint=hint)
            )
        else:
            self.resumed = bool(flags.session_present)
            self._connected.set_result(None)

    def _on_disconnect(
        self, client: Client, data: Any, flags: Any, code: ReasonCode, properties: Any
    ) -> None:
        self._closed.set()
        self._lose(f"{code}" if code.value else "closed")

    def _on_answered(
        self, client: Client, data: Any, mid: int, codes: list[ReasonCode], properties: Any
    ) -> None:
        self._answer(mid, codes)

    def _answer(self, mid: int, codes: Sequence[ReasonCode]) -> None:
        answered = self._waiting.get(mid)
        if answered is None or answered.done():
            return
        refused = next((code for code in codes if code.is_failure), None)
        if refused is not None:
            answered.set_exception(ConnectionLost(str(refused)))
        else:
            answered.set_result(None)

    def _on_message(self, client: Client, data: Any, message: MQTTMessage) -> None:
        self._receive(message.topic, bytes(message.payload), message.retain)

    def _soon(self, act: Callable[[socket.socket], None], sock: Any) -> None:
        """Act in the loop: the stack calls from the thread that connects, too."""
        self._loop.call_soon_threadsafe(act, sock)

    def _open_socket(self, sock: socket.socket) -> None:
        if sock.fileno() >= 0:
            self._loop.add_reader(sock.fileno(), self._read, sock)

    def _watch_writes(self, sock: socket.socket) -> None:
        if sock.fileno() >= 0:
            self._loop.add_writer(sock.fileno(), self._write)

    def _forget_writes(self, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.remove_writer(sock.fileno())

    def _close_socket(self, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.remove_reader(sock.fileno())
            self._loop.remove_writer(sock.fileno())

    def _read(self, sock: socket.socket) -> None:
        try:
            self._client.loop_read()
            while isinstance(sock, ssl.SSLSocket) and sock.fileno() >= 0 and sock.pending():
                self._client.loop_read()
        except Exception as error:  # what the stack or a message raises ends this life, not ours
            log.debug("reading from %s", self.broker.place, exc_info=True)
            self._lose(str(error) or type(error).__name__)

    def _write(self) -> None:
        try:
            self._client.loop_write()
        except Exception as error:  # as above
            log.debug("writing to %s", self.broker.place, exc_info=True)
            self._lose(str(error) or type(error).__name__)

    def _lose(self, reason: str) -> None:
        if self._gone.is_set():
            return
        self._reason = reason
        self._gone.set()
        lost = ConnectionLost(f"connection lost: {reason}", where=self.broker.place)
        for answered in self._waiting.values():
            if not answered.done():
                answered.set_exception(lost)
        if not self._connected.done():
            self._connected.set_exception(lost)


def _ignore(topic: str, payload: bytes, retained: bool) -> None:
    """Messages that come while hanging up."""
