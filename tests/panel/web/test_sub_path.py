"""A panel below a path of somebody's proxy: every link, form, redirect and `Location` leads below it.

And one behind several proxies: what they say of how its visitors came.
"""

import dataclasses
import re
from collections.abc import Iterator

import httpx
import pytest

from tests.panel.conftest import NO_AUTHORITY, served
from tests.panel.test_door import opened_doors_again
from tests.panel.web.conftest import PASSWORD, Person, submit
from tests.panel.web.links import Links
from wgfleet.panel.api import Panel, create_app
from wgfleet.panel.services.access import api_keys
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.settings import Settings
from wgfleet.panel.settings.door import DoorSettings
from wgfleet.panel.web import install

BASE = "/vpn"
# Whatever a page has a browser load, open or send to.
_ADDRESS = re.compile(r'(?:href|src|action|formaction|content|data-[a-z-]+|hx-[a-z-]+)="(/[^"]*)"')


@pytest.fixture(scope="module")
def below(panel: Panel) -> Iterator[str]:
    settings = Settings(data_dir=panel.settings.data_dir, public_url=f"https://example.com{BASE}/")
    other = dataclasses.replace(panel, settings=settings)
    app = create_app(other)
    install(app, other)
    with served(app) as url:
        yield url


@pytest.fixture
def client(below: str, person: Person) -> Iterator[httpx.Client]:
    cookies = person(Role.ADMIN).cookies
    with httpx.Client(base_url=below, trust_env=False, verify=NO_AUTHORITY, timeout=120, cookies=cookies) as made:
        yield made


@pytest.mark.parametrize("path", ["/peers", "/new/tag", "/nodes"])
def test_a_slash_too_many_leads_to_the_page_below_the_path(client: httpx.Client, path: str) -> None:
    for kept in (BASE, ""):
        answer = client.get(f"{kept}{path}/?a=%2F", headers={"Host": "evil.example"})
        assert (answer.status_code, answer.headers["location"]) == (303, f"{BASE}{path}?a=%2F")
    for none in ("//evil.example/", "/%2fevil.example/", "/no/such/page/", "/logout/", "/static/"):
        assert client.get(f"{BASE}{none}").status_code == 404, none


@pytest.mark.parametrize("kept", [BASE, ""], ids=["kept by the proxy", "taken off by the proxy"])
def test_pages_lead_nowhere_but_below_the_path(client: httpx.Client, kept: str) -> None:
    todo, seen = [f"{BASE}/"], set[str]()
    while todo:
        address = todo.pop()
        answer = client.get(kept + address.removeprefix(BASE))
        if answer.is_redirect:
            assert answer.headers["location"].startswith(f"{BASE}/"), address
            continue
        found = [each for each in _ADDRESS.findall(answer.text) if not each.startswith("//")]
        assert [each for each in found if each != BASE and not each.startswith((f"{BASE}/", f"{BASE}?"))] == [], address
        for each in Links(answer.text).pages:
            path = each.partition("?")[0].partition("#")[0]
            if path and path not in seen:
                seen.add(path)
                todo.append(path)
    assert len(seen) > 10


def test_operations_are_shown_below_the_path(below: str, panel: Panel) -> None:
    with panel.store.write() as tx:
        key = api_keys.ensure_first_key(tx) or ""
    headers = {"X-API-Key": key}
    with httpx.Client(base_url=below, trust_env=False, verify=NO_AUTHORITY, headers=headers) as client:
        assert client.post(f"{BASE}/api/configs", json={"name": "wg0", "pools": ["10.8.0.0/24"]}).status_code == 201
        assert client.post(f"{BASE}/api/configs/wg0/peers", json={"name": "anna"}).status_code == 201
        path, wanted = f"{BASE}/api/configs/wg0/peers/changes", {"action": "disable", "filter": {}}
        who = client.post(f"{path}/preview", json=wanted).json()["who"]
        begun = client.post(path, json={**wanted, "expect": who})
    assert begun.status_code == 202, begun.text
    assert begun.headers["Location"] == f"{BASE}/api/operations/{begun.json()['id']}"


def test_strangers_are_sent_to_sign_in_below_the_path(below: str) -> None:
    with httpx.Client(base_url=below, trust_env=False, verify=NO_AUTHORITY) as stranger:
        assert stranger.get(f"{BASE}/nodes").headers["location"] == f"{BASE}/login?next=%2Fnodes"
        script = {"HX-Request": "true", "HX-Current-URL": f"https://example.com{BASE}/nodes?a=1"}
        redirected = stranger.get(f"{BASE}/nodes", headers=script).headers["hx-redirect"]
        assert redirected == f"{BASE}/login?next=%2Fnodes%3Fa%3D1&ended=yes"
        signed_in = submit(stranger, f"{BASE}/login", name="admin", password=PASSWORD, next="/nodes")
        assert signed_in.headers["location"] == f"{BASE}/nodes"


@pytest.mark.parametrize(
    ("headers", "secure"),
    [
        (["https"], True),
        (["http"], False),
        (["HTTPS"], True),
        (["https, http"], True),
        (["https,https"], True),
        (["http, https"], False),
        (["https", "http"], True),
        ([""], False),
        ([], False),
    ],
)
def test_cookies_are_for_https_alone_where_the_first_of_several_proxies_was_reached_so(
    panel: Panel, headers: list[str], *, secure: bool
) -> None:
    app = create_app(panel)
    install(app, panel)
    for trusted in (("127.0.0.1",), ()):
        with opened_doors_again(panel, DoorSettings(trusted_proxies=trusted), app) as doors:
            sent = [("X-Forwarded-Proto", each) for each in headers]
            answer = httpx.get(f"http://127.0.0.1:{doors.plain}/login", headers=sent, trust_env=False)
        kept = answer.headers["set-cookie"]
        assert ("Secure" in kept, kept.startswith("__Host-")) == ((secure, secure) if trusted else (False, False))
