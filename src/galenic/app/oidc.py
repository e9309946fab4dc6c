"""People who sign in at an OpenID provider: authorisation code with PKCE, checked ID tokens.

OpenID Connect Core 1.0, RFC 7636 (PKCE, S256), RFC 9207 (issuer in the answer). Only asymmetric
signatures are taken; a token counts once, for the browser that asked for it, within ten minutes.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import ssl
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from galenic.errors import ConnectionLost, DataError, NotPermitted
from galenic.records.people import People
from galenic.records.sessions import minutes
from galenic.records.signatures import FRESH

if TYPE_CHECKING:
    from galenic.twin.security import OidcRules

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
              "EdDSA", "Ed25519")  # fmt: skip
WAIT, PENDING = 600.0, 1000  # seconds, and number, of sign-ins under way
LEEWAY = 60  # seconds between the provider's clock and ours
TIMEOUT = 10.0
SIGN_IN, SIGNATURE = "sign-in", "signature"


@dataclass(frozen=True)
class Pending:
    """A sign-in under way at the provider."""

    nonce: str
    verifier: str
    redirect: str
    purpose: str
    next: str
    token: str
    started: float


@dataclass(frozen=True)
class Returned:
    """Somebody whom the provider has sent back. ``token`` is empty after a re-authentication."""

    token: str
    next: str


class Provider:
    """One OpenID provider, and the people it vouches for.

    Parameters
    ----------
    rules : OidcRules
    people : People
    """

    def __init__(self, rules: OidcRules, people: People) -> None:
        self.rules = rules
        self._people = people
        self._pending: OrderedDict[str, Pending] = OrderedDict()
        self._known: dict[str, Any] = {}
        self._keys: Any = None
        self._lock = threading.Lock()

    def start(
        self, redirect: str, next: str = "/", purpose: str = SIGN_IN, token: str = ""
    ) -> tuple[str, str]:
        """Where the browser goes, and the state that it has to bring back.

        Parameters
        ----------
        redirect : str
            Address of ``/api/oidc/back`` as the browser reaches it.
        purpose : {"sign-in", "signature"}
            For a signature the provider must authenticate anew.
        token : str
            The sign-in that a signature belongs to.
        """
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        challenge = hashlib.sha256(verifier.encode()).digest()
        pending = Pending(
            secrets.token_urlsafe(24), verifier, self.rules.redirect or redirect, purpose,
            _local(next), token, time.time(),
        )  # fmt: skip
        asked = {
            "response_type": "code",
            "client_id": self.rules.client,
            "redirect_uri": pending.redirect,
            "scope": " ".join(self.rules.scopes),
            "state": state,
            "nonce": pending.nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        if purpose == SIGNATURE:
            asked |= {"prompt": "login", "max_age": "0"}
        address = str(self._discovered()["authorization_endpoint"])
        with self._lock:
            self._pending[state] = pending
            while len(self._pending) > PENDING:
                self._pending.popitem(last=False)
        return f"{address}{'&' if '?' in address else '?'}{urlencode(asked)}", state

    def back(
        self, code: str, state: str, held: str, issuer: str = "", origin: str = ""
    ) -> Returned:
        """The person who comes back with a code, signed in; or their fresh authentication.

        Parameters
        ----------
        held : str
            The state in the browser's cookie.
        issuer : str
            ``iss`` of the answer, where the provider sends it.
        """
        with self._lock:
            pending = self._pending.pop(state, None)
        if pending is None or time.time() - pending.started > WAIT:
            raise NotPermitted("this sign-in was not begun here, or it is too old")
        if not secrets.compare_digest(state.encode(), held.encode()):
            raise NotPermitted("this sign-in was begun in another browser")
        if issuer and issuer != self.rules.issuer:
            raise NotPermitted("the answer is of another provider")
        claims = self._claims(self._exchange(code, pending), pending)
        subject = f"{self.rules.issuer}|{claims['sub']}"
        if pending.purpose == SIGNATURE:
            self._refresh(subject, pending)
            return Returned("", pending.next)
        name = str(claims.get(self.rules.name) or claims["sub"])
        full_name = str(claims.get(self.rules.full_name) or name)
        grants = self._grants(claims)
        token = self._people.sign_in_elsewhere(subject, name, full_name, grants, origin)
        return Returned(token, pending.next)

    def _refresh(self, subject: str, pending: Pending) -> None:
        person, _ = self._people.signed_in(pending.token)
        if person.subject != subject:
            raise NotPermitted("somebody else has authenticated at the provider")
        self._people.refresh(pending.token, self._people.now + minutes(FRESH))

    def _grants(self, claims: dict[str, Any]) -> list[str]:
        """What the groups of a person mean here."""
        groups = claims.get(self.rules.groups) or []
        named = [groups] if isinstance(groups, str) else [str(one) for one in groups]
        grants = [grant for group in named for grant in self.rules.roles.get(group, ())]
        if not grants:
            raise NotPermitted(
                "the provider names no group that has a role here",
                expected=f"one of {', '.join(self.rules.roles)}",
                hint="ask whoever keeps the groups",
            )
        return list(dict.fromkeys(grants))

    def _exchange(self, code: str, pending: Pending) -> str:
        body = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": pending.redirect,
            "client_id": self.rules.client,
            "code_verifier": pending.verifier,
        }
        secret = self._secret()
        auth = (self.rules.client, secret) if secret else None
        answer = self._ask("POST", str(self._discovered()["token_endpoint"]), data=body, auth=auth)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise NotPermitted("the provider gave no ID token")
        return token

    def _secret(self) -> str:
        rules = self.rules
        if rules.secret_variable:
            return os.environ.get(rules.secret_variable, "")
        return Path(rules.secret_file).read_text().strip() if rules.secret_file else ""

    def _claims(self, token: str, pending: Pending) -> dict[str, Any]:
        """The claims of an ID token that is the provider's, ours, of now and for this sign-in."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        claims: dict[str, Any] = self._decoded(token)
        registry = jwt.JWTClaimsRegistry(
            leeway=LEEWAY,
            iss={"essential": True, "value": self.rules.issuer},
            aud={"essential": True, "value": self.rules.client},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": pending.nonce},
        )
        try:
            registry.validate(claims)
        except JoseError as error:
            raise NotPermitted(
                f"the ID token is refused: {error.error}: {error.description}"
            ) from error
        others = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", self.rules.client) != self.rules.client or (
            others and "azp" not in claims
        ):
            raise NotPermitted("the ID token was made for another client")
        if pending.purpose == SIGNATURE:
            since = claims.get("auth_time")
            if not isinstance(since, int | float) or since < pending.started - LEEWAY:
                raise NotPermitted("the provider has not authenticated anew")
        return claims

    def _decoded(self, token: str) -> dict[str, Any]:
        from joserfc import jwt
        from joserfc.errors import JoseError

        for again in (False, True):
            try:
                decoded = jwt.decode(token, self._key_set(again), algorithms=list(ALGORITHMS))
            except (JoseError, ValueError) as error:
                if again:
                    raise NotPermitted(f"the ID token is refused: {error}") from error
            else:
                return dict(decoded.claims)
        raise AssertionError

    def _key_set(self, again: bool) -> Any:
        """The provider's keys; fetched again once, as it may have new ones."""
        from joserfc.jwk import KeySet

        if self._keys is None or again:
            found = self._ask("GET", str(self._discovered()["jwks_uri"]))
            try:
                public = [key for key in found["keys"] if key.get("kty") in ("RSA", "EC", "OKP")]
                self._keys = KeySet.import_key_set({"keys": public})
            except Exception as error:
                raise DataError("the keys of the provider cannot be read") from error
        return self._keys

    def _discovered(self) -> dict[str, Any]:
        if not self._known:
            address = f"{self.rules.issuer.rstrip('/')}/.well-known/openid-configuration"
            found = self._ask("GET", address)
            if found.get("issuer") != self.rules.issuer:
                raise DataError(
                    f"the provider calls itself {str(found.get('issuer'))[:100]!r}",
                    where=address,
                    expected=self.rules.issuer,
                )
            self._known = found
        return self._known

    def _ask(self, method: str, address: str, **options: Any) -> dict[str, Any]:
        import httpx

        verify = ssl.create_default_context(cafile=self.rules.ca or None)
        try:
            with httpx.Client(timeout=TIMEOUT, verify=verify) as http:
                answer = http.request(method, address, **options)
            document = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ConnectionLost(
                f"the OpenID provider does not answer: {type(error).__name__}", where=address
            ) from error
        if answer.status_code != 200 or not isinstance(document, dict):
            raise NotPermitted("the OpenID provider refuses", where=address)
        return document


def _local(address: str) -> str:
    """An address of this server to go on to; the overview in place of any other."""
    is_local = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if is_local and address.isprintable() and "\\" not in address else "/"
