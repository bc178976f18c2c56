"""Contract of DNS providers: each reads and applies, keeps marks, spares foreign records, and fails well.

Subclass `DnsProviderContract` in a test module, set `plugin`, and override the fixture `environment`.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Protocol, cast

import pytest

from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.dns.providers import ENTRY_POINTS, Provider, TextProvider
from wgfleet.panel.domain.dns.records import Changes, Record, mark
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.testing.failures import check_entry_point, check_failures, check_options

TTL_S = 300  # what `plant` gives a record: servers that think in RRsets know one TTL for a name and type
OWNER = mark("panel1", "config1")
OTHER = mark("panel2", "config1")
V4, V4_B, V4_C = "192.0.2.1", "192.0.2.2", "192.0.2.3"
V6 = "2001:db8::1"


class DnsEnvironment(Protocol):
    """A server with one zone. It reads and changes the zone itself, not through the provider that is tested."""

    @property
    def zone(self) -> str:
        """The zone's name, without a final dot."""

    @property
    def secret(self) -> str:
        """The credential, which no error, log or representation may hold."""

    def provider(self) -> Provider:
        """Make a provider that works."""

    def refused(self) -> Provider:
        """Make a provider whose credential the server refuses; `secret` is part of it all the same."""

    def unreachable(self) -> Provider:
        """Make a provider whose server does not answer; `secret` is its credential."""

    def plant(self, name: str, type_: str, content: str) -> object:
        """Put a record of somebody else into the zone, with TTL `TTL_S`; `type_`: A, AAAA, CNAME, MX or TXT."""

    def records(self, name: str) -> set[tuple[str, str, int]]:
        """Return type, content and TTL of all records at exactly `name`, without our marks."""


def values(records: tuple[Record, ...]) -> set[Record]:
    """Return the records without the provider's ids of them."""
    return {replace(record, handle=None) for record in records}


def ours(type_: str, content: str, owner: str, ttl: int = TTL_S) -> Record:
    """Return a record with our mark."""
    return Record(type=type_, content=content, ttl=ttl, owner=owner)


def create(provider: Provider, name: str, *records: Record) -> None:
    """Create records at a name."""
    provider.apply(name, Changes(creates=records))


def check_both_calls(environment: DnsEnvironment, provider: Provider, name: str, expected: type[Exception]) -> None:
    """Reading and applying have to fail with `expected`, without the secret."""
    try:
        calls = (lambda: provider.read(name), lambda: create(provider, name, ours("A", V4, OWNER)))
        check_failures(calls, expected, environment.secret)
    finally:
        provider.close()


class DnsProviderContract:
    """What the panel relies on. `plugin` is the name of the entry point."""

    plugin: ClassVar[str]

    @pytest.fixture
    def environment(self) -> Iterator[DnsEnvironment]:
        raise NotImplementedError("override this fixture with one that yields a DnsEnvironment")

    @pytest.fixture
    def provider(self, environment: DnsEnvironment) -> Iterator[Provider]:
        made = environment.provider()
        yield made
        made.close()

    @pytest.fixture
    def name(self, environment: DnsEnvironment) -> str:
        return f"vpn.{environment.zone}"

    def test_it_is_installed_under_its_own_name(self) -> None:
        check_entry_point(ENTRY_POINTS, self.plugin)

    def test_its_options_refuse_what_they_do_not_know(self) -> None:
        check_options(DnsPlugins.installed().find(self.plugin).Options)

    def test_a_name_without_records_is_empty(self, provider: Provider, name: str) -> None:
        assert provider.read(name) == ()

    @pytest.mark.parametrize(
        "label", ["vpn.", "a.b.vpn.", "xn--mnchen-3ya.", "_vpn.", ""], ids=lambda text: text or "apex"
    )
    def test_what_is_applied_is_read_again(self, environment: DnsEnvironment, provider: Provider, label: str) -> None:
        name = label + environment.zone
        desired = {ours("A", V4, OWNER), ours("A", V4_B, OWNER), ours("AAAA", V6, OWNER)}
        assert provider.apply(name, Changes(creates=tuple(desired))) >= 1
        assert values(provider.read(name)) == desired
        assert {("A", V4, TTL_S), ("A", V4_B, TTL_S), ("AAAA", V6, TTL_S)} <= environment.records(name)

    def test_records_are_read_in_canonical_form(
        self, environment: DnsEnvironment, provider: Provider, name: str
    ) -> None:
        environment.plant(name, "AAAA", "2001:0DB8:0:0:0:0:0:1")
        assert {(record.type, record.content, record.ttl) for record in provider.read(name)} == {("AAAA", V6, TTL_S)}

    def test_the_owner_is_who_made_the_record(self, environment: DnsEnvironment, provider: Provider, name: str) -> None:
        environment.plant(name, "A", V4)
        create(provider, name, ours("A", V4_B, OWNER), ours("A", V4_C, OWNER))
        assert {record.content: record.owner for record in provider.read(name)} == {V4: None, V4_B: OWNER, V4_C: OWNER}

    def test_another_panel_reads_whose_they_are(
        self, environment: DnsEnvironment, provider: Provider, name: str
    ) -> None:
        create(provider, name, ours("A", V4, OTHER))
        create(provider, name, ours("A", V4_B, OWNER))
        second = environment.provider()
        try:
            assert {record.content: record.owner for record in second.read(name)} == {V4: OTHER, V4_B: OWNER}
        finally:
            second.close()

    def test_a_record_of_somebody_else_can_be_adopted(
        self, environment: DnsEnvironment, provider: Provider, name: str
    ) -> None:
        environment.plant(name, "A", V4)
        (found,) = provider.read(name)
        provider.apply(name, Changes(updates=((found, replace(found, owner=OWNER)),)))
        assert values(provider.read(name)) == {ours("A", V4, OWNER)}

    def test_only_the_exact_name_is_read(self, environment: DnsEnvironment, provider: Provider, name: str) -> None:
        environment.plant(f"sub.{name}", "A", V4)
        environment.plant(f"x{name}", "A", V4_B)
        environment.plant(environment.zone, "A", V4_C)
        assert provider.read(name) == ()

    def test_only_addresses_and_aliases_are_read(
        self, environment: DnsEnvironment, provider: Provider, name: str
    ) -> None:
        environment.plant(name, "TXT", '"hello"')
        environment.plant(name, "A", V4)
        environment.plant(f"alias.{name}", "CNAME", f"target.{environment.zone}")
        assert [record.type for record in provider.read(name)] == ["A"]
        (alias,) = provider.read(f"alias.{name}")
        assert (alias.type, alias.content, alias.owner) == ("CNAME", f"target.{environment.zone}", None)

    def test_a_ttl_changes_and_the_mark_stays(self, provider: Provider, name: str) -> None:
        create(provider, name, ours("A", V4, OWNER), ours("A", V4_B, OWNER))
        updates = tuple((record, replace(record, ttl=600)) for record in provider.read(name))
        provider.apply(name, Changes(updates=updates))
        assert values(provider.read(name)) == {ours("A", V4, OWNER, 600), ours("A", V4_B, OWNER, 600)}

    def test_an_address_changes_and_the_mark_stays(self, provider: Provider, name: str) -> None:
        create(provider, name, ours("A", V4, OWNER), ours("A", V4_B, OWNER))
        old = next(record for record in provider.read(name) if record.content == V4)
        provider.apply(name, Changes(updates=((old, replace(old, content=V4_C)),)))
        assert values(provider.read(name)) == {ours("A", V4_B, OWNER), ours("A", V4_C, OWNER)}

    def test_deletes_and_creates_go_together(self, provider: Provider, name: str) -> None:
        create(provider, name, ours("A", V4, OWNER), ours("AAAA", V6, OWNER))
        old = tuple(record for record in provider.read(name) if record.type == "A")
        provider.apply(name, Changes(deletes=old, creates=(ours("A", V4_B, OWNER),)))
        assert values(provider.read(name)) == {ours("A", V4_B, OWNER), ours("AAAA", V6, OWNER)}

    def test_what_is_deleted_leaves_nothing(self, environment: DnsEnvironment, provider: Provider, name: str) -> None:
        create(provider, name, ours("A", V4, OWNER), ours("AAAA", V6, OWNER))
        provider.apply(name, Changes(deletes=provider.read(name)))
        assert provider.read(name) == ()
        assert environment.records(name) == set()

    def test_nothing_of_others_is_touched(self, environment: DnsEnvironment, provider: Provider, name: str) -> None:
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

    def test_deleting_what_is_gone_harms_nothing(self, provider: Provider, name: str) -> None:
        create(provider, name, ours("A", V4, OWNER), ours("A", V4_B, OWNER))
        old = tuple(record for record in provider.read(name) if record.content == V4)
        provider.apply(name, Changes(deletes=old))
        with contextlib.suppress(TransientError):  # a provider that notices may ask for another read; nothing was done
            provider.apply(name, Changes(deletes=old))
        assert values(provider.read(name)) == {ours("A", V4_B, OWNER)}

    def test_a_record_is_never_there_twice(self, provider: Provider, name: str) -> None:
        create(provider, name, ours("A", V4, OWNER), ours("A", V4_B, OWNER))
        with contextlib.suppress(TransientError):  # it was there already: another read finds nothing to do
            create(provider, name, ours("A", V4, OWNER))
        assert values(provider.read(name)) == {ours("A", V4, OWNER), ours("A", V4_B, OWNER)}
        assert len(provider.read(name)) == 2

    def test_no_address_is_put_beside_an_alias(
        self, environment: DnsEnvironment, provider: Provider, name: str
    ) -> None:
        environment.plant(name, "CNAME", f"target.{environment.zone}")
        with pytest.raises((TransientError, PermanentError)):
            create(provider, name, ours("A", V4, OWNER))
        assert [record.type for record in provider.read(name)] == ["CNAME"]

    def test_many_records_are_all_there(self, provider: Provider, name: str) -> None:
        desired = tuple(ours("A", f"192.0.2.{host}", OWNER) for host in range(1, 41))
        create(provider, name, *desired)
        assert values(provider.read(name)) == set(desired)

    def test_texts_are_added_beside_others_and_removed_alone(
        self, environment: DnsEnvironment, provider: Provider
    ) -> None:
        assert provider.capabilities.texts is hasattr(provider, "add_text")
        if not provider.capabilities.texts:
            return
        name, texts = f"_acme-challenge.vpn.{environment.zone}", cast("TextProvider", provider)
        environment.plant(name, "TXT", '"of somebody else"')
        for text in ("first", "first", "second"):
            texts.add_text(name, text)
        assert self._texts(environment, name) == ["first", "of somebody else", "second"]
        for text in ("first", "first", "never there"):
            texts.remove_text(name, text)
        assert self._texts(environment, name) == ["of somebody else", "second"]
        assert provider.read(name) == ()

    def test_a_text_in_another_zone_is_refused_and_nothing_is_left(
        self, environment: DnsEnvironment, provider: Provider
    ) -> None:
        if provider.capabilities.texts:
            with pytest.raises(PermanentError):
                cast("TextProvider", provider).add_text("_acme-challenge.elsewhere.example", "text")
            assert environment.records("_acme-challenge.elsewhere.example") == set()

    @staticmethod
    def _texts(environment: DnsEnvironment, name: str) -> list[str]:
        return sorted(content.strip('"') for kind, content, _ in environment.records(name) if kind == "TXT")

    def test_no_changes_are_no_call(self, provider: Provider, name: str) -> None:
        assert provider.apply(name, Changes()) == 0

    def test_a_server_that_does_not_answer_is_a_transient_error(
        self, environment: DnsEnvironment, name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG):
            check_both_calls(environment, environment.unreachable(), name, TransientError)
        assert environment.secret not in caplog.text

    def test_a_refused_credential_is_a_permanent_error(
        self, environment: DnsEnvironment, name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG):
            check_both_calls(environment, environment.refused(), name, PermanentError)
        assert environment.secret not in caplog.text

    def test_an_object_does_not_show_the_secret(self, environment: DnsEnvironment, provider: Provider) -> None:
        assert environment.secret not in f"{provider} {provider!r} {provider.account}"

    def test_objects_of_one_account_count_together(self, environment: DnsEnvironment, provider: Provider) -> None:
        second = environment.provider()
        try:
            assert provider.account == second.account
            assert provider.account.id
        finally:
            second.close()

    def test_its_capabilities_make_sense(self, provider: Provider) -> None:
        found = provider.capabilities
        assert 0 < found.min_ttl <= TTL_S <= found.max_ttl
        assert found.batch >= 1
        assert found.marks in {"comment", "txt"}

    def test_a_check_finds_all_well(self, environment: DnsEnvironment, provider: Provider, name: str) -> None:
        findings = provider.check(name)
        assert findings
        assert [finding for finding in findings if not finding.ok] == []
        assert environment.records(name) == set()

    def test_a_check_finds_a_name_of_another_zone(self, provider: Provider) -> None:
        assert any(not finding.ok for finding in provider.check("vpn.elsewhere.example"))

    def test_a_check_finds_a_refused_credential(self, environment: DnsEnvironment, name: str) -> None:
        provider = environment.refused()
        try:
            findings = provider.check(name)
        finally:
            provider.close()
        assert any(not finding.ok and finding.certain for finding in findings)
        assert environment.secret not in str(findings)

    def test_a_check_finds_a_server_that_is_not_there(self, environment: DnsEnvironment, name: str) -> None:
        provider = environment.unreachable()
        try:
            findings = provider.check(name)
        finally:
            provider.close()
        wrong = [finding for finding in findings if not finding.ok]
        assert wrong
        assert not any(finding.certain for finding in wrong)
