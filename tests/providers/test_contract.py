"""What every provider does on a real server: it reads and applies, keeps marks, spares what is not ours, fails well."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.providers.cloudflare.environment import cloudflare
from tests.providers.contract import TTL_S, Environment, Opened, ours, said
from tests.providers.knot import knot
from tests.providers.powerdns import powerdns
from wgfleet.panel.dns.providers import Provider
from wgfleet.panel.domain.dns.records import Changes, Record, mark
from wgfleet.panel.errors import PermanentError, TransientError

ENVIRONMENTS: dict[str, Opened] = {"cloudflare": cloudflare, "lexicon": powerdns, "rfc2136": knot}
WITH_SERVERS = ("lexicon", "rfc2136")
OWNER = mark("panel1", "config1")
OTHER = mark("panel2", "config1")
V4, V4_B, V4_C = "192.0.2.1", "192.0.2.2", "192.0.2.3"
V6 = "2001:db8::1"


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.servers] if name in WITH_SERVERS else []) for name in ENVIRONMENTS]
)
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    with ENVIRONMENTS[request.param]() as opened:
        yield opened


@pytest.fixture
def provider(environment: Environment) -> Iterator[Provider]:
    made = environment.provider()
    yield made
    made.close()


@pytest.fixture
def name(environment: Environment) -> str:
    return f"vpn.{environment.zone}"


def create(provider: Provider, name: str, *records: Record) -> None:
    provider.apply(name, Changes(creates=records))


def test_a_name_without_records_is_empty(provider: Provider, name: str) -> None:
    assert provider.read(name) == ()


@pytest.mark.parametrize("label", ["vpn.", "a.b.vpn.", "xn--mnchen-3ya.", "_vpn.", ""], ids=lambda text: text or "apex")
def test_what_is_applied_is_read_again(environment: Environment, provider: Provider, label: str) -> None:
    name = label + environment.zone
    wanted = {ours("A", V4, OWNER), ours("A", V4_B, OWNER), ours("AAAA", V6, OWNER)}
    assert provider.apply(name, Changes(creates=tuple(wanted))) >= 1
    assert said(provider.read(name)) == wanted
    assert {("A", V4, TTL_S), ("A", V4_B, TTL_S), ("AAAA", V6, TTL_S)} <= environment.records(name)


def test_records_are_read_in_canonical_form(environment: Environment, provider: Provider, name: str) -> None:
    environment.plant(name, "AAAA", "2001:0DB8:0:0:0:0:0:1")
    assert {(record.type, record.content, record.ttl) for record in provider.read(name)} == {("AAAA", V6, TTL_S)}


def test_the_owner_is_who_made_the_record(environment: Environment, provider: Provider, name: str) -> None:
    environment.plant(name, "A", V4)
    create(provider, name, ours("A", V4_B, OWNER), ours("A", V4_C, OWNER))
    assert {record.content: record.owner for record in provider.read(name)} == {V4: None, V4_B: OWNER, V4_C: OWNER}


def test_another_panel_reads_whose_they_are(environment: Environment, provider: Provider, name: str) -> None:
    create(provider, name, ours("A", V4, OTHER))
    create(provider, name, ours("A", V4_B, OWNER))
    second = environment.provider()
    try:
        assert {record.content: record.owner for record in second.read(name)} == {V4: OTHER, V4_B: OWNER}
    finally:
        second.close()


def test_a_record_of_somebody_else_can_be_adopted(environment: Environment, provider: Provider, name: str) -> None:
    environment.plant(name, "A", V4)
    (found,) = provider.read(name)
    provider.apply(name, Changes(updates=((found, replace(found, owner=OWNER)),)))
    assert said(provider.read(name)) == {ours("A", V4, OWNER)}


def test_only_the_exact_name_is_read(environment: Environment, provider: Provider, name: str) -> None:
    environment.plant(f"sub.{name}", "A", V4)
    environment.plant(f"x{name}", "A", V4_B)
    environment.plant(environment.zone, "A", V4_C)
    assert provider.read(name) == ()


def test_only_addresses_and_aliases_are_read(environment: Environment, provider: Provider, name: str) -> None:
    environment.plant(name, "TXT", '"hello"')
    environment.plant(name, "A", V4)
    environment.plant(f"alias.{name}", "CNAME", f"target.{environment.zone}")
    assert [record.type for record in provider.read(name)] == ["A"]
    (alias,) = provider.read(f"alias.{name}")
    assert (alias.type, alias.content, alias.owner) == ("CNAME", f"target.{environment.zone}", None)


def test_a_ttl_changes_and_the_mark_stays(provider: Provider, name: str) -> None:
    create(provider, name, ours("A", V4, OWNER), ours("A", V4_B, OWNER))
    updates = tuple((record, replace(record, ttl=600)) for record in provider.read(name))
    provider.apply(name, Changes(updates=updates))
    assert said(provider.read(name)) == {ours("A", V4, OWNER, 600), ours("A", V4_B, OWNER, 600)}


def test_an_address_changes_and_the_mark_stays(provider: Provider, name: str) -> None:
    create(provider, name, ours("A", V4, OWNER), ours("A", V4_B, OWNER))
    old = next(record for record in provider.read(name) if record.content == V4)
    provider.apply(name, Changes(updates=((old, replace(old, content=V4_C)),)))
    assert said(provider.read(name)) == {ours("A", V4_B, OWNER), ours("A", V4_C, OWNER)}


def test_deletes_and_creates_go_together(provider: Provider, name: str) -> None:
    create(provider, name, ours("A", V4, OWNER), ours("AAAA", V6, OWNER))
    old = tuple(record for record in provider.read(name) if record.type == "A")
    provider.apply(name, Changes(deletes=old, creates=(ours("A", V4_B, OWNER),)))
    assert said(provider.read(name)) == {ours("A", V4_B, OWNER), ours("AAAA", V6, OWNER)}


def test_what_is_deleted_leaves_nothing(environment: Environment, provider: Provider, name: str) -> None:
    create(provider, name, ours("A", V4, OWNER), ours("AAAA", V6, OWNER))
    provider.apply(name, Changes(deletes=provider.read(name)))
    assert provider.read(name) == ()
    assert environment.records(name) == set()


def test_nothing_of_others_is_touched(environment: Environment, provider: Provider, name: str) -> None:
    for at, type_, content in (
        (name, "A", V4),
        (name, "TXT", '"keep me"'),
        (name, "MX", f"10 mail.{environment.zone}"),
        (f"sub.{name}", "A", V4_B),
        (environment.zone, "TXT", '"v=spf1 -all"'),
    ):
        environment.plant(at, type_, content)
    names = (name, f"sub.{name}", environment.zone)
    before = {at: environment.records(at) for at in names}
    create(provider, name, ours("A", V4_B, OWNER))
    mine = tuple(record for record in provider.read(name) if record.owner == OWNER)
    provider.apply(name, Changes(updates=tuple((record, replace(record, content=V4_C)) for record in mine)))
    mine = tuple(record for record in provider.read(name) if record.owner == OWNER)
    provider.apply(name, Changes(deletes=mine))
    assert {at: environment.records(at) for at in names} == before


def test_deleting_what_is_gone_harms_nothing(provider: Provider, name: str) -> None:
    create(provider, name, ours("A", V4, OWNER), ours("A", V4_B, OWNER))
    old = tuple(record for record in provider.read(name) if record.content == V4)
    provider.apply(name, Changes(deletes=old))
    with contextlib.suppress(TransientError):  # a provider that sees it may ask for another look; nothing was done
        provider.apply(name, Changes(deletes=old))
    assert said(provider.read(name)) == {ours("A", V4_B, OWNER)}


def test_a_record_is_never_there_twice(provider: Provider, name: str) -> None:
    create(provider, name, ours("A", V4, OWNER), ours("A", V4_B, OWNER))
    with contextlib.suppress(TransientError):  # it was there already: another look finds nothing to do
        create(provider, name, ours("A", V4, OWNER))
    assert said(provider.read(name)) == {ours("A", V4, OWNER), ours("A", V4_B, OWNER)}
    assert len(provider.read(name)) == 2


def test_no_address_is_put_beside_an_alias(environment: Environment, provider: Provider, name: str) -> None:
    environment.plant(name, "CNAME", f"target.{environment.zone}")
    with pytest.raises((TransientError, PermanentError)):
        create(provider, name, ours("A", V4, OWNER))
    assert [record.type for record in provider.read(name)] == ["CNAME"]


def test_many_records_are_all_there(provider: Provider, name: str) -> None:
    wanted = tuple(ours("A", f"192.0.2.{host}", OWNER) for host in range(1, 41))
    create(provider, name, *wanted)
    assert said(provider.read(name)) == set(wanted)


def test_no_changes_are_no_call(provider: Provider, name: str) -> None:
    assert provider.apply(name, Changes()) == 0


def test_a_server_that_is_not_there_is_worth_another_try(
    environment: Environment, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        fails_without_the_secret(environment, environment.unreachable(), name, TransientError)
    assert environment.secret not in caplog.text


def test_a_refused_credential_is_final_until_somebody_mends_it(
    environment: Environment, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        fails_without_the_secret(environment, environment.refused(), name, PermanentError)
    assert environment.secret not in caplog.text


def fails_without_the_secret(
    environment: Environment, provider: Provider, name: str, expected: type[Exception]
) -> None:
    try:
        for call in (lambda: provider.read(name), lambda: create(provider, name, ours("A", V4, OWNER))):
            with pytest.raises(expected) as failure:
                call()
            error: BaseException | None = failure.value
            assert str(error)
            while error is not None:
                assert environment.secret not in f"{error} {error!r} {vars(error)}"
                error = error.__cause__ or error.__context__
    finally:
        provider.close()


def test_an_object_does_not_show_the_secret(environment: Environment, provider: Provider) -> None:
    assert environment.secret not in f"{provider} {provider!r} {provider.account}"


def test_objects_of_one_account_count_together(environment: Environment, provider: Provider) -> None:
    second = environment.provider()
    try:
        assert provider.account == second.account
        assert provider.account.id
    finally:
        second.close()


def test_what_it_can_do_makes_sense(provider: Provider) -> None:
    found = provider.capabilities
    assert 0 < found.min_ttl <= TTL_S <= found.max_ttl
    assert found.batch >= 1
    assert found.marks in {"comment", "txt"}


def test_a_check_finds_all_well(environment: Environment, provider: Provider, name: str) -> None:
    findings = provider.check(name)
    assert findings
    assert [finding for finding in findings if not finding.ok] == []
    assert environment.records(name) == set()


def test_a_check_finds_a_name_of_another_zone(provider: Provider) -> None:
    assert any(not finding.ok for finding in provider.check("vpn.elsewhere.example"))


def test_a_check_finds_a_refused_credential(environment: Environment, name: str) -> None:
    provider = environment.refused()
    try:
        findings = provider.check(name)
    finally:
        provider.close()
    assert any(not finding.ok and finding.certain for finding in findings)
    assert environment.secret not in str(findings)


def test_a_check_finds_a_server_that_is_not_there(environment: Environment, name: str) -> None:
    provider = environment.unreachable()
    try:
        findings = provider.check(name)
    finally:
        provider.close()
    wrong = [finding for finding in findings if not finding.ok]
    assert wrong
    assert not any(finding.certain for finding in wrong)
