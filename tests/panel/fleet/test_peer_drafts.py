"""What costs time is done before the transaction: while it is open, nobody else writes."""

from typing import Any

import pytest

from tests.panel.world import ACTOR, World
from wgfleet.panel.errors import Conflict, Exhausted
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import peer_networks, peers
from wgfleet.panel.services.fleet.peers import PeerSpec


def refuse(*_arguments: Any, **_keywords: Any) -> None:
    """Stand for work that has no place here."""
    raise AssertionError("a key was made while the transaction was open")


def test_no_key_is_made_while_the_transaction_is_open(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    config = world.config()
    world.serving(config, "one")
    drafts = peers.draft(world.vault, [PeerSpec("p")] * 20)
    for name in ("new_key_pair", "new_preshared_key"):
        monkeypatch.setattr(f"wgfleet.panel.services.fleet.peers.{name}", refuse)
    monkeypatch.setattr(type(world.vault), "seal", refuse)
    with world.store.write() as tx:
        row = configs.get(tx, config.id)
        made = peers.create(tx, ACTOR, row, peers.numbered(tx, row, "p", drafts), field="peers").peers()
    assert [peer.name for peer in made] == [f"p{number}" for number in range(1, 21)]
    assert len({peer.public_key for peer in made}) == 20


def test_a_draft_shows_no_secret(world: World) -> None:
    (draft,) = peers.draft(world.vault, [PeerSpec("phone")])
    assert "sealed" not in repr(draft)


@pytest.mark.parametrize("first", [0, 1])
def test_networks_of_one_request_must_not_overlap_in_either_order(world: World, first: int) -> None:
    config = world.config()
    wide, narrow = PeerSpec("wide", networks=("192.168.0.0/16",)), PeerSpec("narrow", networks=("192.168.7.0/24",))
    drafts = peers.draft(world.vault, [wide, narrow] if first == 0 else [narrow, wide])
    with pytest.raises(Conflict, match="another network of the same request"), world.store.write() as tx:
        peers.create(tx, ACTOR, configs.get(tx, config.id), drafts, field="peers")


def test_a_config_has_a_bound_of_networks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_networks, "MAX_NETWORKS", 3)
    config = world.config()  # its pool is the first
    networks = tuple(f"192.168.{number}.0/24" for number in range(3))
    drafts = peers.draft(world.vault, [PeerSpec("office", networks=networks)])
    with pytest.raises(Exhausted, match="combine neighboring networks") as refused, world.store.write() as tx:
        peers.create(tx, ACTOR, configs.get(tx, config.id), drafts, field="peers")
    assert refused.value.field == "peers[0].networks[2]"
