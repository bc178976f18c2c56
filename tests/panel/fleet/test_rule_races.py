"""Two at once, of whom one gives a tag and the other changes what it stands for: nodes hear of both in the end."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from tests.panel.world import ACTOR, World
from wgfleet.panel.errors import PanelError
from wgfleet.panel.services import configs, rule_sets
from wgfleet.panel.services.fleet import peers, tags
from wgfleet.panel.services.fleet.peer_details import PeerDetails
from wgfleet.panel.services.fleet.peers import PeerSpec
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Peer

PATIENCE_S = 60.0


class Site:
    """A config with a peer, a tag that nobody has, and a set of rules."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.config = world.config()
        (self.peer,) = world.peers(self.config, "anna")
        with world.store.write() as tx:
            self.rules = rule_sets.create(tx, ACTOR, {"name": "guests"}).id
            self.tag = tags.create(tx, ACTOR, {"name": "trial"}).id

    def settings(self) -> int:
        """Return the generation at which nodes last got other sets of rules."""
        with self.world.store.read() as tx:
            return configs.get(tx, self.config.id).settings_generation

    def to_some(self, tx: Tx) -> None:
        tags.change_peers(tx, ACTOR, tags.get(tx, self.tag), add=[self.peer.id])

    def by_a_change(self, tx: Tx) -> None:
        peers.update(tx, self.world.vault, ACTOR, peers.get(tx, self.peer.id), {"tags": [self.tag]})

    def with_a_new_peer(self, tx: Tx) -> None:
        spec = PeerSpec("bert", details=PeerDetails(tags=(self.tag,)))
        peers.create(tx, ACTOR, configs.get(tx, self.config.id), peers.draft(self.world.vault, [spec]))

    def set_of_tag(self, tx: Tx) -> None:
        tags.update(tx, ACTOR, tags.get(tx, self.tag), {"rule_set": self.rules})

    def rules_of_set(self, tx: Tx) -> None:
        rule_sets.update(tx, ACTOR, rule_sets.get(tx, self.rules), {"otherwise_allowed": False})

    def none_of_tag(self, tx: Tx) -> None:
        tags.update(tx, ACTOR, tags.get(tx, self.tag), {"rule_set": None})
        rule_sets.delete(tx, ACTOR, rule_sets.get(tx, self.rules))

    def no_tag(self, tx: Tx) -> None:
        tags.delete(tx, ACTOR, tags.get(tx, self.tag))

    def both(self, first: Callable[[Tx], None], second: Callable[[Tx], None]) -> tuple[int, str | None]:
        """Do both, the second while the first is not committed.

        Return the generation of rules that the first left, and why the second was refused.
        """

        def do() -> str | None:
            try:
                with self.world.store.write() as tx:
                    second(tx)
            except PanelError as error:
                return str(error)
            return None

        with ThreadPoolExecutor(1) as calls:
            with self.world.store.write() as tx:
                first(tx)
                tx.flush()
                call = calls.submit(do)
                if tx.connection.dialect.name == "postgresql":
                    _wait(tx, call.done)
                left = configs.get(tx, self.config.id)
                tx.refresh(left)
                generation = left.settings_generation
            return generation, call.result(PATIENCE_S)


def _wait(tx: Tx, done: Callable[[], Any]) -> None:
    """Wait until the other one has ended, or waits for this one."""
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    deadline = time.monotonic() + PATIENCE_S
    while not done() and not tx.session.scalar(waiting) and time.monotonic() < deadline:
        tx.session.execute(text("SELECT pg_stat_clear_snapshot()"))
        time.sleep(0.01)


@pytest.fixture
def site(world: World) -> Site:
    return Site(world)


GIVES = ("to_some", "by_a_change", "with_a_new_peer")


@pytest.mark.parametrize("gives", GIVES)
@pytest.mark.parametrize("change", ["set_of_tag", "rules_of_set", "none_of_tag", "no_tag"])
def test_who_changes_what_a_tag_stands_for_sees_who_is_about_to_get_it(site: Site, gives: str, change: str) -> None:
    if change != "set_of_tag":
        with site.world.store.write() as tx:
            site.set_of_tag(tx)
    before, refused = site.both(getattr(site, gives), getattr(site, change))
    assert refused is None
    assert site.settings() > before


@pytest.mark.parametrize("gives", GIVES)
def test_who_gives_a_tag_sees_what_it_is_about_to_stand_for(site: Site, gives: str) -> None:
    before, refused = site.both(site.set_of_tag, getattr(site, gives))
    assert refused is None
    assert site.settings() > before


@pytest.mark.parametrize("gives", GIVES)
def test_a_tag_that_goes_is_given_to_nobody(site: Site, gives: str) -> None:
    with site.world.store.write() as tx:
        site.set_of_tag(tx)
    _, refused = site.both(site.no_tag, getattr(site, gives))
    assert refused
    assert "there is no tag" in refused
    with site.world.store.read() as tx:
        assert [peer.name for peer in tx.session.query(Peer)] == ["anna"]
