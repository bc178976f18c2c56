"""Pages of users: invited by a link that works, limited, disabled, signed out and deleted, but for the last one."""

import re
from html import unescape

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import PASSWORD, Browser, Person, submit
from wgfleet.panel.api import Panel
from wgfleet.panel.services.access import users
from wgfleet.panel.services.access.callers import Role

USERS = "/settings/users"


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make(panel, peers=4)


def invited(admin: httpx.Client, **fields: str) -> str:
    """Return the link of a new user, from its path on."""
    answer = submit(admin, "/new/user", **fields)
    found = re.search(r'id="link"[^>]*>https?://[^/]*(/set-password#wgl_[^<]+)<', answer.text)
    assert found is not None, answer.text
    return unescape(found[1])


def test_an_invited_user_sets_a_password_and_signs_in(admin: httpx.Client, browser: Browser) -> None:
    link, client = invited(admin, name="anna", role="viewer"), browser()
    assert "invited" in admin.get(USERS).text
    pasted = f"https://panel.example{link}"
    answer = submit(client, "/set-password", link=pasted, password=PASSWORD, password_again=PASSWORD)
    assert "The password is set" in answer.text
    assert submit(client, "/login", name="anna", password=PASSWORD).url.path == "/"
    page = admin.get(f"{USERS}/anna").text
    assert "password alone" in page
    assert "127.0.0.1" in page


def test_a_link_as_earlier_versions_made_it_works(admin: httpx.Client, browser: Browser) -> None:
    link, client = invited(admin, name="olga", role="viewer"), browser()
    old = link.replace("#", "?link=")
    answer = client.get(old, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == link, "out of the query, where logs and histories have it"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert client.get("/set-password?link=%0d%0a", follow_redirects=False).headers["location"] == "/set-password"
    page = submit(client, "/set-password", link=old, password=PASSWORD, password_again=PASSWORD)  # with scripts off
    assert "The password is set" in page.text


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"name": "", "role": "viewer"}, "name"),
        ({"name": "x", "role": "king"}, "role"),
        ({"name": "x", "role": "viewer", "configs": "nowhere"}, "configs"),
        ({"name": "x", "role": "admin", "configs": "wg0"}, "role"),
        ({"name": "x", "role": "viewer", "device_limit": "-1"}, "device_limit"),
    ],
)
def test_a_wrong_field_is_named(admin: httpx.Client, fields: dict[str, str], wrong: str) -> None:
    answer = submit(admin, "/new/user", **fields)
    assert answer.status_code in {404, 422}
    assert f'id="{wrong}-wrong"' in answer.text


def test_a_user_is_limited_and_freed(panel: Panel, admin: httpx.Client) -> None:
    invited(admin, name="lena", role="operator", configs="wg0, office", device_limit="3")
    with panel.store.read() as tx:
        user = users.get(tx, "lena")
        assert (len(user.limit_configs or []), user.device_limit) == (2, 3)
    page = admin.get(f"{USERS}/lena/edit").text
    assert 'value="wg0, office"' in page or 'value="office, wg0"' in page
    submit(admin, f"{USERS}/lena/edit", role="viewer", configs="", node_groups="", device_limit="")
    with panel.store.read() as tx:
        user = users.get(tx, "lena")
        assert (user.role, user.limit_configs, user.device_limit) == ("viewer", None, None)


def test_a_disabled_user_is_out_and_so_is_one_who_is_signed_out(admin: httpx.Client, person: Person) -> None:
    otto = person(Role.VIEWER, "otto")
    assert otto.get("/").url.path == "/"
    submit(admin, f"{USERS}/otto/sign-out", on=f"{USERS}/otto")
    assert otto.get("/").url.path == "/login"
    again = person(Role.VIEWER, "otto")
    page = submit(admin, f"{USERS}/otto/edit", role="viewer", disabled="true").text
    assert "disabled" in page
    assert again.get("/").url.path == "/login"


def test_one_sign_in_is_ended(admin: httpx.Client, person: Person) -> None:
    mia = person(Role.VIEWER, "mia")
    page = admin.get(f"{USERS}/mia").text
    found = re.search(r"/settings/sign-ins/\w{32}/end", page)
    assert found is not None
    assert submit(admin, found[0], on=f"{USERS}/mia").url.path == "/settings/sign-ins"
    assert mia.get("/").url.path == "/login"


def test_a_user_is_deleted_by_name_and_the_last_administrator_stays(admin: httpx.Client) -> None:
    invited(admin, name="gone", role="viewer")
    assert submit(admin, f"{USERS}/gone/delete", typed_name="gon").status_code == 422
    assert submit(admin, f"{USERS}/gone/delete", typed_name="gone").url.path == USERS
    refused = submit(admin, f"{USERS}/admin/delete", typed_name="admin")
    assert refused.status_code == 409
    assert "nobody could sign in as an administrator" in refused.text
    assert submit(admin, f"{USERS}/admin/edit", role="viewer").status_code == 409


def test_nobody_else_comes_here(person: Person) -> None:
    operator = person(Role.OPERATOR)
    for path in (USERS, "/new/user", f"{USERS}/admin", f"{USERS}/admin/edit", "/settings/sign-ins"):
        assert operator.get(path).status_code == 403
