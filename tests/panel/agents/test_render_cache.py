"""Renderings that the nodes of a cluster share: made once, as those made for each, and kept for a short while."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from tests.panel.authority import keep
from tests.panel.world import ACTOR, World
from wgfleet.panel import clock
from wgfleet.panel.agents.push_body import PushBody
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.reconcile.agents import render_cache
from wgfleet.panel.reconcile.agents.node_work import WorkReader
from wgfleet.panel.reconcile.agents.render_cache import RenderCache
from wgfleet.panel.services import configs, rule_sets
from wgfleet.panel.services.fleet import common_peers, desired, peers
from wgfleet.panel.services.fleet.common_peers import CommonPeers
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store.tables import Config, Node, Peer
from wgfleet.panel.vault import VaultError
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, parse_push
from wgfleet.protocol.keys import PublicKey

SINCE = 4
"""Which argument of `common_peers.render` says from which generation on."""


def whole(world: World, config: Config, node: Node, keeper: RenderCache | None) -> DesiredInterface:
    with world.store.read() as tx:
        assignment = assignment_rows.get(tx, config.id, node.id)
        assert assignment is not None
        return desired.whole(tx, world.vault, configs.get(tx, config.id), assignment, keeper)


def test_nodes_of_a_config_share_its_sets_of_rules(world: World) -> None:
    config = world.config()
    nodes = world.serving(config, "fra1", "ams1")
    with world.store.write() as tx:
        guests = rule_sets.create(tx, ACTOR, {"name": "guests"})
        configs.update(tx, ACTOR, configs.get(tx, config.id), {"rule_set": guests.id})
        guests_id = guests.id
    cache = RenderCache()
    one, other = (whole(world, config, node, cache).settings.rule_sets for node in nodes)
    assert one is other
    with world.store.write() as tx:
        rule_sets.update(tx, ACTOR, rule_sets.get(tx, guests_id), {"otherwise_allowed": False})
    (fresh,) = whole(world, config, nodes[0], cache).settings.rule_sets
    assert ([each.otherwise_allowed for each in one], fresh.otherwise_allowed) == ([True], False)


def users(interface: DesiredInterface) -> set[PublicKey]:
    """Return the peers that reach something; others only probe."""
    return {key for key, peer in interface.peers.items() if peer.allowed_ips}


def test_nodes_that_get_everything_share_one_rendering(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    config = world.config()
    nodes = world.serving(config, "fra1", "ams1", "par1", "lon1")
    users = world.peers(config, "ann", "bob")
    real, found = common_peers.render, []

    def noted(*arguments: object) -> CommonPeers:
        found.append(arguments[SINCE])
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(common_peers, "render", noted)
    reader = WorkReader(world.store, world.vault, keep(world.store, world.vault), 90)
    with ThreadPoolExecutor(4) as threads:
        works = list(threads.map(lambda node: reader.read(node.id, {}), nodes))
    assert found == [0]
    for node, work in zip(nodes, works, strict=True):
        wanted = work.wanted[0]
        assert isinstance(wanted.push, DesiredInterface)
        assert wanted.shared is works[0].wanted[0].shared, "what they share is in memory once"
        sent = parse_push(b"".join(PushBody(wanted.push, wanted.shared)), config.name)
        assert isinstance(sent, DesiredInterface)
        assert sent.peers == whole(world, config, node, None).peers
        assert {user.public_key for user in users} < sent.peers.keys()


def test_what_one_node_lacks_is_not_taken_from_another(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    world.peers(config, "ann", "bob")
    keeper = RenderCache()
    world.judged(config, fra1, Health.DOWN)
    for node in (ams1, fra1, ams1, fra1):
        assert whole(world, config, node, keeper) == whole(world, config, node, None)
    fenced, serving = (users(whole(world, config, node, keeper)) for node in (fra1, ams1))
    assert (len(fenced), len(serving)) == (0, 2)


def test_a_peer_whose_key_does_not_open_stands_in_the_way_of_those_only_who_are_to_have_it(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    with world.store.write() as tx:
        drafts = peers.draft(world.vault, [peers.PeerSpec("ann", preshared_key=True), peers.PeerSpec("bob")])
        ann, _ = peers.create(tx, "test", configs.get(tx, config.id), drafts).peers()
        tx.session.execute(update(Peer).where(Peer.id == ann.id).values(preshared_key_sealed=b"nonsense"))
    keeper = RenderCache()
    with pytest.raises(VaultError, match="sealed by"):
        whole(world, config, ams1, keeper)
    world.judged(config, fra1, Health.DOWN)
    assert users(whole(world, config, fra1, keeper)) == set()


def rendering(count: int) -> CommonPeers:
    return CommonPeers({PublicKey(f"{number}"): DesiredPeer(()) for number in range(count)})


def test_it_keeps_no_more_than_it_may_and_nothing_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    monkeypatch.setattr(render_cache, "KEPT_PEERS", 1000)
    made: list[int] = []

    def get(number: int) -> None:
        def render() -> CommonPeers:
            made.append(number)
            return rendering(400)

        cache.get(("c", 0, number), render)

    cache = RenderCache()
    for number in (1, 2, 2, 1, 3, 3, 2, 1):
        get(number)
    assert made == [1, 2, 3, 1], "two have room, and the oldest goes"
    now[0] += render_cache.KEPT_S + 1
    cache.drop_old()
    get(3)
    assert made[-1] == 3


def test_one_that_cannot_be_made_is_tried_again() -> None:
    cache, tries = RenderCache(), threading.Semaphore(0)

    def fail() -> CommonPeers:
        tries.release()
        raise VaultError("no key")

    for _ in range(2):
        with pytest.raises(VaultError):
            cache.get(("c", 0, 1), fail)
    assert cache.get(("c", 0, 1), lambda: rendering(1)) == rendering(1)


def test_nothing_stays_of_those_that_were_asked_for() -> None:
    """Each generation is a key of its own, and each node of a cluster asks for it."""
    cache = RenderCache()
    for generation in range(5):
        for _ in range(3):
            cache.get(("c", 0, generation), lambda: rendering(1))
    assert not cache._making  # noqa: SLF001 - what could grow
