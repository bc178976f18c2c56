"""Pages of API keys: a key is shown once, works, and is refused when it was revoked."""

import re
from typing import Any

import httpx
import pytest

from tests.panel.web.conftest import Browser, Person, submit
from wgfleet.panel.services.access.callers import Role

KEYS = "/settings/keys"


def test_a_key_is_shown_once_works_and_is_revoked(admin: httpx.Client, browser: Browser) -> None:
    answer = submit(admin, f"{KEYS}/new", name="ci", scopes=["read", "write"], expires_at="2990-01-01")
    found = re.search(r"wgf_[\w-]{20,}", answer.text)
    assert found is not None
    assert found[0] not in admin.get(KEYS).text
    program = browser(Authorization=f"Bearer {found[0]}")
    assert program.get("/api/me").json()["scopes"] == ["read", "write"]
    path = re.search(r"/settings/keys/\w{32}/revoke", admin.get(KEYS).text)
    assert path is not None
    assert submit(admin, path[0], typed_name="c").status_code == 422
    assert submit(admin, path[0], typed_name="ci").url.path == KEYS
    assert program.get("/api/me").status_code == 401


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"name": "x"}, "scopes"),
        ({"name": "x", "scopes": ["everything"]}, "scopes"),
        ({"name": "", "scopes": ["read"]}, "name"),
        ({"name": "x", "scopes": ["read"], "expires_at": "2020-01-01"}, "expires_at"),
        ({"name": "x", "scopes": ["read"], "expires_at": "soon"}, "expires_at"),
        ({"name": "x", "scopes": ["read"], "configs": "nowhere"}, "configs"),
    ],
)
def test_a_wrong_field_is_named(admin: httpx.Client, fields: dict[str, Any], wrong: str) -> None:
    answer = submit(admin, f"{KEYS}/new", **fields)
    assert answer.status_code in {404, 422}
    assert f'id="{wrong}-wrong"' in answer.text


def test_the_last_key_that_does_everything_stays(admin: httpx.Client) -> None:
    submit(admin, f"{KEYS}/new", name="all", scopes=["admin"])
    path = re.findall(r"/settings/keys/\w{32}/revoke", admin.get(KEYS).text)[-1]
    refused = submit(admin, path, typed_name="all")
    assert refused.status_code == 409
    assert "the last admin key" in refused.text


def test_nobody_else_comes_here(person: Person) -> None:
    operator = person(Role.OPERATOR)
    assert operator.get(KEYS).status_code == 403
    assert operator.get(f"{KEYS}/new").status_code == 403
