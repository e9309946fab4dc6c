"""What a project file says about listening, access and signatures; mistakes name the line."""

from __future__ import annotations

import pytest

from galenic.errors import GalenicError
from galenic.records.policy import AccessRules, SignatureRule
from galenic.twin.project import read_project

TLS = 'certificate = "server.pem"\nkey = "server.key"\n'


def project(tmp_path, text):
    for name in ("server.pem", "server.key"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o600)
    path = tmp_path / "project.toml"
    path.write_text(text)
    return read_project(path)


def test_everything_has_a_default(tmp_path):
    security = project(tmp_path, "").security

    assert security.access == AccessRules()
    assert security.oidc is None
    assert security.signatures == ()


def test_all_settings_arrive(tmp_path):
    security = project(
        tmp_path,
        f"""
        [site]
        address = "0.0.0.0:8443"
        [server]
        beyond_loopback = true
        {TLS}
        [access]
        lock_after = 3
        idle_minutes = 15
        command_line = ["viewer"]
        [access.oidc]
        issuer = "https://id.example"
        client = "galenic"
        roles = {{ plant = ["operator@line-*"] }}
        [[access.signature]]
        of = "twins.level"
        when = {{ to = "twin" }}
        """,
    ).security

    assert security.server.certificate == (tmp_path / "server.pem").resolve()
    assert (security.access.lock_after, security.access.idle_minutes) == (3, 15)
    assert security.access.command_line == ("viewer",)
    assert security.oidc.roles == {"plant": ("operator@line-*",)}
    (rule,) = security.signatures
    assert rule == SignatureRule("twins.level", when={"to": "twin"})
    assert rule.fits("twins.level", {"to": "twin"})
    assert not rule.fits("twins.level", {"to": "shadow"})


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ('[site]\naddress = "0.0.0.0:1"', 2, "other machines could reach"),
        ('[site]\naddress = "192.168.1.5:1"\n[server]\n' + TLS, 2, "other machines"),
        ('[site]\naddress = "[::]:1"\n[server]\nbeyond_loopback = true', 2, "without encryption"),
        ('[server]\ncertificate = "none.pem"\nkey = "server.key"', 2, "there is no file"),
        ('[server]\ncertificate = "server.pem"', 1, "needs certificate and key"),
        ("[access]\nlock_aftr = 3", 2, "there is no key 'lock_aftr'"),
        ("[access]\nlock_after = true", 2, "lock_after = True"),
        ("[access]\nsessions = -1", 2, "sessions = -1"),
        ('[access]\ncommand_line = ["boss"]', 2, "there is no role 'boss'"),
        ("[access]\nlocal = false", 2, "nobody could sign in"),
        ('[access.oidc]\nissuer = "http://id.example"\nclient = "g"\nroles = {a = ["viewer"]}', 2,
         "issuer"),
        ('[access.oidc]\nissuer = "https://id.example"', 1, "needs its client"),
        ('[[access.signature]]\nof = "twins.level"\nmeanings = ["agreement"]', 3, "agreement"),
        ('[[access.signature]]\nmeanings = ["review"]', 1, "needs of"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_line(tmp_path, text, line, found):
    with pytest.raises(GalenicError, match=found.replace("[", r"\[")) as caught:
        project(tmp_path, text)

    assert caught.value.where.endswith(f"project.toml:{line}")


def test_a_key_that_everybody_reads_is_refused(tmp_path):
    project(tmp_path, "[server]\n" + TLS)
    (tmp_path / "server.key").chmod(0o644)

    with pytest.raises(GalenicError, match="everybody"):
        read_project(tmp_path / "project.toml")
