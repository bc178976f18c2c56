"""Pages of settings: how the panel is doing, and each threshold with its reason and where it comes from."""

import httpx

from tests.panel.web.conftest import Person, token_of
from wgfleet.panel.api import Panel
from wgfleet.panel.services import web_certificates
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.settings import load_settings


def test_readers_see_how_the_panel_is_doing_and_nothing_it_was_told(person: Person) -> None:
    viewer = person(Role.VIEWER)
    page = viewer.get("/settings")
    assert "This panel" in page.text
    assert "/settings/users" not in page.text
    for path in ("/settings/thresholds", "/settings/users", "/settings/keys", "/settings/sign-ins"):
        assert viewer.get(path).status_code == 403


def test_each_threshold_has_its_reason(admin: httpx.Client) -> None:
    page = admin.get("/settings/thresholds").text
    assert "health.failures" in page
    assert "a run of misses that loss alone makes once in 10,000 times" in page
    assert "the default" in page


def test_a_setting_knows_where_it_comes_from() -> None:
    env = {"WGFLEET_HEALTH__FAILURES": "7", "WGFLEET_DNS__CLOUDFLARE_TOKEN": "a-secret"}
    settings = load_settings(None, env, {"audit": {"keep_days": 30}})
    assert settings.place_of("health.failures") == "environment"
    assert settings.place_of("audit.keep_days") == "command line"
    assert settings.place_of("health.interval_s") is None


def test_no_secret_is_shown(admin: httpx.Client) -> None:
    page = admin.get("/settings/thresholds").text
    assert "dns.cloudflare_token" in page
    assert "SecretStr" not in page


def test_why_browsers_warn_is_said_where_it_is_seen_and_tried_again(panel: Panel, admin: httpx.Client) -> None:
    said = "panel.example.com: connection refused at port 80"
    with panel.store.write() as tx:
        web_certificates.next_need(tx, panel.vault, "https://ca.example/dir", ["panel.example.com"], "a key")
        web_certificates.failed(tx, said, 0.5)
    assert "no certificate for browsers" in admin.get("/").text
    assert said in admin.get("/").text
    token = token_of(admin.get("/settings/keys/new").text)
    assert admin.post("/settings/certificate", data={"form_token": token}).status_code == 200
    with panel.store.read() as tx:
        assert web_certificates.is_due(tx, "https://ca.example/dir", ["panel.example.com"])
