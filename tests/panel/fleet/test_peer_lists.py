"""Lists of peers over all configs: each order goes on where the page before it ended, whatever is filtered."""

import pytest

from tests.panel.world import World
from wgfleet.panel.errors import Invalid
from wgfleet.panel.services.fleet import peer_lists, peers
from wgfleet.panel.services.fleet.peer_lists import PeerFilter, PeerOrder
from wgfleet.panel.services.fleet.peers import PeerChanges
from wgfleet.panel.store import listed_peers, usage
from wgfleet.panel.store.peer_search import holders
from wgfleet.panel.store.usage import PeerUse

NAMES = ["b", "a", "A2", "ä", "c", "a3", "Z", "é", "same"]
LIVE_S = 180.0


def listed(world: World, wanted: PeerFilter, order: PeerOrder, *, backwards: bool) -> list[str]:
    found, after = [], None
    with world.store.read() as tx:
        while True:
            page = peer_lists.page(tx, wanted, LIVE_S, order, after, 2, backwards=backwards)
            found += [peer.name for peer in page.peers]
            if (after := page.looked_up_to) is None:
                return found


@pytest.mark.parametrize("order", PeerOrder)
def test_pages_are_one_list_in_both_directions(world: World, order: PeerOrder) -> None:
    config, other = world.config(), world.config("wg1", pools=("10.9.0.0/24",))
    world.peers(config, *NAMES)
    world.peers(other, "same")
    forwards = listed(world, PeerFilter(), order, backwards=False)
    assert sorted(forwards) == sorted([*NAMES, "same"])
    assert listed(world, PeerFilter(), order, backwards=True) == forwards[::-1]
    if order == PeerOrder.MADE:
        assert forwards == [*NAMES, "same"]


def test_the_order_of_traffic_and_of_handshakes_is_that_of_all_nodes(world: World) -> None:
    config = world.config()
    fra, par = world.serving(config, "fra1", "par1")
    a, b, c, _never = world.peers(config, "a", "b", "c", "never")
    world.seen(config, par, {c.public_key: "198.51.100.1:1"}, in_s=-50)
    world.seen(config, fra, {a.public_key: "198.51.100.1:1", b.public_key: "198.51.100.1:2"}, in_s=-100)
    world.seen(config, par, {b.public_key: "198.51.100.1:2"}, in_s=-10)
    with world.store.write() as tx:
        usage.add_totals(tx, {each.id: PeerUse(config.id, n, n) for n, each in enumerate((c, a, b), 1)}, 1.0)

    def names(order: PeerOrder) -> list[str]:
        return listed(world, PeerFilter(config_ids=[config.id]), order, backwards=True)

    assert names(PeerOrder.HANDSHAKE) == ["b", "c", "a", "never"]
    assert names(PeerOrder.TRAFFIC) == ["b", "a", "c", "never"]


def test_a_filter_lets_through_what_fits(world: World) -> None:
    config, other = world.config(), world.config("wg1", pools=("10.9.0.0/24",))
    fra, par = world.serving(config, "fra1", "par1")
    made = world.peers(config, "a", "b", "c")
    world.peers(other, "d")
    world.seen(config, fra, {made[0].public_key: "198.51.100.1:1"})

    def names(wanted: PeerFilter) -> set[str]:
        return set(listed(world, wanted, PeerOrder.NAME, backwards=False))

    assert names(PeerFilter(config_ids=[config.id])) == {"a", "b", "c"}
    assert names(PeerFilter(live=True)) == {"a"}
    assert names(PeerFilter(live=False)) == {"b", "c", "d"}
    assert names(PeerFilter(enabled=False)) == set()
    homes = [names(PeerFilter(node_id=node.id)) for node in (fra, par)]
    assert homes[0] | homes[1] == {"a", "b", "c"}
    assert not homes[0] & homes[1]


@pytest.mark.parametrize("order", PeerOrder)
@pytest.mark.parametrize("backwards", [False, True])
def test_pages_go_on_where_they_ended_though_that_peer_is_gone_or_has_moved(
    world: World, order: PeerOrder, *, backwards: bool
) -> None:
    config = world.config()
    names = [*NAMES, "نسخه‌ی دوم", "ǆ" * 64]
    made = {peer.name: peer for peer in world.peers(config, *names)}
    whole = listed(world, PeerFilter(), order, backwards=backwards)
    with world.store.read() as tx:
        first = peer_lists.page(tx, PeerFilter(), LIVE_S, order, None, 3, backwards=backwards)
    with world.store.write() as tx:
        peers.delete(tx, "test", config, [made[whole[2]].id])
    with world.store.read() as tx:
        rest = peer_lists.page(tx, PeerFilter(), LIVE_S, order, first.looked_up_to, 50, backwards=backwards)
    assert [peer.name for peer in (*first.peers, *rest.peers)] == whole


@pytest.mark.parametrize(
    ("order", "cursor"),
    [
        *((order, cursor) for order in PeerOrder if order != PeerOrder.MADE for cursor in ("x", "", "A-x")),
        (PeerOrder.NAME, "gA==-x"),
        (PeerOrder.NAME, "AA==-x"),
        (PeerOrder.TRAFFIC, "-1-x"),
        (PeerOrder.TRAFFIC, f"{2**63}-x"),
        (PeerOrder.HANDSHAKE, "nan-x"),
        (PeerOrder.HANDSHAKE, "1e999-x"),
    ],
)
def test_a_cursor_that_no_page_ended_with_is_refused(world: World, order: PeerOrder, cursor: str) -> None:
    with world.store.read() as tx, pytest.raises(Invalid) as refused:
        peer_lists.page(tx, PeerFilter(), LIVE_S, order, cursor, 3, backwards=False)
    assert refused.value.field == "after"


def found(world: World, wanted: PeerFilter, part: str, limit: int = 3) -> list[str]:
    names, after = [], None
    with world.store.read() as tx:
        while True:
            page = peer_lists.search(tx, wanted, LIVE_S, part, after, limit)
            names += [peer.name for peer in page.peers]
            if (after := page.looked_up_to) is None:
                return names


@pytest.mark.parametrize("part", ["a", "phone", "-"])
def test_a_search_with_a_filter_finds_all_that_fit_in_all_configs(world: World, part: str) -> None:
    config, other = world.config(), world.config("wg1", pools=("10.9.0.0/24",))
    world.peers(config, *(f"a-phone-{number}" for number in range(9)))
    off = world.peers(other, *(f"a-phone-{number}" for number in range(5)), "printer")[3]
    with world.store.write() as tx:
        peers.update(tx, world.vault, "test", peers.get(tx, off.id), PeerChanges(enabled=False))
    assert found(world, PeerFilter(enabled=False), part) == ["a-phone-3"]
    assert found(world, PeerFilter(restricted=True), part) == []
    assert len(found(world, PeerFilter(), part)) == 14
    assert len(found(world, PeerFilter(config_ids=[other.id]), part)) == 5
    assert len(found(world, PeerFilter(config_ids=[config.id, other.id], enabled=True), part)) == 13


def test_a_search_goes_on_beyond_what_one_call_looks_at(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listed_peers, "LOOKED_AT", 4)
    made = world.peers(world.config(), *(f"p{number}" for number in range(10)), "zz")
    assert found(world, PeerFilter(), "zz") == ["zz"]
    assert found(world, PeerFilter(), made[10].public_key) == ["zz"]
    assert found(world, PeerFilter(enabled=False), made[10].public_key) == []


@pytest.mark.parametrize(("text", "name"), [("10.8.0.2", "a"), ("10.8.0.99", None), ("fd00::1", None), ("anna", None)])
def test_an_address_is_found_whole(world: World, text: str, name: str | None) -> None:
    made = world.peers(world.config(), "a", "b")
    with world.store.read() as tx:
        assert holders(tx, text) == [peer.id for peer in made if peer.name == name]
