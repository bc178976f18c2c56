"""What the watch reads of the rows, once a second: as many statements for any number of nodes."""

from sqlalchemy import event

from tests.panel.world import World
from wgfleet.panel.services import health


def statements(world: World) -> int:
    said: list[str] = []

    def note(*given: object) -> None:
        said.append(str(given[2]))

    event.listen(world.store.engine, "before_cursor_execute", note)
    try:
        with world.store.read() as tx:
            health.watched(tx, world.vault, lambda *_: None)
            health.lookers(tx, world.vault, lambda *_: None)
    finally:
        event.remove(world.store.engine, "before_cursor_execute", note)
    return len(said)


def test_no_column_is_fetched_later_row_by_row(world: World) -> None:
    world.serving(world.config(), "fra1")
    few = statements(world)
    world.serving(world.config("wg1", pools=("10.9.0.0/24",)), "ams1", "par1", "waw1")
    assert statements(world) == few
