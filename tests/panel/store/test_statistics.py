"""Statistics of PostgreSQL's tables: made as soon as thousands of rows came, and not again without a reason."""

import time
from collections.abc import Callable

from tests.panel.world import World
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.services.fleet.peers import PeerSpec
from wgfleet.panel.store.statistics import analyze_grown

PATIENCE_S = 60.0


def until(made: Callable[[], set[str]], wanted: set[str]) -> set[str]:
    """Ask until all that is wanted was made; the server counts rows up to a second after they are there."""
    found: set[str] = set()
    deadline = time.monotonic() + PATIENCE_S
    while not wanted <= found and time.monotonic() < deadline:
        found |= made()
        time.sleep(0.2)
    return found


def test_tables_that_have_grown_are_looked_at_once(world: World) -> None:
    config = world.config(pools=("10.0.0.0/16",))
    world.serving(config, "n1")
    drafts = peers.draft(world.vault, [PeerSpec(f"p{number}") for number in range(1500)])
    with world.store.write() as tx:
        peers.create(tx, "test", configs.get(tx, config.id), drafts)
    if world.store.engine.dialect.name == "sqlite":
        assert analyze_grown(world.store) == []
        return
    assert until(lambda: set(analyze_grown(world.store)), {"peers", "addresses"}) == {"peers", "addresses"}
    assert analyze_grown(world.store) == []
    with world.store.read() as tx:
        assert tx.connection.exec_driver_sql("SELECT reltuples FROM pg_class WHERE relname = 'peers'").scalar() == 1500
