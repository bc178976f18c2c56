"""OpenID providers for tests: an honest one, as a process of its own, and one that does what it is told to do wrong."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from joserfc.util import urlsafe_b64encode

from tests.panel.conftest import served
from tests.waiting import eventually
from wgfleet.panel import clock


@contextmanager
def honest(*people: dict[str, Any]) -> Iterator[str]:
    """Run a provider that knows some people by their claims; give its issuer."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    known = [part for claims in people for part in ("--user-claims", json.dumps(claims))]
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "-p", str(port), "-n", "true", *known]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        issuer = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            try:
                return httpx.get(f"{issuer}/.well-known/openid-configuration", trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        try:
            eventually(answers)
            yield issuer
        finally:
            server.terminate()


def signed_in_there(url: str, subject: str) -> dict[str, str]:
    """Do what a person does in the browser; return the query with which the browser is sent back."""
    answer = httpx.post(url, data={"sub": subject}, trust_env=False, timeout=120)
    assert answer.status_code == 302, answer.text
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


@dataclass
class Hostile:
    """A provider with a key, what it asserts beyond the truth, and how it signs."""

    issuer: str = ""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}))
    published: RSAKey | None = None
    claims: dict[str, Any] = field(default_factory=dict)
    signing: str = "RS256"
    nonce: str = ""
    code_answer: dict[str, Any] | None = None
    described: dict[str, Any] = field(default_factory=dict)
    told: dict[str, Any] | None = None
    forms: list[dict[str, str]] = field(default_factory=list)

    def token(self) -> str:
        now = int(clock.now())
        truth = {
            "iss": self.issuer,
            "aud": "panel",
            "sub": "anna-1",
            "preferred_username": "anna",
            "groups": ["vpn"],
            "iat": now,
            "exp": now + 300,
            "nonce": self.nonce,
        }
        claims = {name: value for name, value in (truth | self.claims).items() if value is not None}
        header = {"alg": self.signing, "kid": self.key.kid or "one"}
        if self.signing == "none":
            return ".".join((_part(header), _part(claims), ""))
        if self.signing == "HS256":
            return jwt.encode(header, claims, OctKey.import_key("the-secret" * 5), algorithms=["HS256"])
        return jwt.encode(header, claims, self.key)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/.well-known/openid-configuration")
        def describe() -> dict[str, Any]:
            return {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                "jwks_uri": f"{self.issuer}/jwks",
            } | self.described

        @app.get("/jwks")
        def keys() -> dict[str, Any]:
            return {"keys": [(self.published or self.key).as_dict(private=False)]}

        @app.get("/userinfo")
        def userinfo() -> dict[str, Any]:
            return self.told or {}

        @app.post("/token")
        async def token(request: Request) -> JSONResponse:
            form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
            self.forms.append(form | {"authorization": request.headers.get("authorization", "")})
            if self.code_answer is not None:
                return JSONResponse(self.code_answer, 400)
            return JSONResponse({"access_token": "an-access-token", "token_type": "Bearer", "id_token": self.token()})

        return app


def _part(value: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode()


@contextmanager
def hostile() -> Iterator[Hostile]:
    """Run a provider that lies where it is told to."""
    provider = Hostile()
    with served(provider.app()) as url:
        provider.issuer = url
        yield provider
