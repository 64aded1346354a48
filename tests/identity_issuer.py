"""A CI system that signs identity tokens, as a real HTTP server on loopback: discovery document, keys, tokens.

What a test wants to go wrong is set on it: a key that changes, an answer that is too large, a server that is away.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

AUDIENCE = "https://interlock.example"
GITHUB = {
    "repository_id": "74",
    "repository_owner_id": "65",
    "repository": "octo-org/octo-repo",
    "ref": "refs/heads/main",
    "ref_type": "branch",
    "environment": "production",
    "event_name": "push",
    "job_workflow_ref": "octo-org/octo-repo/.github/workflows/interlock-apply.yml@refs/heads/main",
    "runner_environment": "github-hosted",
    "run_id": "1234567",
    "run_attempt": "1",
    "actor_id": "12",
    "sub": "repo:octo-org-65/octo-repo-74:ref:refs/heads/main",
}
GITLAB = {
    "project_id": "20",
    "namespace_id": "72",
    "project_path": "my-group/my-project",
    "ref": "main",
    "ref_type": "branch",
    "ref_protected": "true",
    "environment": "production",
    "environment_protected": "true",
    "pipeline_source": "push",
    "pipeline_id": "574",
    "job_id": "302",
    "user_id": "1",
    "sub": "project_path:my-group/my-project:ref_type:branch:ref:main",
}
AZURE = {
    "org_id": "8f3b1ab6-7cf2-4b9a-8a4a-1d8d8e0f9a01",
    "prj_id": "52ab1ab6-7cf2-4b9a-8a4a-1d8d8e0f9a02",
    "def_id": "42",
    "rpo_id": "61cd1ab6-7cf2-4b9a-8a4a-1d8d8e0f9a03",
    "rpo_ref": "refs/heads/main",
    "run_id": "980",
    "sub": "p://example/project/pipeline",
}
ENTRA = {
    "sub": "/eid1/c/pub/t/abc/a/def/sc/8f3b1ab6-7cf2-4b9a-8a4a-1d8d8e0f9a01/0c5f1ab6-7cf2-4b9a-8a4a-1d8d8e0f9a04",
}


@cache
def rsa_key(number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return a key; the same for the same number, since making one takes its time."""
    del number
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def jwk(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, kid: str, **more: str) -> dict[str, Any]:
    """Return the public half of a key as a JSON Web Key."""
    algorithm: Any = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", **more}


def pem(key: rsa.RSAPrivateKey) -> bytes:
    """Return the public half of a key as everybody can have it."""
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


CLIENT = "interlock-command-line"
PERSON = {"sub": "u-1017", "preferred_username": "ann", "email": "ann@example.com", "groups": ["staff", "operators"]}


class People:
    """The provider's logins: by a code (RFC 8628), and in a browser. What a client does wrong is noted."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.person: dict[str, Any] = dict(PERSON)
        self.interval = 5
        self.says: list[str] = []  # answered to the next questions, before the login is done
        self.now_s: Callable[[], float] = lambda: datetime.now(UTC).timestamp()
        self.wrong: list[str] = []
        self.codes: dict[str, str] = {}
        self.asked_for: dict[str, dict[str, str]] = {}  # what came to the page of logins, by the code that was given
        self.back: dict[str, str] = {}  # what is told to the browser otherwise than the protocol has it
        self.forged: dict[str, Any] = {}  # what the identity token says otherwise
        self._asked_s: dict[str, float] = {}

    def answer(self, path: str, form: Mapping[str, str], kind: str) -> tuple[int, dict[str, Any]]:
        if kind != "application/x-www-form-urlencoded":
            self.wrong.append(f"a form came as {kind}")
        if form.get("client_id") != CLIENT:
            return 401, {"error": "invalid_client"}
        if path == "/device":
            return self._begin(form)
        if path == "/token" and form.get("grant_type") == "urn:ietf:params:oauth:grant-type:device_code":
            return self._ask(form.get("device_code", ""))
        if path == "/token" and form.get("grant_type") == "authorization_code":
            return self._redeem(form)
        return 400, {"error": "unsupported_grant_type"}

    def visit(self, query: str) -> str:
        """Let the person say yes on the page of logins; return where the browser goes."""
        asked = dict(parse_qsl(query, strict_parsing=True))
        if (asked.get("client_id"), asked.get("response_type"), asked.get("code_challenge_method")) != (
            CLIENT,
            "code",
            "S256",
        ) or "openid" not in asked.get("scope", "").split():
            self.wrong.append(f"asked for {sorted(asked)}")
        code = str(uuid4())
        self.asked_for[code] = asked
        told = {"code": code, "state": asked["state"], "iss": self.issuer.url, **self.back}
        return f"{asked['redirect_uri']}?{urlencode(told)}"

    def _redeem(self, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        asked = self.asked_for.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if asked is None or (asked["redirect_uri"], asked["code_challenge"]) != (form.get("redirect_uri"), challenge):
            return 400, {"error": "invalid_grant", "error_description": "code, verifier or address is another"}
        said = {**self.person, "nonce": asked["nonce"], **self.forged}
        return 200, {
            "access_token": "opaque",
            "token_type": "Bearer",
            "id_token": self.issuer.token(said, now_s=self.now_s(), audience=CLIENT),
        }

    def _begin(self, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        if "openid" not in form.get("scope", "").split():
            return 400, {"error": "invalid_scope"}
        code = str(uuid4())
        self.codes[code] = "begun"
        self._asked_s[code] = self.now_s()
        return 200, {
            "device_code": code,
            "user_code": "WDJB-MJHT",
            "verification_uri": "https://provider.example/device",
            "verification_uri_complete": "https://provider.example/device?user_code=WDJB-MJHT",
            "expires_in": 600,
            "interval": self.interval,
        }

    def _ask(self, code: str) -> tuple[int, dict[str, Any]]:
        if self.codes.get(code) != "begun":
            self.wrong.append("a code was used that is none, or a second time")
            return 400, {"error": "invalid_grant"}
        if self.now_s() - self._asked_s[code] < self.interval:
            self.wrong.append("it was asked sooner than the provider said")
        self._asked_s[code] = self.now_s()
        if self.says:
            error = self.says.pop(0)
            self.interval += 5 if error == "slow_down" else 0
            return 400, {"error": error, "error_description": "as it was told to"}
        self.codes[code] = "used"
        return 200, {
            "access_token": "opaque",
            "token_type": "Bearer",
            "id_token": self.issuer.token(self.person, now_s=self.now_s(), audience=CLIENT),
        }


class Issuer:
    """The server, and what it signs with."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.key = rsa_key()
        self.keys: list[dict[str, Any]] = [jwk(self.key, "k1")]
        self.discovery: dict[str, Any] = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            "authorization_endpoint": f"{self.url}/authorize?tenant=ours",
            "code_challenge_methods_supported": ["plain", "S256"],
            "device_authorization_endpoint": f"{self.url}/device",
            "token_endpoint": f"{self.url}/token",
        }
        self.asked: list[str] = []
        self.is_away = False
        self.answer: bytes | None = None
        self.redirect = ""
        self.job: dict[str, Any] = dict(GITHUB)
        self.audiences: list[str] = []
        self.people = People(self)

    def token(
        self,
        said: Mapping[str, Any],
        *,
        now_s: float,
        audience: object = AUDIENCE,
        headers: Mapping[str, Any] | None = None,
        algorithm: str = "RS256",
        key: Any = None,
        without: tuple[str, ...] = (),
    ) -> str:
        """Return a token that is good for five minutes from `now_s` on, unless it is told otherwise."""
        claims: dict[str, Any] = {
            "iss": self.url,
            "aud": audience,
            "iat": int(now_s),
            "nbf": int(now_s) - 10,
            "exp": int(now_s) + 300,
            "jti": str(uuid4()),
            **said,
        }
        for name in without:
            del claims[name]
        return jwt.encode(claims, key or self.key, algorithm=algorithm, headers={"kid": "k1", **(headers or {})})

    def for_job(self, audience: str) -> str:
        """Return a token for a job that asks for one, as the real clock has it."""
        self.audiences.append(unquote(audience))
        return self.token(self.job, now_s=datetime.now(UTC).timestamp(), audience=unquote(audience))


@contextmanager
def identity_issuer() -> Iterator[Issuer]:
    """Run an issuer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            issuer.asked.append(path)
            to = issuer.people.visit(query) if path == "/authorize" else issuer.redirect
            if issuer.is_away or to:
                self.send_response(302 if to else 503)
                self.send_header("Location", to)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            documents: dict[str, Any] = {
                "/.well-known/openid-configuration": issuer.discovery,
                "/keys": {"keys": issuer.keys},
            }
            if path == "/job":  # what GitHub's runner asks for a job
                audience = dict(part.split("=") for part in query.split("&"))["audience"]
                documents[path] = {"value": issuer.for_job(audience)}
            self._send(path, documents)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0]
            issuer.asked.append(path)
            if path == "/job":  # what Azure's agent asks for a job
                self._send(path, {path: {"oidcToken": issuer.for_job("api://AzureADTokenExchange")}})
                return
            form = dict(parse_qsl(body.decode(), strict_parsing=True))
            status, answer = issuer.people.answer(path, form, self.headers.get("Content-Type") or "")
            self._send(path, {path: answer}, status)

        def _send(self, path: str, documents: Mapping[str, Any], status: int = 200) -> None:
            found = path in documents
            body = issuer.answer if issuer.answer is not None else json.dumps(documents.get(path, {})).encode()
            self.send_response(status if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = Issuer(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
