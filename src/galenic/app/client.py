"""A client of a running server: for the command line, scripts and other processes.

The folder of a site holds ``server.json`` while its server runs: its address, and a token of the
person who started it, readable by that person alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.errors import ConnectionLost, DataError, GalenicError, NotPermitted, UnknownName
from galenic.twin.result import Artefact, Result

if TYPE_CHECKING:
    import httpx

FILE = "server.json"
VARIABLE = "GALENIC_TOKEN"
POLL = 0.25


class ServerError(GalenicError):
    """The server answered with an error; ``kind`` is its class there."""

    def __init__(self, found: str, *, kind: str = "", **facts: str) -> None:
        self.kind = kind
        super().__init__(found, **facts)

    def to_dict(self) -> dict[str, str]:
        return super().to_dict() | ({"error": self.kind} if self.kind else {})


def announce(folder: Path, address: str, token: str, certificate: Path | None = None) -> Path:
    """Write ``server.json``; only its owner may read it."""
    path = folder / FILE
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        facts = {"address": address, "token": token, "process": os.getpid()}
        json.dump(facts | ({"certificate": str(certificate)} if certificate else {}), stream)
    return path


def withdraw(folder: Path) -> None:
    """Remove ``server.json``."""
    (folder / FILE).unlink(missing_ok=True)


def token_file(folder: Path) -> Path:
    """Where a person's sign-in at the site of a folder is kept between commands."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return Path(state) / "galenic" / f"{name}.token"


def keep_token(folder: Path, token: str) -> Path:
    """Keep a sign-in; only its owner may read the file."""
    path = token_file(folder)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(token)
    return path


def kept_token(folder: Path) -> str:
    """The sign-in that is kept; empty where there is none."""
    try:
        return token_file(folder).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


class Client:
    """Calls services and endpoints of a server.

    Parameters
    ----------
    address : str
        As ``http://127.0.0.1:8090``.
    token : str
        Bearer token of a sign-in.
    transport : httpx.BaseTransport, optional
        Another way to the server, for tests.
    certificate : path, optional
        The one certificate that the server must show; else the system decides what it trusts.
    """

    def __init__(
        self, address: str, token: str = "", transport: Any = None, certificate: str = ""
    ) -> None:
        import httpx

        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.address = address
        verify = _only(certificate) if certificate else True
        self._http: httpx.Client = httpx.Client(
            base_url=address, headers=headers, timeout=30, transport=transport, verify=verify
        )

    @classmethod
    def running(cls, folder: Path) -> Client | None:
        """A client of the server that runs on this site, or None where none answers."""
        try:
            facts = json.loads((folder / FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        token = os.environ.get(VARIABLE) or kept_token(folder) or facts["token"]
        client = cls(facts["address"], token, certificate=facts.get("certificate", ""))
        try:
            client.get("/api/health")
        except GalenicError:
            client.close()
            return None
        return client

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """The JSON document at ``path``."""
        return self._ask("GET", path, params=query).json()

    def post(self, path: str, body: Any = None) -> Any:
        """The JSON answer to ``body``."""
        return self._ask("POST", path, json=body).json()

    def call(
        self,
        name: str,
        arguments: Mapping[str, Any],
        report: Callable[[float, str], None] = lambda fraction, text: None,
    ) -> Result:
        """Call a service, wait for its job, and give its result."""
        stage, _, service = name.partition(".")
        body = {key: _carried(value) for key, value in arguments.items()}
        job = self.post(f"/api/services/{stage}/{service}", body)
        try:
            while job["state"] in ("queued", "running"):
                report(job["progress"], job["message"])
                time.sleep(POLL)
                job = self.get(f"/api/jobs/{job['id']}")
        except KeyboardInterrupt:
            self.post(f"/api/jobs/{job['id']}/cancel")
            raise
        if job["state"] != "done":
            error = dict(job.get("error") or {"found": f"the job was {job['state']}"})
            raise ServerError(error.pop("found"), kind=error.pop("error", ""), **error)
        record = job["result"]
        made = [self.artefact(one) for one in record.get("artefacts", ())]
        return Result.from_dict(record, made)

    def artefact(self, facts: Mapping[str, Any]) -> Artefact:
        """Fetch an artefact that a result names."""
        content = self._ask("GET", f"/api/artefacts/{facts['hash']}").content
        return Artefact(facts["name"], content, facts["media"])

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        import httpx

        try:
            answer = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise ConnectionLost(
                f"the server does not answer: {error}",
                where=self.address,
                hint="is galenic run still up?",
            ) from error
        if answer.is_success:
            return answer
        raise _error(answer)


def _only(certificate: str) -> ssl.SSLContext:
    """Trust in one certificate, whatever name it is for: it is this machine's own server."""
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _error(answer: httpx.Response) -> GalenicError:
    """The error that a problem document describes."""
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    found = str(problem.get("detail") or f"the server answered {answer.status_code}")
    facts = {key: str(problem[key]) for key in ("where", "expected", "hint") if problem.get(key)}
    known = {401: NotPermitted, 403: NotPermitted, 404: UnknownName}
    if answer.status_code in known:
        return known[answer.status_code](found, **facts)
    return ServerError(found, kind=str(problem.get("error", DataError.__name__)), **facts)


def _carried(value: Any) -> Any:
    """An argument as it travels: files by content, because the server may not read our paths."""
    if isinstance(value, dict) and set(value) == {"path"}:
        path = Path(value["path"])
        return {"name": path.name, "content": base64.b64encode(path.read_bytes()).decode()}
    return value
