"""A certificate for names at whose port 80 nobody answers: the CA finds a TXT record, which is gone afterwards."""

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.resolver
import pytest
from typer.testing import CliRunner

from tests import programs
from tests.panel.conftest import one_database
from tests.panel.web_certificates.test_watch import look, row
from tests.panel.world import World
from tests.providers.knot import Knot, free_port, knot
from tests.providers.pebble import Pebble, pebble
from wgfleet.cli.panel_settings import app
from wgfleet.panel import faultpoints
from wgfleet.panel.dns.metrics import DnsMetrics
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.dns.propagation import NameServers
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.dns.rate_limits import Limiter
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.listening import open_plain_sockets
from wgfleet.panel.reconcile.web_certificate_proofs import proof_for
from wgfleet.panel.services import web_certificates
from wgfleet.panel.settings import Settings
from wgfleet.panel.settings.loading import load_settings

pytestmark = pytest.mark.servers
NAMES = ("panel.zone.example", "www.zone.example")
CHALLENGES = [f"_acme-challenge.{name}" for name in NAMES]
NAME_SERVERS = """
@    300 NS  ns
ns   300 A   127.0.0.1
"""


@pytest.fixture(scope="module")
def zone() -> Iterator[Knot]:
    with knot(more=NAME_SERVERS) as running:
        running.remove(running.zone, "NS", "localhost.")
        yield running


@pytest.fixture(scope="module")
def server(zone: Knot) -> Iterator[Pebble]:
    with pebble(resolver_port=zone.port) as running:
        yield running


def settings_for(ca: Pebble, zone: Knot, **other: Any) -> Settings:
    options = {
        "server": "127.0.0.1",
        "port": zone.port,
        "key_name": "wgfleet-test",
        "key_secret": zone.secret,
        **other,
    }
    acme = {
        "directory": ca.directory,
        "ca_file": ca.ca_file,
        "terms_agreed": True,
        "names": NAMES,
        "dns_provider": "rfc2136",
        "dns_zone": zone.zone,
        "dns_options": options,
        "dns_wait_s": 0,
    }
    return Settings.model_validate({"acme": acme, "dns": {"allowed_servers": ["127.0.0.1"]}})


def left(world: World, zone: Knot) -> list[object]:
    with world.store.read() as tx:
        noted = web_certificates.texts(tx)
    return [*noted, *(each for name in CHALLENGES for each in zone.records(name))]


@one_database
def test_a_certificate_is_got_by_records_that_are_gone_afterwards(world: World, server: Pebble, zone: Knot) -> None:
    settings = settings_for(server, zone)
    zone.plant(CHALLENGES[0], "TXT", '"of somebody else"')
    try:
        look(world, settings)
        found = row(world)
        assert (found.error, found.names) == (None, list(NAMES))
        assert found.chain
        look(world, settings)
        assert [each[1] for each in left(world, zone)] == ['"of somebody else"']  # type: ignore[index]
        assert open_plain_sockets(settings) == []
    finally:
        zone.remove(CHALLENGES[0])


@one_database
def test_records_of_a_panel_that_died_on_the_way_are_removed_too(
    world: World, server: Pebble, zone: Knot, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(server, zone)

    def die(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(faultpoints, "reached", die)
    with pytest.raises(KeyboardInterrupt):
        look(world, settings)
    assert len(left(world, zone)) == 2, "one is noted, and there"
    monkeypatch.undo()
    look(world, settings)
    assert row(world).chain
    look(world, settings)
    assert left(world, zone) == []


@pytest.fixture
def _public(zone: Knot, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine sees names as the CA does."""
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], zone.port
    monkeypatch.setattr(dns.resolver, "default_resolver", resolver)


@pytest.mark.usefixtures("_public")
@one_database
def test_an_alias_is_followed_to_the_name_that_the_ca_looks_at(world: World, server: Pebble, zone: Knot) -> None:
    aliases = {CHALLENGES[0]: "first.zone.example", "first.zone.example": "texts.zone.example"}
    for name, target in aliases.items():
        zone.plant(name, "CNAME", target)
    seen: list[set[tuple[str, str, int]]] = []
    settings = settings_for(server, zone)
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(faultpoints, "reached", lambda _: seen.append(zone.records("texts.zone.example")))
            look(world, settings)
        assert (row(world).error, row(world).names) == (None, list(NAMES))
        assert {kind for found in seen for kind, _, _ in found} == {"TXT"}
        look(world, settings)
        assert zone.records("texts.zone.example") == set()
        with world.store.read() as tx:
            assert web_certificates.texts(tx) == []
    finally:
        for name in aliases:
            zone.remove(name)


@pytest.mark.usefixtures("_public")
@pytest.mark.parametrize(
    ("names", "alias", "said"),
    [
        (
            NAMES,
            "texts.elsewhere.example",
            "_acme-challenge.panel.zone.example is an alias (CNAME) of it: set acme.dns_",
        ),
        (
            ("panel.elsewhere.example",),
            None,
            "or have _acme-challenge.panel.elsewhere.example be an alias (CNAME) of a ",
        ),
    ],
)
def test_a_name_in_another_zone_is_refused_before_the_ca_is_asked_and_nothing_is_owed(
    world: World, server: Pebble, zone: Knot, names: tuple[str, ...], alias: str | None, said: str
) -> None:
    """The CA is not there at all."""
    settings = settings_for(server, zone)
    changed = {"names": names, "directory": f"https://127.0.0.1:{free_port()}/dir"}
    settings = settings.model_copy(update={"acme": settings.acme.model_copy(update=changed)})
    if alias is not None:
        zone.plant(CHALLENGES[0], "CNAME", alias)
    try:
        look(world, settings)
        error = row(world).error or ""
        assert " is not in zone zone.example; " in error
        assert said in error
        with world.store.read() as tx:
            assert web_certificates.texts(tx) == []
    finally:
        if alias is not None:
            zone.remove(CHALLENGES[0])


@pytest.mark.usefixtures("_public")
@pytest.mark.parametrize(
    ("names", "alias", "options", "ends", "said"),
    [
        (NAMES, None, {}, 0, ""),
        (NAMES, "texts.zone.example", {}, 0, ""),
        (NAMES, "texts.elsewhere.example", {}, 2, f"error: .*{CHALLENGES[0]} is an alias .* set acme.dns_zone"),
        (("panel.elsewhere.example",), None, {}, 2, "error: .*or have _acme-challenge.panel.elsewhere.example be an "),
        (NAMES, None, {"key_name": "reader"}, 2, "error: .*does not know key reader"),
        (NAMES, None, {"port": 1}, 0, "warning: .*cannot be asked now: .*does not answer"),
    ],
)
def test_settings_are_checked_with_the_aliases_of_names(
    zone: Knot, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], alias: str | None, options: dict[str, Any],
    ends: int, said: str,
) -> None:  # fmt: skip
    of_provider = {"server": "127.0.0.1", "port": zone.port, "key_name": "wgfleet-test", "key_secret": zone.secret}
    acme = {"DIRECTORY": "letsencrypt", "TERMS_AGREED": "true", "NAMES": ",".join(names), "DNS_PROVIDER": "rfc2136"}
    acme |= {"DNS_ZONE": zone.zone, "DNS_OPTIONS": json.dumps(of_provider | options)}
    for name, value in acme.items():
        monkeypatch.setenv(f"WGFLEET_ACME__{name}", value)
    monkeypatch.setenv("WGFLEET_DNS__ALLOWED_SERVERS", "127.0.0.1")
    if alias is not None:
        zone.plant(CHALLENGES[0], "CNAME", alias)
    try:
        ended = CliRunner().invoke(app, ["check-settings"])
    finally:
        if alias is not None:
            zone.remove(CHALLENGES[0])
    assert ended.exit_code == ends, ended.output
    assert re.search(said, ended.stderr), ended.stderr
    assert bool(ended.stderr) is bool(said)
    assert zone.secret not in ended.output
    assert [each for name in CHALLENGES for each in zone.records(name)] == []


@pytest.mark.parametrize("certain", [True, False])
def test_a_record_that_was_refused_is_not_owed_and_one_of_which_nobody_knows_is(
    world: World, zone: Knot, server: Pebble, *, certain: bool
) -> None:
    settings = settings_for(server, zone, **({"key_name": "reader"} if certain else {"port": free_port()}))
    publisher = Publisher(DnsPlugins.installed(settings), Limiter(world.store, world.vault), DnsMetrics())
    proof = proof_for(settings.acme, world.store, publisher)
    with pytest.raises((PermanentError, TransientError)):
        proof.show(CHALLENGES[0], "text")
    with world.store.read() as tx:
        assert bool(web_certificates.texts(tx)) is not certain


@pytest.mark.parametrize(
    ("options", "provider", "said"),
    [
        ({"key_name": "reader"}, "rfc2136", "does not know key reader"),
        ({"port": 1}, "rfc2136", "does not answer"),
        ({"server": "10.0.0.1"}, "rfc2136", "dns.allowed_servers"),
        ({"sever": "127.0.0.1"}, "rfc2136", "acme.dns_options.sever: is no option of it; there are server, port, "),
        ({}, "null", "no TXT records"),
        ({}, "nobody", "there is no DNS provider 'nobody'; installed: "),
    ],
)
@one_database
def test_what_is_wrong_with_the_provider_is_said_with_the_certificate(
    world: World, server: Pebble, zone: Knot, options: dict[str, Any], provider: str, said: str
) -> None:
    whole = settings_for(server, zone, **options)
    given = None if provider == "null" else whole.acme.dns_options
    settings = whole.model_copy(
        update={"acme": whole.acme.model_copy(update={"dns_provider": provider, "dns_options": given})}
    )
    look(world, settings)
    assert said in (row(world).error or "")
    assert zone.secret not in (row(world).error or "")
    assert row(world).chain is None
    assert [each for name in CHALLENGES for each in zone.records(name)] == []


def test_all_name_servers_of_the_zone_are_waited_for(zone: Knot) -> None:
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], zone.port
    servers = NameServers(resolver, zone.port)
    assert not servers.wait_for_texts([(CHALLENGES[1], "text")], 0.0)
    zone.plant(CHALLENGES[1], "TXT", '"text"')
    try:
        begun = time.monotonic()
        assert servers.wait_for_texts([(CHALLENGES[1], "text")], 60.0)
        assert time.monotonic() - begun < 60
        assert not servers.show(CHALLENGES[1], "another")
        zone.plant(zone.zone, "NS", "silent.zone.example.")
        zone.plant("silent.zone.example", "A", "127.0.0.2")
        assert not servers.show(CHALLENGES[1], "text"), "one of them has not got it yet"
    finally:
        zone.remove(CHALLENGES[1])
        zone.remove(zone.zone, "NS", "silent.zone.example.")
    nobody = dns.resolver.Resolver(configure=False)
    nobody.nameservers, nobody.port = ["127.0.0.1"], free_port()
    assert not NameServers(nobody).show(CHALLENGES[1], "text")


def test_options_may_come_from_the_environment_and_are_shown_nowhere() -> None:
    environment = {
        "WGFLEET_ACME__DIRECTORY": "letsencrypt",
        "WGFLEET_ACME__TERMS_AGREED": "true",
        "WGFLEET_ACME__NAMES": "panel.example.org",
        "WGFLEET_ACME__DNS_PROVIDER": "rfc2136",
        "WGFLEET_ACME__DNS_ZONE": "example.org",
        "WGFLEET_ACME__DNS_OPTIONS": '{"key_name": "name", "key_secret": "c2VjcmV0"}',
    }
    found = load_settings(None, environment)
    assert found.acme.dns_options is not None
    assert found.acme.dns_options.get_secret_value() == {"key_name": "name", "key_secret": "c2VjcmV0"}
    assert "c2VjcmV0" not in f"{found!r} {found.model_dump_json()}"


@pytest.mark.parametrize(
    ("provider", "zone", "options", "said"),
    [
        ("rfc2136", "example.org", {"port": "X", "key_nam": "x"}, "acme.dns_options.port: .*wrong too: key_nam"),
        (
            "rfc2136",
            "example.org",
            {"key_name": "x", "key_secret": "no base64"},
            "acme.dns_options.key_secret: .*base64",
        ),
        ("rfc2136", "..", {}, "acme.dns_zone: .*is not a DNS name"),
        ("cloudflare", "a/b", {"token": "t"}, "acme.dns_zone: .*is not the id of a zone"),
        (
            "cloudflare",
            "a",
            {},
            "acme.dns_options.token: must be given, or dns.cloudflare_token .WGFLEET_DNS__CLOUDFLARE_TOKEN. in",
        ),
        ("lexicon", "example.org", {"provider": "nobody"}, "acme.dns_options"),
        ("null", "example.org", {}, "acme.dns_provider: puts no TXT records"),
        ("nobody", "example.org", {}, "acme.dns_provider: there is no DNS provider 'nobody'"),
    ],
)
def test_what_no_provider_can_work_with_is_refused_before_a_ca_is_asked(
    tmp_path: Path, provider: str, zone: str, options: dict[str, Any], said: str
) -> None:
    acme = {"DIRECTORY": "letsencrypt", "TERMS_AGREED": "true", "NAMES": "panel.example.org"}
    acme |= {"DNS_PROVIDER": provider, "DNS_ZONE": zone, "DNS_OPTIONS": json.dumps(options)}
    environment = {**os.environ, **{f"WGFLEET_ACME__{name}": value for name, value in acme.items()}}
    for command in ("check-settings", "run"):
        where = () if command == "check-settings" else ("--data-dir", str(tmp_path / "data"))
        ended = programs.run("panel", command, *where, environment=environment)
        assert ended.returncode == 2
        assert re.search(said, ended.stderr), ended.stderr
        assert "no base64" not in ended.stderr


def test_an_alias_that_cannot_be_looked_up_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> dns.resolver.Resolver:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.resolver, "get_default_resolver", none)
    assert NameServers().end_of_alias("_acme-challenge.Panel.example.") == "_acme-challenge.panel.example"
    too_long = ".".join(["a" * 60] * 5)
    assert NameServers().end_of_alias(too_long) == too_long
    assert NameServers(dns.resolver.Resolver(configure=False)).end_of_alias(too_long) == too_long
