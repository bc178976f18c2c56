"""Many rows in one statement, in both databases: each value arrives as it was given."""

import json
from typing import Any, cast

import pytest
from sqlalchemy import Table, select

from tests.panel.world import World
from wgfleet.panel.store import many_rows
from wgfleet.panel.store.many_rows import insert_many, set_many, upsert_many
from wgfleet.panel.store.tables import Peer

_peers = cast("Table", Peer.__table__)
TEXTS = [
    "",
    "null",
    "NULL",
    "a'b\"c",
    r"back\slash \x41",
    "%s %% %(name)s",
    "?:1 ::text",
    "{[",
    "تلفن علی‌رضا",
    "\u2028 🧷\n\t",
]


@pytest.mark.parametrize("at_once", [many_rows.VALUES, 60])
def test_each_value_arrives_as_it_was_given(world: World, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_rows, "VALUES", at_once)
    template = _a_row(world)
    given = {
        str(number): {
            **template,
            "id": str(number),
            "name": f"{number} {text}",
            "name_folded": f"{number} {text}",
            "public_key": f"key {number}",
            "notes": text,
            "private_key_sealed": bytes(range(number, 256)) if number else b"",
            "enabled": bool(number % 2),
            "created_at": 1764316800.1234567 / (number + 1),
            "generation": 2**31 - 1 - number,
        }
        for number, text in enumerate(TEXTS)
    }
    with world.store.write() as tx:
        insert_many(tx, _peers, list(template), [tuple(row.values()) for row in given.values()])
    assert _rows(world, given) == given

    for peer_id, text in zip(given, reversed(TEXTS), strict=True):
        given[peer_id]["notes"] = text
    with world.store.write() as tx:
        set_many(tx, _peers, "notes", {peer_id: row["notes"] for peer_id, row in given.items()})
    assert _rows(world, given) == given

    given["3"]["notes"] = "changed"
    given["new"] = {**template, "id": "new", "name": "new", "name_folded": "new", "public_key": "new"}
    rows = [tuple(given[each].values()) for each in ("3", "new")]
    with world.store.write() as tx:
        upsert_many(tx, _peers, list(template), rows, ("id",), {"notes": "excluded.notes"})
    assert _rows(world, given) == given


def test_what_no_column_takes_is_refused(world: World) -> None:
    _a_row(world)
    with pytest.raises(Exception, match=r"column|supported"), world.store.write() as tx:
        set_many(tx, _peers, "notes", {"1": object()})


def _a_row(world: World) -> dict[str, Any]:
    """Return the values of a row of peers, by column, its list of networks as text."""
    [peer] = world.peers(world.config(), "anna")
    with world.store.read() as tx:
        row = tx.session.execute(select(_peers).where(_peers.c.id == peer.id)).mappings().one()
        return {**row, "networks": '["192.0.2.0/24", "2001:db8::/64"]'}


def _rows(world: World, given: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    with world.store.read() as tx:
        found = tx.session.execute(select(_peers).where(_peers.c.id.in_(given))).mappings().all()
        return {row["id"]: {**row, "networks": json.dumps(row["networks"])} for row in found}
