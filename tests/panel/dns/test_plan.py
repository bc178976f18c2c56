"""Plans for names: properties that hold whatever is there, and the choice of addresses."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from wgfleet.panel.domain.dns.listing import DnsFloatingAddress, DnsMode, DnsNode, desired_addresses
from wgfleet.panel.domain.dns.plan import Approval, DnsPlan, address_records, is_ours, needs_approval, plan
from wgfleet.panel.domain.dns.records import Record, mark

NAME, OURS, THEIRS = "vpn.example.com", mark("this", "config"), mark("other", "config")
ADDRESSES = [f"192.0.2.{i}" for i in range(1, 7)] + [f"2001:db8::{i}" for i in range(1, 4)]

addresses = st.sets(st.sampled_from(ADDRESSES))


@st.composite
def records(draw: st.DrawFn) -> Record:
    address = draw(st.sampled_from(ADDRESSES))
    return Record(
        type="AAAA" if ":" in address else "A",
        content=address,
        ttl=draw(st.sampled_from([60, 300])),
        owner=draw(st.sampled_from([OURS, OURS, None, THEIRS])),
        proxied=draw(st.booleans()),
        handle=draw(st.sampled_from(["a", "b"])),
    )


ALIAS = Record("CNAME", "elsewhere.example.com", 300)
names = st.builds(
    lambda found, alias: tuple(dict.fromkeys([*found, *([ALIAS] if alias else [])])), st.lists(records()), st.booleans()
)


def applied(there: tuple[Record, ...], found: DnsPlan) -> tuple[Record, ...]:
    """Do what a provider does."""
    changes = found.changes
    old = [*changes.deletes, *(before for before, _ in changes.updates)]
    assert all(record in there for record in old), "a plan names what is there"
    new = [*(after for _, after in changes.updates), *changes.creates]
    return (*(record for record in there if record not in old), *new)


@given(names, addresses, st.sampled_from([DnsMode.SYNC, DnsMode.UPSERT_ONLY]))
def test_what_is_not_ours_is_never_touched(there: tuple[Record, ...], wanted: set[str], mode: DnsMode) -> None:
    found = plan(NAME, there, address_records(wanted, 60, OURS), OURS, mode=mode)
    foreign = [record for record in there if not is_ours(record, OURS)]
    assert [record for record in applied(there, found) if record in foreign] == foreign
    assert {conflict.record for conflict in found.conflicts} == set(foreign)
    assert not (found.changes.deletes and mode is DnsMode.UPSERT_ONLY)


@given(names, addresses, st.booleans())
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(
    there: tuple[Record, ...], wanted: set[str], adopt: bool
) -> None:
    target = address_records(wanted, 60, OURS)
    after = applied(there, plan(NAME, there, target, OURS, adopt=adopt))
    again = plan(NAME, after, target, OURS)
    assert not again.changes
    if not again.stopped and wanted:
        mine = {record.content for record in after if is_ours(record, OURS)}
        taken = {record.content for record in after if not is_ours(record, OURS)}
        assert wanted - taken <= mine <= wanted


@given(names, addresses)
def test_a_name_is_never_emptied_unless_it_is_withdrawn(there: tuple[Record, ...], wanted: set[str]) -> None:
    after = applied(there, plan(NAME, there, address_records(wanted, 60, OURS), OURS))
    assert bool(after) or not there
    gone = applied(there, plan(NAME, there, address_records(wanted, 60, OURS), OURS, withdrawn=True))
    assert gone == tuple(record for record in there if not is_ours(record, OURS) or record.content in wanted)


@given(names, addresses)
def test_nothing_is_published_beside_an_alias_or_into_a_proxied_name(
    there: tuple[Record, ...], wanted: set[str]
) -> None:
    found = plan(NAME, there, address_records(wanted, 60, OURS), OURS)
    if any(r.type == "CNAME" or (r.proxied and r.owner != OURS) for r in there):
        assert found.stopped
        assert not found.changes
    assert not any(record.proxied for record in found.changes.creates)
    assert not any(after.proxied for _, after in found.changes.updates)


@given(names, addresses, st.randoms())
def test_the_same_plan_has_the_same_id_and_another_has_another(
    there: tuple[Record, ...], wanted: set[str], shuffler: object
) -> None:
    target = address_records(wanted, 60, OURS)
    found = plan(NAME, there, target, OURS)
    moved = list(there)
    shuffler.shuffle(moved)  # type: ignore[attr-defined]  # hypothesis does not say what it hands out
    renamed = [dataclasses.replace(record, handle=None) for record in moved]
    assert plan(NAME, moved, target, OURS).id == found.id
    if len({dataclasses.replace(record, handle=None) for record in there}) == len(there):
        assert plan(NAME, renamed, target, OURS).id == found.id
    assert plan("other.example.com", there, target, OURS).id != found.id
    assert plan(NAME, (*there, Record("A", "198.51.100.7", 60)), target, OURS).id != found.id


servers = st.builds(
    DnsNode,
    name=st.sampled_from(["n1", "n2", "n3", "n4", "n5"]),
    addresses=st.sampled_from([(address,) for address in ADDRESSES]),
    in_use=st.booleans(),
    leaving=st.booleans(),
    cordoned=st.booleans(),
    forwards=st.booleans(),
)


@given(st.lists(servers, unique_by=(lambda s: s.name, lambda s: s.addresses)), st.booleans(), st.integers(1, 4))
def test_never_fewer_than_min_nodes_are_listed_while_so_many_could_be(
    found: list[DnsNode], only_healthy: bool, min_nodes: int
) -> None:
    chosen = set(desired_addresses(found, (), only_healthy=only_healthy, min_nodes=min_nodes).addresses)
    eligible = [s for s in found if not s.leaving and (s.in_use or not only_healthy)]
    assert len(chosen) >= min(min_nodes, len(eligible))
    assert chosen <= {address for server in eligible for address in server.addresses}
    wanted = [server for server in eligible if not server.cordoned and server.forwards]
    assert chosen >= {address for server in wanted for address in server.addresses}


@given(
    st.lists(
        st.builds(DnsFloatingAddress, st.sampled_from(ADDRESSES), st.booleans()), unique_by=lambda one: one.address
    )
)
def test_of_floating_addresses_just_those_that_somebody_holds_are_listed(floating: list[DnsFloatingAddress]) -> None:
    server = DnsNode("n1", ("198.51.100.1",), in_use=True)
    chosen = desired_addresses([server], floating, only_healthy=True, min_nodes=1)
    held = tuple(sorted(one.address for one in floating if one.in_use))
    assert chosen.addresses == (held if floating else ("198.51.100.1",))
    assert (chosen.note is None) is bool(chosen.addresses)


@given(addresses, addresses, addresses)
def test_an_approval_is_needed_for_more_than_half_that_nobody_removed(
    there: set[str], wanted: set[str], removed: set[str]
) -> None:
    found = plan(NAME, address_records(there, 60, OURS), address_records(wanted, 60, OURS), OURS)
    unasked = there - wanted - removed if wanted else set()
    needed = len(unasked) >= 2 and len(unasked) > len(there) / 2
    assert needs_approval(found, OURS, removed, Approval(0.5, 2)) is needed
