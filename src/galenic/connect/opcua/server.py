"""An OPC UA server of a tag table: the face of a virtual plant, and of tests."""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlparse

from asyncua import Server, ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.address_space import AttributeService

from galenic.clock import Clock, SystemClock
from galenic.connect.connector import (
    BAD_NOT_WRITABLE,
    BAD_TYPE_MISMATCH,
    BAD_WAITING_FOR_INITIAL_DATA,
    FAILED,
    TagInfo,
    Value,
    WriteResult,
    require_tags,
)
from galenic.connect.opcua.history import TagHistory
from galenic.connect.opcua.security import (
    APPLICATION_URI,
    NO_SECURITY,
    Security,
    check_endpoint,
    is_loopback,
)
from galenic.connect.opcua.values import VARIANTS, engineering_unit, to_data_value
from galenic.errors import ConnectionLost, DataError, GalenicError
from galenic.signals import Sample

log = logging.getLogger(__name__)

WriteHandler = Callable[[str, Value, str, int], WriteResult]
BAD_INTERNAL_ERROR = 0x80020000
READ = 1 << ua.AccessLevel.CurrentRead
WRITE = 1 << ua.AccessLevel.CurrentWrite
HISTORY = 1 << ua.AccessLevel.HistoryRead


class TagServer:
    """Serves tags as variables; each publish is a data change with its own time and status.

    Parameters
    ----------
    tags : sequence of TagInfo
        ``Press.MainForce`` becomes variable ``MainForce`` in folder ``Press`` with node id
        ``ns=2;s=Press.MainForce``; types are Double, UInt32, Boolean and String.
    endpoint : str
        ``opc.tcp://host:port/``; port 0 takes a free one, see `endpoint` after `start`.
    security : Security
        The one policy that is offered. ``None`` only on this machine's own address.
    users : mapping of str to str
        User names and passwords; empty lets anybody in.
    on_write : callable, optional
        ``on_write(tag, value, unit, time) -> WriteResult`` decides about a client's write;
        without it a value is taken as it is.
    clock : Clock, optional
        Gives the time of writes; the system clock by default.
    history : float [s]
        How long values are kept for HistoryRead; 0 keeps none.
    scanned : bool, optional
        Whether the tags are registers of a device, whose first publication is what they held
        when it was switched on: measured numbers (those that nobody may write) then wait for
        initial data until the second. So it is by default where writes are asked about.
    """

    def __init__(
        self,
        tags: Sequence[TagInfo],
        endpoint: str = "opc.tcp://127.0.0.1:0/",
        *,
        security: Security | None = None,
        users: Mapping[str, str] | None = None,
        on_write: WriteHandler | None = None,
        clock: Clock | None = None,
        history: float = 0.0,
        scanned: bool | None = None,
        name: str = "galenic tag server",
    ) -> None:
        self.tags = {info.tag: info for info in tags}
        self.security = security or Security(NO_SECURITY)
        self.users = dict(users or {})
        self.clock = clock or SystemClock()
        self.name = name
        self._asked = check_endpoint(endpoint)
        self._on_write = on_write
        self._history = TagHistory(history)
        self._scanned = on_write is not None if scanned is None else scanned
        self._waiting: list[Sample] | None = None
        self._server: Server | None = None
        self._nodes: dict[str, ua.NodeId] = {}
        self._names: dict[ua.NodeId, str] = {}
        if not self.security.encrypts and not is_loopback(endpoint):
            raise DataError(
                f"a server without security on {endpoint!r} could be read and written by anybody",
                hint="bind it to 127.0.0.1, or give it a Security with a certificate",
            )

    @property
    def endpoint(self) -> str:
        """The address that clients use, with the port in use."""
        if self._server is None or self._server.bserver is None:
            return self._asked
        parts = urlparse(self._asked)
        return parts._replace(netloc=f"{parts.hostname}:{self._server.bserver.port}").geturl()

    async def start(self) -> None:
        """Build the address space and listen; a port in use raises ConnectionLost."""
        if self._server is not None:
            return
        self._check_port()
        self._waiting = None
        server = Server(user_manager=_Users(self.users))
        server.set_endpoint(self._asked)
        server.set_server_name(self.name)
        await server.init()
        await server.set_application_uri(APPLICATION_URI)
        await self._protect(server)
        await self._build(server)
        server.iserver.attribute_service = _HookedWrites(server.iserver.aspace, self)
        server.iserver.history_manager = self._history
        try:
            await server.start()
        except OSError as error:
            await server.stop()
            raise self._cannot_listen(error) from error
        self._server = server

    def _check_port(self) -> None:
        """Fail at once, and not after the seconds that the address space takes."""
        parts = urlparse(self._asked)
        try:
            with socket.create_server((parts.hostname or "", parts.port or 0)):
                pass
        except OSError as error:
            raise self._cannot_listen(error) from error

    def _cannot_listen(self, error: OSError) -> ConnectionLost:
        return ConnectionLost(
            f"cannot listen on {self._asked}: {error.strerror or error}",
            hint="another program may use the port: stop it, or choose another port",
        )

    async def stop(self) -> None:
        """Disconnect every client and free the port."""
        if self._server is None:
            return
        server, self._server = self._server, None
        clock_task = server.iserver.time_task
        if clock_task is not None:
            # The stack waits for the next full second of this task when it stops.
            clock_task.cancel()
            await asyncio.gather(clock_task, return_exceptions=True)
            server.iserver.time_task = None
        await server.stop()

    async def __aenter__(self) -> TagServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def publish(self, samples: Iterable[Sample]) -> None:
        """Set the tags of ``samples``, in order, each with its source time and status."""
        await self._set(self._known_by_now(samples))

    def _known_by_now(self, samples: Iterable[Sample]) -> Iterable[Sample]:
        """The samples without what was not measured yet, and then with what still holds of it."""
        if not self._scanned or self._waiting == []:
            return samples
        given = list(samples)
        if self._waiting is None:
            self._waiting = [s for s in given if self._is_measured(s)]
            return [s for s in given if not self._is_measured(s)]
        renewed = {sample.tag for sample in given}
        held, self._waiting = [s for s in self._waiting if s.tag not in renewed], []
        return [*held, *given]

    def _is_measured(self, sample: Sample) -> bool:
        info = self.tags.get(sample.tag)
        return info is not None and not info.writable and info.type in ("float", "int")

    async def _set(self, samples: Iterable[Sample]) -> None:
        """Write the attributes directly: through a node's ``write_value`` it costs a third more."""
        if self._server is None:
            raise ConnectionLost(f"{self.name} is not started", hint="call start() first")
        space = self._server.iserver.aspace
        for sample in samples:
            require_tags([sample.tag], self.tags, self.name)
            data = to_data_value(sample, VARIANTS[self.tags[sample.tag].type])
            node = self._nodes[sample.tag]
            status = await space.write_attribute_value(node, ua.AttributeIds.Value, data)
            if status.is_bad():
                raise DataError(
                    f"{sample.value!r} does not fit", where=f"tag {sample.tag}",
                    expected=self.tags[sample.tag].type,
                )  # fmt: skip
            self._history.keep(node, data)

    async def answer_write(self, node: ua.NodeId, data: ua.DataValue) -> ua.StatusCode:
        """What a client's write of ``data`` gets; a good one is published."""
        info = self.tags[self._names[node]]
        if not info.writable:
            return ua.StatusCode(BAD_NOT_WRITABLE)
        if data.Value is None or data.Value.VariantType != VARIANTS[info.type]:
            return ua.StatusCode(BAD_TYPE_MISMATCH)
        now = self.clock.now()
        result = WriteResult()
        if self._on_write is not None:
            try:
                result = self._on_write(info.tag, data.Value.Value, info.unit, now)
            except GalenicError as error:
                log.warning("write of %s failed: %s", info.tag, error)
                return ua.StatusCode(BAD_INTERNAL_ERROR)
        if result.outcome != FAILED:
            held = data.Value.Value if result.read_back is None else result.read_back
            await self._set([Sample(info.tag, held, info.unit, now, now)])
        return ua.StatusCode(result.status)

    async def _protect(self, server: Server) -> None:
        from asyncua.crypto.uacrypto import load_certificate

        kind = f"{self.security.policy}_SignAndEncrypt"
        policy = kind if self.security.encrypts else "NoSecurity"
        server.set_security_policy([ua.SecurityPolicyType[policy]])
        token = ua.UserNameIdentityToken if self.users else ua.AnonymousIdentityToken
        server.set_identity_tokens([token])
        if self.security.encrypts:
            await server.load_certificate(self.security.certificate)
            await server.load_private_key(self.security.key)
        if self.security.trusted:
            known = [await load_certificate(path) for path in self.security.trusted]
            server.iserver.certificate_validator = _only(known)

    async def _build(self, server: Server) -> None:
        space = await server.register_namespace("urn:galenic:tags")
        folders: dict[str, Any] = {"": server.nodes.objects}
        waiting = ua.StatusCode(BAD_WAITING_FOR_INITIAL_DATA)
        for info in self.tags.values():
            group, _, name = info.tag.rpartition(".")
            folder = await _folder(folders, group, space)
            kind = VARIANTS[info.type]
            node = await folder.add_variable(
                ua.NodeId(info.tag, space), ua.QualifiedName(name, space), None,
                ua.VariantType.Null,
                ua.NodeId(kind.value),
            )  # fmt: skip
            access = READ | (WRITE if info.writable else 0)
            access |= HISTORY if self._history.period else 0
            await _set(node, ua.AttributeIds.AccessLevel, access, ua.VariantType.Byte)
            await _set(node, ua.AttributeIds.UserAccessLevel, access, ua.VariantType.Byte)
            text = ua.LocalizedText(info.description)
            await _set(node, ua.AttributeIds.Description, text, ua.VariantType.LocalizedText)
            if info.unit:
                unit = engineering_unit(info.unit)
                await node.add_property(ua.NodeId(f"{info.tag}/unit", space),
                    ua.QualifiedName("EngineeringUnits", 0), unit)  # fmt: skip
            empty = ua.DataValue(ua.Variant(None, ua.VariantType.Null), waiting)
            await server.iserver.aspace.write_attribute_value(
                node.nodeid, ua.AttributeIds.Value, empty
            )
            self._nodes[info.tag] = node.nodeid
            self._names[node.nodeid] = info.tag


async def _folder(folders: dict[str, Any], group: str, space: int) -> Any:
    """The folder of dotted name ``group``, made with its parents when first asked for."""
    if group not in folders:
        parent, _, name = group.rpartition(".")
        above = await _folder(folders, parent, space)
        folders[group] = await above.add_folder(
            ua.NodeId(group, space), ua.QualifiedName(name, space)
        )
    return folders[group]


async def _set(node: Any, attribute: ua.AttributeIds, value: Any, kind: ua.VariantType) -> None:
    await node.write_attribute(attribute, ua.DataValue(ua.Variant(value, kind)))


def _only(known: list[Any]) -> Callable[..., Any]:
    """A validator that refuses every certificate not among ``known``."""

    async def validate(certificate: Any, _: ua.ApplicationDescription) -> None:
        if certificate not in known:
            raise ServiceError(ua.StatusCodes.BadCertificateUntrusted)

    return validate


class _Users:
    """Lets in the users with their passwords, or anybody when there are none."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = users

    def get_user(
        self, iserver: Any, username: Any = None, password: Any = None, certificate: Any = None
    ) -> User | None:
        if not self._users:
            return User(UserRole.User, "anonymous")
        expected = self._users.get(str(username))
        given = password.decode() if isinstance(password, bytes) else str(password)
        if expected is None or not hmac.compare_digest(expected.encode(), given.encode()):
            return None
        return User(UserRole.User, str(username))


class _HookedWrites(AttributeService):  # type: ignore[misc]
    """Asks the tag server about each client's write; the server's own go through as ever."""

    def __init__(self, space: Any, server: TagServer) -> None:
        super().__init__(space)
        self._tag_server = server

    async def write(
        self,
        params: ua.WriteParameters,
        user: User = User(UserRole.Admin),  # noqa: B008
    ) -> list[ua.StatusCode]:
        if user.role is UserRole.Admin:
            results: list[ua.StatusCode] = await super().write(params, user)
            return results
        results = []
        for item in params.NodesToWrite:
            known = item.NodeId in self._tag_server._names
            if known and item.AttributeId == ua.AttributeIds.Value:
                results.append(await self._tag_server.answer_write(item.NodeId, item.Value))
            else:
                results.append(ua.StatusCode(ua.StatusCodes.BadUserAccessDenied))
        return results
