"""What a project file says about access: its tables ``[server]`` and ``[access]``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from galenic.errors import DataError, GalenicError, UnknownName
from galenic.records.grants import Grant
from galenic.records.policy import MEANINGS, AccessRules, SignatureRule

SERVER = {"certificate": str, "key": str, "beyond_loopback": bool, "body_limit": float}
ACCESS = {f.name: type(f.default) for f in fields(AccessRules)}
OIDC = {
    "issuer": str, "client": str, "secret_file": str, "secret_variable": str, "redirect": str,
    "scopes": list, "name": str, "full_name": str, "groups": str, "roles": dict, "ca": str,
}  # fmt: skip
SIGNATURE = {"of": str, "meanings": list, "when": dict, "role": str, "hours": float}
At = Callable[..., str]
"""``file:line`` of a key in the n-th table of a name."""


@dataclass(frozen=True)
class ServerRules:
    """How the server listens.

    Parameters
    ----------
    certificate, key : Path, optional
        TLS, in PEM form.
    beyond_loopback : bool
        Whether other machines may reach it; only with TLS.
    body_limit : float [MiB]
        Largest body of a call of a service.
    """

    certificate: Path | None = None
    key: Path | None = None
    beyond_loopback: bool = False
    body_limit: float = 64.0


@dataclass(frozen=True)
class OidcRules:
    """The OpenID provider of a site, and what its claims mean here.

    Parameters
    ----------
    issuer, client : str
        As the provider names itself and this site.
    secret_file, secret_variable : str
        Where the client secret is read from: a file, or a variable of the environment; neither
        for a public client.
    redirect : str
        Address of ``/api/oidc/back`` as browsers reach it; from the request if left out.
    name, full_name, groups : str
        Claims with user name, printed name and groups.
    roles : mapping of str to tuple of str
        Grants of each group.
    ca : str
        Certificates that the provider's own is checked against; the system's if left out.
    """

    issuer: str
    client: str
    secret_file: str = ""
    secret_variable: str = ""
    redirect: str = ""
    scopes: tuple[str, ...] = ("openid", "profile")
    name: str = "preferred_username"
    full_name: str = "name"
    groups: str = "groups"
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ca: str = ""


@dataclass(frozen=True)
class Security:
    """All of it."""

    server: ServerRules = field(default_factory=ServerRules)
    access: AccessRules = field(default_factory=AccessRules)
    oidc: OidcRules | None = None
    signatures: tuple[SignatureRule, ...] = ()


def read_security(record: Mapping[str, Any], address: str, at: At, folder: Path) -> Security:
    """What the tables of a project file say; errors name file and line."""
    table = dict(record.get("access", {}))
    oidc, rules = table.pop("oidc", None), table.pop("signature", [])
    server = _server(record.get("server", {}), address, at, folder)
    access = _access(table, at)
    provider = None if oidc is None else _oidc(oidc, at, folder)
    if not access.local and provider is None:
        raise DataError(
            "nobody could sign in", where=at("access", 0, "local"), expected="[access.oidc]"
        )
    signatures = tuple(_signature(one, n, at) for n, one in enumerate(rules))
    return Security(server, access, provider, signatures)


def _typed(
    table: Mapping[str, Any], types: Mapping[str, type], name: str, at: At, n: int = 0
) -> None:
    for key, value in table.items():
        if key not in types:
            raise UnknownName.among("key", key, types, where=at(name, n, key))
        wanted = {float: (int, float), tuple: (list,)}.get(types[key], (types[key],))
        is_flag = isinstance(value, bool) and types[key] is not bool
        if is_flag or not isinstance(value, wanted):
            raise DataError(
                f"{key} = {value!r}",
                where=at(name, n, key),
                expected=f"a {types[key].__name__}",
            )
        if isinstance(value, int | float) and value < 0:
            raise DataError(f"{key} = {value!r}", where=at(name, n, key), expected="0 or more")


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach a server at ``host:port``.

    Examples
    --------
    >>> is_loopback("127.0.0.1:8090"), is_loopback("[::1]:1"), is_loopback("0.0.0.0:8090")
    (True, True, False)
    """
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _server(table: Mapping[str, Any], address: str, at: At, folder: Path) -> ServerRules:
    _typed(table, SERVER, "server", at)
    paths = {}
    for key in ("certificate", "key"):
        if key in table:
            paths[key] = folder / table[key]
            if not paths[key].is_file():
                raise DataError(
                    f"there is no file {table[key]!r}", where=at("server", 0, key),
                    expected="a file in PEM form",
                )  # fmt: skip
    if len(paths) == 1:
        raise DataError(
            "TLS needs certificate and key", where=at("server"), expected="both, or neither"
        )
    if "key" in paths and paths["key"].stat().st_mode & 0o007:
        raise DataError(
            "everybody on this machine can read the key", where=at("server", 0, "key"),
            expected="a file that only its owner or group reads", hint="chmod 600",
        )  # fmt: skip
    beyond = table.get("beyond_loopback", False)
    if not is_loopback(address):
        where = at("site", 0, "address")
        if not beyond:
            raise DataError(
                f"other machines could reach {address}", where=where,
                expected="an address of this machine alone, as 127.0.0.1:8090",
                hint="if that is meant, set beyond_loopback = true under [server], with TLS",
            )  # fmt: skip
        if not paths:
            raise DataError(
                f"{address} would be open without encryption", where=where,
                expected="certificate and key under [server]",
            )  # fmt: skip
    limit = float(table.get("body_limit", ServerRules.body_limit))
    return ServerRules(paths.get("certificate"), paths.get("key"), beyond, limit)


def _access(table: Mapping[str, Any], at: At) -> AccessRules:
    _typed(table, ACCESS, "access", at)
    values = dict(table)
    if "command_line" in values:
        where = at("access", 0, "command_line")
        values["command_line"] = _grants(values["command_line"], where)
    return AccessRules(**values)


def _grants(texts: Iterable[Any], where: str) -> tuple[str, ...]:
    for text in texts:
        try:
            Grant.of(str(text))
        except GalenicError as error:
            error.where = where
            raise
    return tuple(str(text) for text in texts)


def _oidc(table: Mapping[str, Any], at: At, folder: Path) -> OidcRules:
    _typed(table, OIDC, "access.oidc", at)
    for key in ("issuer", "client", "roles"):
        if not table.get(key):
            raise DataError(f"OpenID Connect needs its {key}", where=at("access.oidc"))
    if not str(table["issuer"]).startswith(("https://", "http://127.0.0.1", "http://localhost")):
        raise DataError(
            f"issuer = {table['issuer']!r}", where=at("access.oidc", 0, "issuer"),
            expected="an address with https",
        )  # fmt: skip
    values = dict(table)
    where = at("access.oidc", 0, "roles")
    values["roles"] = {
        str(group): _grants([grants] if isinstance(grants, str) else grants, where)
        for group, grants in table["roles"].items()
    }
    if "scopes" in values:
        values["scopes"] = tuple(dict.fromkeys(("openid", *map(str, values["scopes"]))))
    for key in ("secret_file", "ca"):
        if values.get(key):
            values[key] = str(folder / values[key])
    return OidcRules(**values)


def _signature(table: Mapping[str, Any], n: int, at: At) -> SignatureRule:
    _typed(table, SIGNATURE, "access.signature", at, n)
    if "of" not in table:
        raise DataError("a rule of signatures needs of", where=at("access.signature", n))
    values = dict(table)
    meanings = tuple(values.get("meanings", SignatureRule.meanings))
    where = at("access.signature", n, "meanings")
    for meaning in meanings:
        if meaning not in MEANINGS:
            raise UnknownName.among("meaning of a signature", str(meaning), MEANINGS, where=where)
    if not meanings or len(set(meanings)) != len(meanings):
        raise DataError("each meaning once", where=where, expected=", ".join(MEANINGS))
    if values.get("role"):
        _grants([values["role"]], at("access.signature", n, "role"))
    return SignatureRule(**{**values, "meanings": meanings})
