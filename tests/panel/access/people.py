"""People for tests: made by an administrator, signed in with a password that costs little to check."""

from typing import Any

import httpx

from tests.panel.conftest import made

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
