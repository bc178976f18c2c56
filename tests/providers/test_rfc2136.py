"""What is particular to RFC 2136, on a real Knot: races, wildcards, refusals, the primary by the SOA."""

import base64
import threading
from collections.abc import Iterator
from dataclasses import replace

import dns.name
import dns.resolver
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.providers.knot import ADDRESS, Knot, free_port, knot
from wgfleet.panel.dns.providers import Raced, ownership_txt
from wgfleet.panel.dns.providers.rfc2136 import Rfc2136, Rfc2136Options
from wgfleet.panel.dns.providers.rfc2136_client import primary_of
from wgfleet.panel.domain.dns.records import Changes, Record, mark
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.testing.dns_provider import ours

pytestmark = pytest.mark.servers
OWNER, OTHER = mark("panel1", "config1"), mark("panel2", "config1")
V4, V4_B, V4_C = "192.0.2.1", "192.0.2.2", "192.0.2.3"


@pytest.fixture
def server() -> Iterator[Knot]:
    with knot() as running:
        yield running


@pytest.fixture
def name(server: Knot) -> str:
    return f"vpn.{server.zone}"


def create(provider: Rfc2136, name: str, *contents: str, owner: str = OWNER) -> None:
    provider.apply(name, Changes(creates=tuple(ours("A", content, owner) for content in contents)))


@pytest.mark.parametrize("type_", ["A", "AAAA", "CNAME"])
def test_whoever_writes_between_look_and_change_makes_it_raced_and_nothing_is_done(
    server: Knot, name: str, type_: str
) -> None:
    provider = server.provider()
    assert provider.read(name) == ()
    server.plant(name, type_, {"A": V4, "AAAA": "2001:db8::1", "CNAME": "elsewhere.example"}[type_])
    before = server.records(name)
    with pytest.raises(Raced):
        create(provider, name, V4_B)
    assert server.records(name) == before
    assert server.records(ownership_txt.marker_name(name)) == set()


def test_a_record_that_was_removed_by_hand_makes_the_change_raced(server: Knot, name: str) -> None:
    provider = server.provider()
    create(provider, name, V4, V4_B)
    records = provider.read(name)
    server.remove(name, "A", V4)
    with pytest.raises(Raced):
        provider.apply(name, Changes(deletes=records))
    assert [record.content for record in provider.read(name)] == [V4_B]


def test_a_mark_that_somebody_else_made_meanwhile_makes_the_change_raced(server: Knot, name: str) -> None:
    first, second = server.provider(), server.provider()
    assert first.read(name) == second.read(name) == ()
    create(second, name, V4, owner=OTHER)
    with pytest.raises(Raced):
        create(first, name, V4_B)
    assert {record.owner for record in first.read(name)} == {OTHER}


def test_a_change_that_is_not_about_what_is_there_is_raced(server: Knot, name: str) -> None:
    provider = server.provider()
    create(provider, name, V4, owner=OTHER)
    for changes in (
        Changes(deletes=(ours("A", V4, OWNER),)),
        Changes(deletes=(ours("A", V4_B, OTHER),)),
        Changes(creates=(ours("A", V4, OWNER),)),
    ):
        with pytest.raises(Raced):
            provider.apply(name, changes)
    assert {record.owner for record in provider.read(name)} == {OTHER}


def test_of_many_writers_at_once_each_gets_its_record_in_the_end(server: Knot, name: str) -> None:
    addresses = [f"192.0.2.{number}" for number in range(1, 9)]
    races = []

    def write(address: str) -> None:
        provider = server.provider()
        while True:
            provider.read(name)
            try:
                create(provider, name, address)
            except Raced:
                races.append(address)
            else:
                return

    threads = [threading.Thread(target=write, args=(address,)) for address in addresses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = server.provider().read(name)
    assert sorted(record.content for record in found) == addresses
    assert {record.owner for record in found} == {OWNER}


def test_a_mark_without_its_record_gives_nothing_away(server: Knot, name: str) -> None:
    provider = server.provider()
    create(provider, name, V4, V4_B)
    server.remove(name, "A", V4)
    create(provider, name, V4_C)
    server.plant(name, "A", V4)
    assert {record.content: record.owner for record in provider.read(name)} == {V4: None, V4_B: OWNER, V4_C: OWNER}


def test_the_mark_of_somebody_else_stays(server: Knot, name: str) -> None:
    marker = ownership_txt.marker_name(name)
    provider = server.provider()
    server.plant(marker, "TXT", '"kept by hand"')
    create(provider, name, V4, owner=OTHER)
    before = server.records(marker)
    create(provider, name, V4_B)
    provider.apply(name, Changes(deletes=tuple(each for each in provider.read(name) if each.owner == OWNER)))
    assert server.records(marker) == before
    assert len(before) == 2


def test_what_a_wildcard_answers_is_not_there(server: Knot, name: str) -> None:
    server.plant(f"*.{server.zone}", "A", V4)
    server.plant(f"*.{server.zone}", "TXT", '"anything"')
    provider = server.provider()
    assert provider.read(name) == ()
    create(provider, name, V4_B)
    assert [record.content for record in provider.read(name)] == [V4_B]
    provider.apply(name, Changes(deletes=provider.read(name)))
    assert provider.read(name) == ()
    assert {kind for kind, *_ in server.records(f"*.{server.zone}")} == {"A", "TXT"}


def test_the_last_and_the_first_address_change_places_in_one_update(server: Knot, name: str) -> None:
    provider = server.provider()
    create(provider, name, V4)
    changes = Changes(deletes=provider.read(name), creates=(ours("A", V4_B, OWNER),))
    assert provider.apply(name, changes) == 1
    assert [record.content for record in provider.read(name)] == [V4_B]


def test_a_hundred_records_change_in_one_update(server: Knot, name: str) -> None:
    provider = server.provider()
    owner = mark("p" * 40, "c" * 40)
    create(provider, name, *(f"192.0.2.{number}" for number in range(100)), owner=owner)
    changes = Changes(updates=tuple((old, replace(old, ttl=60)) for old in provider.read(name)))
    assert provider.apply(name, changes) == 1
    assert {(record.ttl, record.owner) for record in provider.read(name)} == {(60, owner)}


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ({"key_name": "somebody-else"}, "does not know key somebody-else"),
        ({"key_secret": base64.b64encode(b"another secret").decode()}, "another secret for key wgfleet-test"),
        ({"algorithm": "hmac-sha512"}, "does not know key|another secret"),
        ({"key_name": "reader"}, "accept it for this zone .* lets this key update the zone"),
        ({"key_name": None, "key_secret": None}, "NOTAUTH to an update of zone zone.example with no key"),
    ],
)
def test_a_refusal_says_what_to_check(server: Knot, name: str, wrong: dict[str, str | None], advice: str) -> None:
    provider = Rfc2136(server.zone, server.options(**wrong))
    with pytest.raises(PermanentError, match=advice):
        create(provider, name, V4)
    assert not provider.check(name)[-1].ok


def test_another_servers_zone_is_refused(server: Knot) -> None:
    provider = Rfc2136("elsewhere.example", server.options())
    with pytest.raises(PermanentError, match=r"elsewhere\.example"):
        provider.read("vpn.elsewhere.example")


def test_a_name_outside_the_zone_is_refused(server: Knot) -> None:
    with pytest.raises(PermanentError, match=r"vpn\.elsewhere\.example is not in zone zone\.example"):
        server.provider().read("vpn.elsewhere.example")


def test_a_name_with_no_room_for_its_mark_is_refused(server: Knot) -> None:
    name = f"{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 50}.{server.zone}"
    assert len(name) <= 253
    with pytest.raises(PermanentError, match="too long"):
        server.provider().read(name)


def test_a_server_that_ends_is_worth_another_try(name: str) -> None:
    with knot() as running:
        provider = running.provider()
        provider.read(name)
    with pytest.raises(TransientError) as failure:
        create(provider, name, V4)
    assert not isinstance(failure.value, Raced)


def test_the_primary_is_whom_the_soa_record_names(server: Knot) -> None:
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [ADDRESS], server.port
    assert primary_of(dns.name.from_text(server.zone), resolver) == "localhost"
    with pytest.raises(PermanentError, match=f"missing.{server.zone}"):
        primary_of(dns.name.from_text(f"missing.{server.zone}"), resolver)
    resolver.port = free_port()
    with pytest.raises(TransientError, match="set `server`"):
        primary_of(dns.name.from_text("elsewhere.example"), resolver)


def test_a_server_can_be_a_host_name(server: Knot, name: str) -> None:
    create(Rfc2136(server.zone, server.options(server="localhost")), name, V4)
    assert len(server.records(name)) == 1
    with pytest.raises(TransientError, match="does not resolve"):
        Rfc2136(server.zone, server.options(server="missing.invalid")).read(name)


@pytest.mark.parametrize(
    "values",
    [
        {"key_name": "key"},
        {"key_secret": "c2VjcmV0"},
        {"key_name": "key", "key_secret": "no base64, but secret"},
        {"key_name": "key", "key_secret": ""},
        {"key_name": f"{'x' * 64}.", "key_secret": "c2VjcmV0"},
        {"algorithm": "hmac-md5.sig-alg.reg.int"},
        {"port": 0},
        {"sever": "ns1.example"},
    ],
)
def test_options_that_cannot_be_right_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as failure:
        Rfc2136Options.model_validate(values)
    assert "but secret" not in "".join(error["msg"] for error in failure.value.errors())


records = st.builds(
    Record,
    type=st.sampled_from(["A", "AAAA"]),
    content=st.sampled_from([V4, V4_B, V4_C, "2001:db8::1"]),
    ttl=st.just(300),
    owner=st.sampled_from([OWNER, OTHER, None]),
)
of_different_content = st.lists(records, max_size=6, unique_by=lambda record: (record.type, record.content))


@given(
    of_different_content, st.sets(st.sampled_from(["", "hand made", f"{OWNER} A {V4}", f"{OTHER} TXT x"])), st.data()
)
def test_marks_after_a_change_say_whose_each_record_is(
    there: list[Record], stray: set[str], data: st.DataObject
) -> None:
    gone = data.draw(st.lists(st.sampled_from(there), unique=True) if there else st.just([]))
    kept = [record for record in there if record not in gone]
    taken = {(record.type, record.content) for record in kept}
    come = [each for each in data.draw(of_different_content) if (each.type, each.content) not in taken]
    texts = {ownership_txt.text_of(record) for record in there if record.owner is not None}
    after = ownership_txt.replaced(
        texts | {text for text in stray if not ownership_txt.owners([text])}, gone, come, kept
    )
    found = ownership_txt.owners(after)
    for record in (*kept, *come):
        assert found.get((record.type, record.content)) == record.owner
    assert {text for text in stray if not ownership_txt.owners([text])} <= after
