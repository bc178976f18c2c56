"""Many peers in one call: all or none, in slices between which others have their turn."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, text

from tests.panel.conftest import one_database
from wgfleet.panel import clock
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.peer_changes import who
from wgfleet.panel.errors import PanelError, Unavailable
from wgfleet.panel.reconcile.abandoned_batches import AbandonedBatches
from wgfleet.panel.services import configs, generations
from wgfleet.panel.services.fleet import peer_batches, peers
from wgfleet.panel.services.fleet.peer_batches import SLICE
from wgfleet.panel.services.fleet.unfinished_peers import ABANDONED_S
from wgfleet.panel.store import Tx, listed_peers
from wgfleet.panel.store.listed_peers import PeerFilter
from wgfleet.panel.store.tables import Address, AuditEntry, Config, FreeOffset, Peer, PeerBatch, PeerTombstone, Pool
from wgfleet.panel.store.turns import go_first

MANY = 3 * SLICE - 10
NETWORKS = ["172.20.0.0/24"]


@pytest.fixture
def wg0(client: httpx.Client) -> dict[str, Any]:
    """A config with room for many."""
    made = client.post("/api/configs", json={"name": "wg0", "pools": ["10.8.0.0/20", "fd00:8::/64"]})
    assert made.status_code == 201
    found: dict[str, Any] = made.json()
    return found


def counted(tx: Tx, table: type[Any]) -> int:
    return tx.session.scalar(select(func.count()).select_from(table)) or 0


def actions(tx: Tx) -> list[str]:
    return list(tx.session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)))


def assert_nothing_is_left(panel: Panel) -> None:
    with panel.store.read() as tx:
        assert [counted(tx, table) for table in (Peer, PeerBatch, Address)] == [0, 0, 0]
        for pool in tx.session.scalars(select(Pool)):  # each address that was taken is free again
            free = select(func.count()).select_from(FreeOffset).where(FreeOffset.pool_id == pool.id)
            assert pool.next_offset - 2 == tx.session.scalar(free)


@one_database
def test_all_are_made_and_noted_once(client: httpx.Client, panel: Panel, wg0: dict[str, Any]) -> None:
    made = client.post("/api/configs/wg0/peers/batch", json={"count": MANY}).json()["items"]
    assert [each["name"] for each in made] == [f"user-{number}" for number in range(1, MANY + 1)]
    assert len({address for each in made for address in each["addresses"]}) == 2 * MANY
    with panel.store.read() as tx:
        assert [counted(tx, table) for table in (Peer, PeerBatch)] == [MANY, 0]
        assert actions(tx).count("peers_created") == 1
        assert {peer.id for peer in peers.page(tx, wg0["id"], None, MANY + 1)} == {each["id"] for each in made}


@one_database
def test_an_address_that_a_later_slice_wants_is_nobody_elses(client: httpx.Client, wg0: dict[str, Any]) -> None:
    wanted = {MANY - 1: ["10.8.0.5", "fd00:8::6"], MANY - 2: ["fd00:8::7"], 3: ["10.8.0.4"]}
    rows = [{"name": f"p{number}", "addresses": wanted.get(number, [])} for number in range(MANY)]
    answer = client.post("/api/configs/wg0/peers/batch", json={"peers": rows})
    assert answer.status_code == 201, answer.text
    made = {each["name"]: each["addresses"] for each in answer.json()["items"]}
    assert len({address for addresses in made.values() for address in addresses}) == 2 * MANY
    for number, addresses in wanted.items():
        assert set(addresses) <= set(made[f"p{number}"])
    assert wg0["name"] == "wg0"


@one_database
def test_who_goes_first_has_its_turn_within_a_slice(client: httpx.Client, panel: Panel, wg0: dict[str, Any]) -> None:
    """Counted in rows, not in seconds: a decision that asks for the turn waits for the slice under way at most."""
    asked: list[int] = []
    had: list[int] = []
    over = threading.Event()

    def rows() -> int:
        with panel.store.read() as tx:
            return counted(tx, Peer)

    def decide() -> None:
        go_first()
        while not over.is_set():
            asked.append(rows())
            with panel.store.write():
                had.append(rows())

    decider = threading.Thread(target=decide)
    decider.start()
    assert client.post("/api/configs/wg0/peers/batch", json={"count": MANY}).status_code == 201
    over.set()
    decider.join()
    assert any(0 < each < MANY for each in had), "it never had a turn while peers were made"
    # On PostgreSQL nobody waits for a turn; on SQLite what was under way when it asked was at most one slice.
    if panel.store.engine.dialect.name == "sqlite":
        assert max(after - before for before, after in zip(asked, had, strict=True)) <= SLICE
    assert wg0["name"] == "wg0"


def test_none_is_made_where_somebody_takes_a_name_meanwhile(
    client: httpx.Client, panel: Panel, wg0: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    add, taken = peer_batches.add, f"p{SLICE + 5}"

    def with_a_rival(tx: Tx, batch_id: str, config: Config, drafts: Any, first: int, **more: Any) -> Any:
        made = add(tx, batch_id, config, drafts, first, **more)
        if first == 0:  # committed with the first slice, before the second looks
            peers.create(tx, "rival", config, peers.draft(panel.vault, [peers.PeerSpec(taken)]))
        return made

    monkeypatch.setattr(peer_batches, "add", with_a_rival)
    refused = client.post("/api/configs/wg0/peers/batch", json={"peers": [{"name": f"p{n}"} for n in range(MANY)]})
    assert (refused.status_code, refused.json().get("field")) == (409, f"peers[{SLICE + 5}].name")
    with panel.store.read() as tx:
        assert list(tx.session.scalars(select(Peer.name))) == [taken]
        assert [counted(tx, table) for table in (PeerBatch, Address)] == [0, 2]
        assert counted(tx, PeerTombstone) == SLICE  # a node may have got them
        assert [action for action in actions(tx) if action.startswith("peers_")] == ["peers_not_created"]
    assert wg0["name"] == "wg0"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"peers": [{"name": f"p{number % (SLICE + 1)}"} for number in range(MANY)]}, f"peers[{SLICE + 1}].name"),
        (
            {
                "peers": [
                    {"name": f"p{n}", "networks": ["172.20.0.0/24"] if n in {1, MANY - 1} else []} for n in range(MANY)
                ]
            },
            f"peers[{MANY - 1}].networks[0]",
        ),
        ({"count": 5000}, None),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is(
    client: httpx.Client, panel: Panel, wg0: dict[str, Any], body: dict[str, Any], field: str | None
) -> None:
    refused = client.post("/api/configs/wg0/peers/batch", json=body)
    assert refused.status_code == 409
    assert refused.json().get("field") == field
    with panel.store.read() as tx:
        assert [counted(tx, table) for table in (Peer, PeerBatch, FreeOffset)] == [0, 0, 0]
        assert actions(tx)[-1] != "peers_not_created"
    assert wg0["name"] == "wg0"


@one_database
def test_two_that_number_at_the_same_time_have_numbers_of_their_own(
    client: httpx.Client, panel: Panel, wg0: dict[str, Any]
) -> None:
    with ThreadPoolExecutor(2) as calls:
        answers = [calls.submit(client.post, "/api/configs/wg0/peers/batch", json={"count": MANY}) for _ in range(2)]
    assert [answer.result().status_code for answer in answers] == [201, 201]
    with panel.store.read() as tx:
        names = set(tx.session.scalars(select(Peer.name)))
        assert names == {f"user-{number}" for number in range(1, 2 * MANY + 1)}
    assert wg0["name"] == "wg0"


def begun(panel: Panel, drafts: list[peers.PeerDraft]) -> str:
    batch_id = clock.new_id()
    with panel.store.write() as tx:
        peer_batches.begin(tx, batch_id, configs.get(tx, "wg0"), drafts)
    return batch_id


@pytest.mark.parametrize("how", ["as its maker is gone", "by the core", "by one that is too slow"])
@one_database
def test_what_a_killed_panel_has_made_is_undone(
    client: httpx.Client, panel: Panel, wg0: dict[str, Any], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A call that was cut off leaves a batch that nobody goes on with."""
    drafts = peers.draft(panel.vault, [peers.PeerSpec(f"p{number}") for number in range(MANY)])
    batch_id = begun(panel, drafts)
    with panel.store.write() as tx:
        peer_batches.add(tx, batch_id, configs.get(tx, "wg0"), drafts[:SLICE], 0)
    undone = AbandonedBatches(panel.store)
    with panel.store.holding(batch_id) as had:
        assert had
        asyncio.run(undone.look())
        with panel.store.read() as tx:
            assert [counted(tx, table) for table in (Peer, PeerBatch)] == [SLICE, 1]
        if how != "as its maker is gone":
            now = clock.now()
            monkeypatch.setattr(clock, "now", lambda: now + ABANDONED_S + 1)
            asyncio.run(undone.look())
            assert_nothing_is_left(panel)
    asyncio.run(undone.look())
    assert_nothing_is_left(panel)
    if how == "by one that is too slow":
        with pytest.raises(Unavailable), panel.store.write() as tx:
            peer_batches.add(tx, batch_id, configs.get(tx, "wg0"), drafts[SLICE:], SLICE)
        assert_nothing_is_left(panel)
    assert client.post("/api/configs/wg0/peers/batch", json={"count": MANY}).status_code == 201
    assert wg0["name"] == "wg0"


CSV = "name,notes\n" + "".join(f"p{number},x\n" for number in range(MANY))
OFF = {"action": "disable", "filter": {}}


def changed_by_filter(client: httpx.Client, panel: Panel, config_id: str) -> httpx.Response:
    with panel.store.read() as tx:
        expect = who(listed_peers.ids(tx, PeerFilter(config_ids=[config_id])))
    return client.post("/api/configs/wg0/peers/changes", json={**OFF, "expect": expect})


def unfinished(panel: Panel) -> tuple[str, list[peers.PeerDraft]]:
    """Begin a batch of `MANY` peers, and make those of its first two slices."""
    drafts = peers.draft(panel.vault, [peers.PeerSpec(f"p{number}") for number in range(MANY)])
    batch_id = begun(panel, drafts)
    for first in (0, SLICE):
        with panel.store.write() as tx:
            peer_batches.add(tx, batch_id, configs.get(tx, "wg0"), drafts[first : first + SLICE], first)
    return batch_id, drafts


@pytest.mark.parametrize("given_up", [False, True])
def test_peers_of_an_unfinished_batch_are_nothing_to_count_on(
    client: httpx.Client, panel: Panel, wg0: dict[str, Any], monkeypatch: pytest.MonkeyPatch, *, given_up: bool
) -> None:
    """What a call called "same", or changed, would be gone when the batch is taken back."""
    batch_id, _ = unfinished(panel)
    if given_up:  # of 500, the first 250 are gone
        with panel.store.write() as tx:
            assert peer_batches.undo(tx, "panel", batch_id)
    with panel.store.read() as tx:
        (made,) = peers.page(tx, wg0["id"], None, 1)
    new = {"name": made.name}
    other = client.post("/api/configs/wg0/peers", json={"name": "other"}).json()["id"]

    def table(path: str) -> httpx.Response:
        return client.post(f"/api/configs/wg0/peers/{path}", content=CSV, headers={"Content-Type": "text/csv"})

    calls: dict[str, Callable[[], httpx.Response]] = {
        "a table": lambda: table("csv?existing=skip"),
        "its preview": lambda: table("csv/preview?existing=refuse"),
        "changes by a table": lambda: table("csv?existing=update"),
        "a new peer": lambda: client.post("/api/configs/wg0/peers", json=new),
        "new peers": lambda: client.post("/api/configs/wg0/peers/batch", json={"peers": [new]}),
        "a key": lambda: client.post("/api/configs/wg0/peers", json={"name": "q", "public_key": made.public_key}),
        "a change": lambda: client.patch(f"/api/peers/{made.id}", json={"notes": "mine"}),
        "another's new name": lambda: client.patch(f"/api/peers/{other}", json=new),
        "a deletion": lambda: client.delete(f"/api/peers/{made.id}"),
        "its file": lambda: client.get(f"/api/peers/{made.id}/config"),
        "a link": lambda: client.post(f"/api/peers/{made.id}/share-links", json={}),
        "many changes": lambda: changed_by_filter(client, panel, wg0["id"]),
        "a look at them": lambda: client.post("/api/configs/wg0/peers/changes/preview", json=OFF),
    }
    if given_up:
        calls.pop("new peers")  # such a call does not wait for somebody else to take the rest back
    with panel.store.holding(batch_id):
        for what, call in calls.items():
            answer = call()
            assert answer.status_code == 409, (what, answer.text)
            assert "of a call that has not ended" in answer.json()["detail"], what
            assert answer.headers["Retry-After"] == "3", what
    assert client.delete(f"/api/peers/{other}").status_code == 204
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + ABANDONED_S + 1)
    asyncio.run(AbandonedBatches(panel.store).look())
    assert_nothing_is_left(panel)
    with panel.store.read() as tx:
        (noted,) = tx.session.scalars(select(AuditEntry).where(AuditEntry.action == "peers_not_created"))
        assert noted.details["count"] == 2 * SLICE, "what was made and is gone, and not what was asked for"
    assert calls["a table"]().json()["created"] == MANY


def test_nobody_goes_on_with_a_batch_that_is_being_undone(panel: Panel, wg0: dict[str, Any]) -> None:
    """A call that stood still, or whose clock jumped, would say that all are made, of which the first are gone."""
    batch_id, drafts = unfinished(panel)
    with panel.store.write() as tx:
        assert peer_batches.undo(tx, "test", batch_id), "there is more to undo"
    with pytest.raises(Unavailable), panel.store.write() as tx:
        peer_batches.add(tx, batch_id, configs.get(tx, "wg0"), drafts[2 * SLICE :], 2 * SLICE)
    with pytest.raises(Unavailable), panel.store.write() as tx:
        peer_batches.complete(tx, batch_id, "test", configs.get(tx, "wg0"), drafts)
    asyncio.run(AbandonedBatches(panel.store).look())  # whoever began to undo it may be dead: it is everybody's at once
    assert_nothing_is_left(panel)
    assert wg0["name"] == "wg0"


@one_database
def test_a_slice_and_the_deletion_of_its_config_do_not_wait_for_each_other(panel: Panel, wg0: dict[str, Any]) -> None:
    """Each would hold what the other needs: first the config is locked, then its batches, by both."""
    drafts = peers.draft(panel.vault, [peers.PeerSpec(f"p{number}") for number in range(MANY)])
    batch_id = begun(panel, drafts)

    def go_on() -> str:
        try:
            with panel.store.write() as tx:
                peer_batches.add(tx, batch_id, configs.get(tx, "wg0"), drafts[:SLICE], 0)
        except PanelError as error:
            return str(error)
        return "made"

    with ThreadPoolExecutor(1) as calls:
        with panel.store.write() as tx:
            config = configs.get(tx, "wg0")
            generations.hold(tx, config.id)
            call = calls.submit(go_on)
            waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            on_postgresql = panel.store.engine.dialect.name == "postgresql"
            while on_postgresql and not call.done() and not tx.session.scalar(waiting):
                tx.session.execute(text("SELECT pg_stat_clear_snapshot()"))
            configs.delete(tx, "test", config)
        assert "deadlock" not in call.result()
        assert call.result() != "made"
    with panel.store.read() as tx:
        assert [counted(tx, table) for table in (Config, PeerBatch, Peer)] == [0, 0, 0]
    assert wg0["name"] == "wg0"


@pytest.mark.parametrize("count", [2, SLICE + 1])
def test_a_name_that_ends_in_a_number_like_that_of_a_sim_card_is_not_counted_on(
    client: httpx.Client, wg0: dict[str, Any], count: int
) -> None:
    for name in ("user-89883030000012345678", "user-7"):
        assert client.post("/api/configs/wg0/peers", json={"name": name}).status_code == 201
    made = client.post("/api/configs/wg0/peers/batch", json={"count": count})
    assert (made.status_code, made.json()["items"][0]["name"]) == (201, "user-8")
    assert wg0["name"] == "wg0"
