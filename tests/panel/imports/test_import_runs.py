"""Imports of many peers: in slices between which others have their turn, all or none, whenever the panel is killed."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select

from wgfleet.imports.fleet import ImportedInterface, ImportedJob, ImportedPeer, ImportedTag
from wgfleet.panel.api import Panel, import_runs
from wgfleet.panel.api.import_runs import ImportRun
from wgfleet.panel.errors import Conflict, Forbidden, Invalid
from wgfleet.panel.keypairs import new_key_pair
from wgfleet.panel.reconcile.abandoned_batches import AbandonedBatches, abandoned
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import api_keys
from wgfleet.panel.services.access.callers import ADMIN, Caller
from wgfleet.panel.services.fleet import peer_batches, peers
from wgfleet.panel.services.fleet.peer_details import PeerDetails
from wgfleet.panel.store import Store, Tx
from wgfleet.panel.store.tables import (
    Address,
    AuditEntry,
    Config,
    EndpointGroup,
    LimitJob,
    Peer,
    PeerBatch,
    PeerTag,
    Pool,
    RuleSetRow,
    Tag,
    UsageTotal,
)
from wgfleet.protocol.errors import FieldError

WHOLE = (Address, Config, EndpointGroup, LimitJob, Peer, PeerBatch, PeerTag, Pool, RuleSetRow, Tag, UsageTotal)
"""Tables of what an import makes."""
COUNT, SLICE = 23, 10
NAME = "anna"
LIMIT = ImportedJob(field="total_data", operator="lgt", value="11", action="restrict")
WRITES = 9
"""Of such an import: the config is tried and made, tags, rule sets, three slices of peers with limits, the end."""


class KilledError(BaseException):
    """The process ended here."""


@pytest.fixture(autouse=True)
def small_slices(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_runs, "SLICE", SLICE)
    with panel.store.write() as tx:
        for name in ("first", NAME):
            api_keys.create_key(tx, "test", name, [ADMIN])


def caller(panel: Panel) -> Caller:
    with panel.store.read() as tx:
        key = api_keys.get_key(tx, NAME)
    return Caller(key.id, key.name, frozenset(key.scopes), stale_use=False)


def interface(count: int = COUNT) -> ImportedInterface:
    private, public = new_key_pair()
    keys = [new_key_pair() for _ in range(count)]
    return ImportedInterface(
        name="office",
        private_key=private,
        public_key=public,
        addresses=("10.9.0.1/24", "fd00:9::1/64"),
        endpoint="vpn.example.com:51820",
        peers=tuple(
            ImportedPeer(
                public_key=key[1],
                private_key=key[0],
                name=f"p{number}",
                addresses=(f"10.9.0.{2 + count - number}",) if number % 2 else (f"fd00:9::{2 + count - number:x}",),
                tags=(f"t{number % 12}",),
                received=5,
                sent=number,
                jobs=(LIMIT,),
                destinations=(f"allow tcp/443 192.0.2.{number % 3}",) if number % 5 == 0 else None,
            )
            for number, key in enumerate(keys)
        ),
    )


def run(panel: Panel, found: ImportedInterface) -> ImportRun:
    return ImportRun(panel, caller(panel), found, tags=[ImportedTag(name="t1", color="#112233")])


def rows(panel: Panel) -> dict[str, int]:
    with panel.store.read() as tx:
        return {table.__tablename__: _count(tx, table) for table in WHOLE}


def _count(tx: Tx, table: type[Any]) -> int:
    return tx.session.scalar(select(func.count()).select_from(table)) or 0


@contextmanager
def killed_after(monkeypatch: pytest.MonkeyPatch, writes: int) -> Iterator[list[int]]:
    """End what writes after so many transactions: from then on it never writes again."""
    write, done = Store.write, [0]

    @contextmanager
    def counted(store: Store) -> Iterator[Tx]:
        if done[0] == writes:
            raise KilledError
        done[0] += 1
        with write(store) as tx:
            yield tx

    with monkeypatch.context() as patched:
        patched.setattr(Store, "write", counted)
        yield done


@pytest.mark.parametrize("writes", range(1, WRITES))
def test_of_an_import_that_is_killed_nothing_is_left_and_the_next_does_all(
    panel: Panel, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    before, found = rows(panel), interface()
    with killed_after(monkeypatch, writes), pytest.raises(KilledError):
        run(panel, found).make()
    left = abandoned(panel.store)
    assert bool(left) is (writes > 1)
    for batch_id in left:
        with panel.store.holding(batch_id):  # as if it lived: peers that are "same" now might be gone soon
            if writes > 1 + 1 + 1 + 2:
                with pytest.raises(Conflict, match="of a call that has not ended"):
                    run(panel, found).make()
        with panel.store.write() as tx:  # who undoes it is killed too, after the first step
            peer_batches.undo(tx, "panel", batch_id)
    if writes % 2:  # else the next such import does that, and waits for nobody
        asyncio.run(AbandonedBatches(panel.store).look())
        assert rows(panel) == before
    again = run(panel, found).make()
    assert (len(again.new), again.target.created) == (COUNT, True)
    assert rows(panel) == whole(before)


def test_of_two_equal_imports_at_once_the_later_one_says_so(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    found, told = interface(), list[str]()
    add = peer_batches.add

    def with_an_equal_one(*args: Any, **more: Any) -> Any:
        for call in (run(panel, found).make, run(panel, found).plan):
            with pytest.raises(Conflict) as refused:
                call()
            told.append(refused.value.detail)
        return add(*args, **more)

    with monkeypatch.context() as patched:
        patched.setattr(peer_batches, "add", with_an_equal_one)
        done = run(panel, found).make()
    assert len(done.new) == COUNT
    assert len(told) == 2 * 3
    assert {text.partition(" is under way")[0] for text in told} == {"this same import of 'office'"}
    assert run(panel, found).make().same == COUNT


def test_an_import_whose_key_is_revoked_meanwhile_stops_and_nothing_of_it_stays(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, found = rows(panel), interface()
    add, slices = peer_batches.add, [0]

    def revoked(tx: Tx, *args: Any, **more: Any) -> Any:
        slices[0] += 1
        api_keys.revoke_key(tx, "test", api_keys.get_key(tx, NAME))
        return add(tx, *args, **more)

    monkeypatch.setattr(peer_batches, "add", revoked)
    with pytest.raises(Forbidden, match="API key 'anna', which began it, was revoked"):
        run(panel, found).make()
    assert slices == [1]
    assert rows(panel) == before


def whole(before: dict[str, int]) -> dict[str, int]:
    made = {
        "addresses": 2 * COUNT,
        "configs": 1,
        "endpoint_groups": 1,
        "peer_jobs": COUNT,
        "peers": COUNT,
        "peer_tags": COUNT,
        "pools": 2,
        "rule_sets": 3,
        "tags": 12,
        "usage_totals": COUNT,
    }
    return {name: count + made.get(name, 0) for name, count in before.items()}


def test_in_slices_an_import_does_what_its_preview_says_and_takes_the_turn_for_one_at_a_time(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, found = rows(panel), interface()
    preview = run(panel, found).plan()
    assert rows(panel) == before
    with killed_after(monkeypatch, -1) as writes:
        done = run(panel, found).make()
    assert writes[0] == WRITES
    assert (done.peers, done.remarks) == (preview.peers, preview.remarks)
    assert done.remarks[0].startswith("'p7', 'p8', 'p9', 'p10', 'p11' and 11 more would be cut off at once")
    with panel.store.read() as tx:
        config = configs.get(tx, "office")
        held = peers.addresses(tx, tx.session.scalars(select(Peer)).all())
        names = {peer.id: peer.name for peer in tx.session.scalars(select(Peer))}
        entries = list(tx.session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)))
        assert tx.session.scalar(select(Tag.color).where(Tag.name == "t1")) == "#112233"
    for peer_id, addresses in held.items():  # nobody was given what a later one wanted
        (wanted,) = found.peers[int(names[peer_id].removeprefix("p"))].addresses
        assert wanted in addresses
    assert (entries.count("peers_created"), entries.count("imported")) == (1, 1)
    same = run(panel, found).make()
    assert ([*same.new], {each.fate.value for each in same.peers}) == ([], {"same"})
    assert rows(panel) == whole(before)
    assert config.name == "office"


def test_what_somebody_uses_by_then_stays_where_the_rest_is_undone(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = interface()
    with killed_after(monkeypatch, 6), pytest.raises(KilledError):
        run(panel, found).make()
    with panel.store.write() as tx:
        peers.create(tx, "rival", configs.get(tx, "office"), peers.draft(panel.vault, [_tagged("own", "t3")]))
    asyncio.run(AbandonedBatches(panel.store).look())
    left = rows(panel)
    assert [left[name] for name in ("configs", "peers", "tags", "peer_batches", "usage_totals")] == [1, 1, 1, 0, 0]


def _tagged(name: str, tag: str) -> peers.PeerSpec:
    return peers.PeerSpec(name, details=PeerDetails(tags=(tag,)))


@pytest.mark.parametrize("taken", ["p22", "another"])
def test_where_others_were_quicker_it_is_planned_again(
    panel: Panel, monkeypatch: pytest.MonkeyPatch, taken: str
) -> None:
    """A name or a key that somebody takes while an import is under way."""
    found = interface()
    rivals: list[str] = []
    key = None if taken == "p22" else found.peers[22].public_key
    add = peer_batches.add

    def with_a_rival(tx: Tx, batch_id: str, config: Config, drafts: Any, first: int, **more: Any) -> Any:
        made = add(tx, batch_id, config, drafts, first, **more)
        if not rivals:
            rivals.append(taken)
            # Kept by what is undone then: the config stays for it.
            peers.create(tx, "rival", config, peers.draft(panel.vault, [peers.PeerSpec(taken, public_key=key)]))
        return made

    monkeypatch.setattr(peer_batches, "add", with_a_rival)
    done = run(panel, found).make()
    assert not done.target.created
    assert (len(done.new), done.peers[22].fate.value) == ((COUNT, "new") if key is None else (COUNT - 1, "same"))
    assert done.peers[22].name == (f"p22-{_letters(found.peers[22])}" if key is None else "another")
    with panel.store.read() as tx:
        assert [_count(tx, table) for table in (Peer, PeerBatch)] == [COUNT + (key is None), 0]


def _letters(peer: ImportedPeer) -> str:
    return "".join(c for c in peer.public_key if c.isalnum())[:8]


def test_what_cannot_be_made_is_refused_before_anything_is_with_its_place_in_the_source(panel: Panel) -> None:
    found = interface()
    run(panel, found).make()
    before = rows(panel)
    router = ImportedPeer(public_key=new_key_pair()[1], name="a router", networks=("10.20.0.1/24",))
    with pytest.raises((Invalid, FieldError)) as refused:
        run(panel, msgspec.structs.replace(found, peers=(*found.peers, router))).make()
    assert getattr(refused.value, "field", None) == f"peers[{COUNT}].networks[0]"
    assert rows(panel) == before
