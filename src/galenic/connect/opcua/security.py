"""How an OPC UA connection is protected, and self-signed application certificates."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlparse

from galenic.errors import DataError, UnknownName

NO_SECURITY = "None"
POLICIES = ("Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")
APPLICATION_URI = "urn:galenic:application"


@dataclass(frozen=True)
class Security:
    """Protection of one connection; messages are signed and encrypted unless it is ``None``.

    Parameters
    ----------
    policy : str
        ``Basic256Sha256``, ``Aes128Sha256RsaOaep``, ``Aes256Sha256RsaPss``, or the explicit
        ``None``, which sends everything in clear text.
    certificate, key : Path, optional
        Application certificate (DER or PEM) and its private key (PEM); needed unless ``None``.
    trusted : tuple of Path
        Certificates of the other side that are accepted; empty accepts any and says so.
    """

    policy: str = POLICIES[0]
    certificate: Path | None = None
    key: Path | None = None
    trusted: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.policy not in (*POLICIES, NO_SECURITY):
            raise UnknownName.among("security policy", self.policy, (*POLICIES, NO_SECURITY))
        if not self.encrypts:
            return
        for what, path in (("certificate", self.certificate), ("key", self.key)):
            if path is None:
                raise DataError(
                    f"security {self.policy!r} needs a {what}",
                    hint='make one with `create_certificate`, or set security = "None" to send '
                    "everything in clear text",
                )
        for path in (self.certificate, self.key, *self.trusted):
            if path is not None and not path.is_file():
                raise DataError(f"there is no file {str(path)!r}", where="OPC UA security")

    @property
    def encrypts(self) -> bool:
        """Whether messages are signed and encrypted."""
        return self.policy != NO_SECURITY


def is_loopback(endpoint: str) -> bool:
    """Whether ``endpoint`` names this machine only."""
    host = urlparse(endpoint).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_endpoint(endpoint: str) -> str:
    """``endpoint`` if it is an ``opc.tcp://host:port/`` address, else DataError."""
    parts = urlparse(endpoint)
    try:
        complete = parts.scheme == "opc.tcp" and parts.hostname and parts.port is not None
    except ValueError:
        complete = False
    if not complete:
        raise DataError(
            f"{endpoint!r} is not an OPC UA address", expected="opc.tcp://host:port/path"
        )
    return endpoint


def create_certificate(
    folder: Path,
    name: str = "galenic",
    *,
    uri: str = APPLICATION_URI,
    hosts: Sequence[str] = (),
    days: int = 365,
) -> tuple[Path, Path]:
    """A self-signed application certificate, kept if ``folder`` has a valid one already.

    Parameters
    ----------
    folder : Path
        Where ``name.der`` and ``name.pem`` (the private key, readable by its owner only) are.
    uri : str
        Application URI in the certificate; OPC 10000-6, 6.2.2 wants it there.
    hosts : sequence of str
        Further host names; this machine's name and ``localhost`` are always in.
    days : int [d]
        Validity.

    Returns
    -------
    tuple of Path
        Certificate and private key.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    certificate, key = folder / f"{name}.der", folder / f"{name}.pem"
    if certificate.is_file() and key.is_file():
        found = x509.load_der_x509_certificate(certificate.read_bytes())
        if found.not_valid_after_utc > datetime.now(UTC):
            return certificate, key
    folder.mkdir(parents=True, exist_ok=True)
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    signed = _sign(private, name, uri, [socket.gethostname(), "localhost", *hosts], days)
    with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    certificate.write_bytes(signed.public_bytes(Encoding.DER))
    return certificate, key


def _sign(private, name: str, uri: str, hosts: Sequence[str], days: int):  # type: ignore[no-untyped-def]
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
    names += [x509.DNSName(host) for host in dict.fromkeys(hosts)]
    names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    both = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(subject, subject, private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), False)
    )
    return builder.sign(private, hashes.SHA256())
