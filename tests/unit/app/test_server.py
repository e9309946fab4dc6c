"""The server as it is started: TLS, incidents on every page, the client that finds it."""

from __future__ import annotations

import asyncio
import datetime
import json
import ssl

import httpx
import pytest

from galenic.app.cli import main
from galenic.app.cli.access import PASSWORD
from galenic.app.cli.signing import NAME
from galenic.app.client import VARIABLE, Client, keep_token, token_file
from galenic.app.server import Options, serve
from galenic.twin.project import read_project

DAYS = 20  # fewer than a certificate should still have


@pytest.fixture
def project(tmp_path):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "plant.example")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("plant.example")]), False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (tmp_path / "server.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "server.key").write_bytes(secret)
    (tmp_path / "server.key").chmod(0o600)
    path = tmp_path / "project.toml"
    path.write_text(
        '[site]\naddress = "127.0.0.1:0"\n[access]\ncommand_line = ["viewer"]\nlock_after = 2\n'
        '[server]\ncertificate = "server.pem"\nkey = "server.key"\n'
    )
    return read_project(path)


async def test_a_server_with_tls_speaks_it_alone_and_tells_incidents(project, monkeypatch, capsys):
    monkeypatch.setenv("XDG_STATE_HOME", str(project.path.parent / "state"))
    stop, up = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(project, Options(), up.set_result, stop))
    facts = await asyncio.wait_for(asyncio.shield(up), 60)
    try:
        await asyncio.to_thread(_commands, project, facts, monkeypatch, capsys)
        await asyncio.to_thread(_look, project, facts, monkeypatch)
    finally:
        stop.set()
        await task


def _commands(project, facts, monkeypatch, capsys):
    """A person signs in on the command line, keeps people and tokens, signs, and signs out."""
    monkeypatch.setenv(PASSWORD, facts.password)
    monkeypatch.setenv(NAME, "operator")

    def galenic(*words, code=0):
        assert main([*words, "--project", str(project.site.folder), "--json"]) == code
        return json.loads(capsys.readouterr().out)

    assert "does not allow" in galenic("people", code=1)["found"]
    galenic("sign-in", "operator")
    assert token_file(project.site.folder).stat().st_mode & 0o077 == 0
    made = galenic("people", "lake", "--add", "--service", "--role", "viewer", "--reason", "data")
    assert (made["person"]["service"], made["password"]) == (True, None)
    token = galenic("tokens", "lake", "--owner", "lake", "--service", "rest.*", "--days", "3")
    assert token["secret"].startswith("gal_")
    galenic("tokens", "--revoke", token["token"]["id"], "--reason", "test")
    assert galenic("tokens", "--everybody")[0]["state"] == "revoked"
    assert [one["name"] for one in galenic("people")] == ["lake", "operator"]
    signed = galenic("sign", "entry", "0", "--as", "review", "--reason", "read it")
    assert signed["method"] == "name and password"
    again = galenic("sign", "entry", "1", "--as", "approval", "--reason", "read it")
    assert again["method"] == "password"
    shown = galenic("signatures", "entry", "0")["signatures"]
    assert [one["holds"] for one in shown] == [True]
    assert galenic("requests") == []
    assert "needs no signature" in galenic(
        "request", "models.catalogue", "--as", "authorship", "--reason", "x", code=1
    )["found"]  # fmt: skip
    galenic("sign-out")
    assert not token_file(project.site.folder).exists()
    assert galenic("people", code=1)["error"] == "NotPermitted"


def _look(project, facts, monkeypatch):
    folder = project.site.folder
    assert facts.address.startswith("https://127.0.0.1:")
    with pytest.raises(httpx.HTTPError):
        httpx.get(facts.address.replace("https", "http") + "/api/health")
    with pytest.raises(httpx.ConnectError):  # the system does not trust it
        httpx.get(facts.address + "/api/health")
    old = ssl.create_default_context(cafile=project.security.server.certificate)
    old.check_hostname, old.maximum_version = False, ssl.TLSVersion.TLSv1_2
    assert httpx.get(facts.address + "/api/health", verify=old).json()["up"]

    with Client.running(folder) as local:
        assert local.get("/api/me")["roles"] == ["viewer"]
        assert "ends in 19 days" in local.get("/api/status")["problems"]["certificate"]
        for _ in range(2):
            with pytest.raises(Exception, match="wrong"):
                local.post("/api/sign-in", {"name": "operator", "password": "guess"})
        assert "2 wrong" in local.get("/api/status")["problems"]["access of operator"]

    monkeypatch.setenv(VARIABLE, "gal_nothing")
    with Client.running(folder) as other, pytest.raises(Exception, match="does not hold"):
        other.get("/api/me")
    monkeypatch.delenv(VARIABLE)
    assert keep_token(folder, "kept").stat().st_mode & 0o077 == 0
    with Client.running(folder) as kept, pytest.raises(Exception, match="not signed in"):
        kept.get("/api/me")
    token_file(folder).unlink()
