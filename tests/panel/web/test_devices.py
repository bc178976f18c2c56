"""Pages of own devices: as many as one may have, each with its file and code, and nothing else to see."""

import re

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person, submit
from wgfleet.panel.api import Panel
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import users
from wgfleet.panel.services.access.callers import Role

OTHERS = ("/peers", "/nodes", "/dns", "/floating", "/audit", "/backups", "/live", "/nodes/fra1", "/dns/wg0")


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make(panel, peers=4)


@pytest.fixture
def anna(panel: Panel, person: Person) -> httpx.Client:
    """Return somebody who may have two devices in the config `office`."""
    client = person(Role.SELF_SERVICE, "anna")
    with panel.store.write() as tx:
        user = users.get(tx, "anna")
        user.limit_configs, user.limit_groups, user.device_limit = [configs.id_of(tx, "office")], [], 2
    return client


def made(client: httpx.Client, name: str, **more: str) -> str:
    """Return the path of a new device."""
    answer = submit(client, "/devices/new", name=name, **more)
    assert answer.url.path.endswith("/access"), answer.text
    return answer.url.path.removesuffix("/access")


def test_the_first_page_is_that_of_the_devices_and_there_is_no_other(anna: httpx.Client) -> None:
    page = anna.get("/")
    assert page.url.path == "/devices"
    links = set(re.findall(r'<li><a href="([^"]*)"', page.text))
    assert links == {"/devices"}
    assert "data-stream" not in page.text
    assert {path: anna.get(path).status_code for path in OTHERS} == dict.fromkeys(OTHERS, 403)


def test_a_device_is_made_renewed_and_deleted_up_to_the_limit(anna: httpx.Client) -> None:
    phone = made(anna, "phone")
    first = anna.get(f"{phone}/file").text
    assert "PrivateKey" in first
    assert anna.get(f"{phone}/qr").headers["content-type"] == "image/png"
    assert "anna-phone" in anna.get("/devices").text
    made(anna, "laptop")
    assert "Delete one to add another" in anna.get("/devices").text
    refused = submit(anna, "/devices/new", name="third")
    assert refused.status_code == 409
    assert "may have 2" in refused.text
    assert submit(anna, f"{phone}/rotate").url.path == f"{phone}/access"
    assert anna.get(f"{phone}/file").text != first
    assert submit(anna, f"{phone}/delete", typed_name="phone").status_code == 422
    assert submit(anna, f"{phone}/delete", typed_name="anna-phone").url.path == "/devices"
    assert anna.get(phone).status_code == 404


def test_nobody_elses_device_is_there(anna: httpx.Client, admin: httpx.Client, person: Person) -> None:
    peer = re.search(r"/peers/(\w{32})", admin.get("/peers?search=user-001").text)
    assert peer is not None
    own = made(person(Role.OPERATOR, "otto"), "phone", config="wg0")
    for path in (f"/devices/{peer[1]}", own):
        for part in ("", "/access", "/file", "/qr", "/rotate", "/delete"):
            assert anna.get(f"{path}{part}").status_code == 404, path + part


def test_a_wrong_field_is_named(anna: httpx.Client) -> None:
    for path in re.findall(r'href="(/devices/\w{32})"', anna.get("/devices").text):
        name = re.search(r"<h1><bdi>([^<]*)", anna.get(path).text)
        assert name is not None
        submit(anna, f"{path}/delete", typed_name=name[1])
    answer = submit(anna, "/devices/new", name="x", public_key="abc")
    assert answer.status_code == 422
    assert 'id="public_key-wrong"' in answer.text
