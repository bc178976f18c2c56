"""Providers that others install beside the panel, and that are broken."""

from importlib.metadata import EntryPoint

import pytest

from tests.panel.dns.desk import Desk
from tests.panel.dns.zone import ScriptedProvider
from wgfleet.panel import plugins
from wgfleet.panel.dns.plugins import DnsPlugins


def test_a_plugin_that_does_not_load_keeps_no_other_away(monkeypatch: pytest.MonkeyPatch) -> None:
    group = "wgfleet.dns_providers"
    points = [
        EntryPoint("broken", "no.such.module:Provider", group),
        EntryPoint("null", "wgfleet.panel.dns.providers.null:Null", group),
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)  # noqa: ARG005 - called by its name
    assert set(DnsPlugins.installed().types) == {"null"}


def test_a_plugin_that_fails_while_it_is_asked_refuses_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(_self: ScriptedProvider, _name: str) -> None:
        raise KeyError("result")

    monkeypatch.setattr(ScriptedProvider, "check", bug)
    assert desk.publisher.refusals("scripted", "example.com", "vpn.example.com", {}, 120) == []
