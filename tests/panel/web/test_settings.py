"""Pages of settings: how the panel is doing, and each threshold with its reason and where it comes from."""

import httpx

from tests.panel.web.conftest import Person
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
