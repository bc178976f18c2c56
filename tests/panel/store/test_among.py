"""A column that is one of several texts, in both databases: whatever the texts are."""

from sqlalchemy import insert, select

from tests.panel.store.test_many_rows import TEXTS
from tests.panel.world import World
from wgfleet.panel.store.among import among
from wgfleet.panel.store.tables import Tag


def test_each_text_is_found_as_it_was_given_and_no_other(world: World) -> None:
    same = {"color": "#123456", "created_at": 0.0}
    rows = [{"id": str(number), "name": text, **same} for number, text in enumerate(TEXTS)]
    named = select(Tag.name).where(among(Tag.name, "names"))
    with world.store.write() as tx:
        tx.connection.execute(insert(Tag), rows)
        for text in TEXTS:
            assert tx.connection.scalars(named, {"names": [text]}).all() == [text]
        everybody = [*TEXTS, *(f"another {number}" for number in range(1_000))]
        assert sorted(tx.connection.scalars(named, {"names": everybody})) == sorted(TEXTS)
        assert tx.connection.scalars(named, {"names": []}).all() == []
