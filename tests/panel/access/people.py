"""People for tests: made by an administrator, signed in with a password that costs little to check."""

from typing import Any

import httpx
import pyotp

from tests.panel.conftest import made
from wgfleet.panel import clock

WORDS = "four words that nobody says"


def new_user(
    client: httpx.Client, name: str = "anna", role: str = "operator", password: str = WORDS, **more: Any
) -> dict[str, Any]:
    user = made(client, "/api/users", name=name, role=role, **more)
    answer = client.post("/api/set-password", json={"link": user["link"], "password": password})
    assert answer.json() == {"user_name": name}, answer.text
    return user


def signed_in(visitor: httpx.Client, name: str = "anna", password: str = WORDS, **more: str) -> dict[str, str]:
    token = made(visitor, "/api/sign-in", name=name, password=password, **more)["token"]
    return {"Authorization": f"Bearer {token}"}


def refused(visitor: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = visitor.post("/api/sign-in", json={"name": "anna", "password": WORDS} | body)
    assert answer.status_code == 401, answer.text
    problem: dict[str, Any] = answer.json()
    return problem


def confirmed(visitor: httpx.Client, me: dict[str, str]) -> tuple[pyotp.TOTP, list[str]]:
    made_now = visitor.post("/api/me/second-factor", json={"password": WORDS}, headers=me).json()
    assert made_now["address"].startswith("otpauth://totp/wgfleet:anna?secret=")
    app = pyotp.TOTP(made_now["secret"])
    answer = visitor.post("/api/me/second-factor/confirm", json={"code": app.at(clock.now() - 30)}, headers=me)
    codes: list[str] = answer.json()["recovery_codes"]
    return app, codes
