"""Pages of sign-in providers: made, tested, changed without giving the secret again, and deleted by name."""

import httpx
import pytest

from tests.panel.web.conftest import Person, submit
from wgfleet.panel.api import Panel
from wgfleet.panel.services.access import providers
from wgfleet.panel.services.access.callers import Role

PROVIDERS = "/settings/providers"
OIDC = {"issuer": "https://127.0.0.1:9", "client_id": "wgfleet", "secret": "a secret of ours", "enabled": "true"}
LDAP = {"url": "ldap://127.0.0.1:9", "base": "dc=example,dc=com", "starttls": "true", "enabled": "true"}


def made(admin: httpx.Client, kind: str, **fields: str) -> str:
    """Return the path of a new provider."""
    answer = submit(admin, f"/new/provider/{kind}", **fields)
    assert answer.url.path.startswith(f"{PROVIDERS}/")
    assert "/new/provider" not in answer.url.path, answer.text
    return answer.url.path


def test_an_openid_provider_is_made_tested_and_changed(panel: Panel, admin: httpx.Client) -> None:
    roles = "vpn-admins = admin\ncn=a=b = viewer\n"
    path = made(admin, "oidc", name="company", roles=roles, makes_users="true", **OIDC)
    page = admin.get(path).text
    assert "https://127.0.0.1:9" in page
    assert "a secret of ours" not in page
    assert "The test failed" in submit(admin, f"{path}/test", on=path).text
    assert "a secret of ours" not in admin.get(f"{path}/edit").text
    submit(admin, f"{path}/edit", **{**OIDC, "secret": "", "client_id": "other", "default_role": "viewer"})
    with panel.store.read() as tx:
        row = providers.get(tx, "company")
        kept = providers.oidc(panel.vault, row)
    assert (row.options["client_id"], row.default_role, row.makes_users) == ("other", "viewer", False)
    assert kept.client_secret == "a secret of ours"  # noqa: S105 - of this test
    assert row.roles == {}


def test_groups_with_signs_in_their_names_get_roles(panel: Panel, admin: httpx.Client) -> None:
    made(admin, "ldap", name="directory", roles="cn=admins,dc=example = admin", **LDAP)
    with panel.store.read() as tx:
        assert providers.get(tx, "directory").roles == {"cn=admins,dc=example": "admin"}


@pytest.mark.parametrize(
    ("kind", "fields", "wrong"),
    [
        ("oidc", {**OIDC, "name": "x", "issuer": ""}, "issuer"),
        ("oidc", {**OIDC, "name": "x", "issuer": "https://["}, "issuer"),
        ("ldap", {**LDAP, "name": "x", "url": "ldaps://id.example.com:99999"}, "url"),
        ("oidc", {**OIDC, "name": "x", "roles": "admins"}, "roles"),
        ("oidc", {**OIDC, "name": "x", "roles": "admins = king"}, "roles"),
        ("ldap", {**LDAP, "name": "x", "url": "http://127.0.0.1"}, "url"),
        ("forwarded", {"name": "x", "user_header": "no header"}, "user_header"),
    ],
)
def test_a_wrong_field_is_named(admin: httpx.Client, kind: str, fields: dict[str, str], wrong: str) -> None:
    answer = submit(admin, f"/new/provider/{kind}", **fields)
    assert answer.status_code == 422
    assert f'id="{wrong}-wrong"' in answer.text


def test_a_provider_is_deleted_by_name(admin: httpx.Client) -> None:
    path = made(admin, "forwarded", name="proxy", user_header="Remote-User")
    assert "the proxy sends people on" in submit(admin, f"{path}/test", on=path).text
    assert submit(admin, f"{path}/delete", typed_name="prox").status_code == 422
    assert submit(admin, f"{path}/delete", typed_name="proxy").url.path == PROVIDERS
    assert admin.get(path).status_code == 404
    assert admin.get("/new/provider/other").status_code == 422


def test_nobody_else_comes_here(person: Person) -> None:
    operator = person(Role.OPERATOR)
    for path in (PROVIDERS, "/new/provider/oidc"):
        assert operator.get(path).status_code == 403
