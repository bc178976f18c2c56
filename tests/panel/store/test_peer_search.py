"""Search for a part of a name: it finds what a look at every name would, on both databases and in all scripts."""

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy
from alembic import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from tests.panel.world import ACTOR, World
from wgfleet.panel.domain.look_alikes import folded, seen
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.store import Store, peer_search
from wgfleet.panel.store.revisions import configuration
from wgfleet.panel.store.tables import Config, Peer


def composed(text: str) -> str:
    """Return a text as names are kept: NFC."""
    return unicodedata.normalize("NFC", text)


def is_seen(name: str) -> bool:
    """Say whether a name has more than marks, which a peer's must."""
    return any(unicodedata.category(character)[0] not in "CMZ" for character in name)


LETTERS = "aAbBzß%_\"'*\\/-0۱٣ÄäİıſKkΣςσمریمي😀👩‍👧 é́"  # noqa: RUF001 - letters that fold, and some that look alike
NAMES = st.text(LETTERS, min_size=1, max_size=9).map(composed).map(str.strip).filter(str.isprintable).filter(is_seen)
PARTS = st.text(LETTERS, min_size=1, max_size=5)


class Searched:
    """A config whose peers are searched, and another one with the same names."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.config: Config = world.config(pools=("10.8.0.0/16",))
        self.other: Config = world.config("wg1", pools=("10.9.0.0/16",))

    def add(self, names: list[str]) -> list[Peer]:
        self.world.peers(self.other, *names)
        return self.world.peers(self.config, *names)

    def empty(self) -> None:
        for config in (self.config, self.other):
            with self.world.store.write() as tx:
                ids = [peer.id for peer in peers.page(tx, config.id, limit=1000)]
                if ids:
                    peers.delete(tx, ACTOR, configs.get(tx, config.id), ids)

    def found(self, part: str, limit: int = 3) -> list[str]:
        """Return the names found on all pages."""
        names: list[str] = []
        after, pages = None, 0
        while pages == 0 or after is not None:
            with self.world.store.read() as tx:
                page = peers.search(tx, self.config.id, part, after, limit)
            assert len(page.peers) <= limit
            names += [peer.name for peer in page.peers]
            after, pages = page.looked_up_to, pages + 1
            assert pages < 1000
        return names


def plain(names: list[str], part: str) -> list[str]:
    return [name for name in names if folded(composed(part)) in folded(name)]


@pytest.fixture
def searched(world: World) -> Searched:
    return Searched(world)


@pytest.fixture(params=["near", "index", "further"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How what is searched for is found: among the next peers, by the index, or by a look at all, some a call."""
    if request.param != "near":
        monkeypatch.setattr(peer_search, "NEAR", 1)
    if request.param == "index":  # also where the only one that was looked at fits
        monkeypatch.setattr(peer_search, "FEW", 100_000)
    if request.param == "further":
        monkeypatch.setattr(peer_search, "FEW", 0)
        monkeypatch.setattr(peer_search, "LOOKED_AT", 2)


@pytest.mark.slow
@pytest.mark.usefixtures("way")
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(NAMES, min_size=1, max_size=9, unique_by=seen), parts=st.lists(PARTS, min_size=1, max_size=6))
def test_a_search_finds_what_a_look_at_every_name_would(searched: Searched, names: list[str], parts: list[str]) -> None:
    searched.empty()
    searched.add(names)
    for part in (*parts, *(name[1:5] for name in names if len(name) > 1)):
        assert searched.found(part) == plain(names, part), part


@pytest.mark.usefixtures("way")
def test_a_search_knows_new_names_and_no_old_ones(searched: Searched) -> None:
    first, second, _ = searched.add(["Änne-phone", "Bert", "Carl"])
    assert searched.found("ÄNNE-PH") == ["Änne-phone"]
    with searched.world.store.write() as tx:
        peers.update(tx, searched.world.vault, ACTOR, peers.get(tx, first.id), {"name": "Dora-PHONE"})
        peers.delete(tx, ACTOR, configs.get(tx, searched.config.id), [second.id])
    assert searched.found("änne") == []
    assert searched.found("ert") == []
    assert searched.found("phone") == ["Dora-PHONE"]


@pytest.mark.usefixtures("way")
def test_a_public_key_is_found_among_names(searched: Searched) -> None:
    made = searched.add([f"peer{number}" for number in range(7)])
    assert [searched.found(peer.public_key) for peer in made] == [[peer.name] for peer in made]


def test_a_rare_part_is_found_in_one_call_however_far_it_is(
    searched: Searched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_search, "NEAR", 2)
    monkeypatch.setattr(peer_search, "LOOKED_AT", 3)
    searched.add([f"peer{number:02}" for number in range(20)])
    with searched.world.store.read() as tx:
        rare = peers.search(tx, searched.config.id, "r19")
        short = peers.search(tx, searched.config.id, "19")
    assert ([peer.name for peer in rare.peers], rare.looked_up_to) == (["peer19"], None)
    assert short.peers == []
    assert short.looked_up_to is not None


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_a_rare_part_is_found_in_one_call_also_where_one_that_fits_is_near(
    searched: Searched, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(peer_search, "NEAR", 10)
    monkeypatch.setattr(peer_search, "LOOKED_AT", 40)
    monkeypatch.setattr(peer_search, "FEW", 8)
    searched.add([f"anna{number:02}" if number in {0, 59} else f"peer{number:02}" for number in range(60)])
    with searched.world.store.read() as tx:
        found = peers.search(tx, searched.config.id, "anna", limit=limit)
    assert [peer.name for peer in found.peers] == ["anna00", "anna59"][:limit]
    assert (found.looked_up_to is None) is (limit > 1)


BEFORE = """
INSERT INTO peers (id, config_id, name, public_key, networks, keepalive, enabled, generation, created_at)
VALUES ('1', 'config', 'Änne', 'key', '[]', 0, true, 1, 0)
"""


@contextmanager
def unrelated(store: Store) -> Iterator[Connection]:
    """A transaction in which rows may refer to nothing."""
    with store.engine.connect().execution_options(wgfleet_write=True) as connection:
        if connection.dialect.name == "sqlite":
            driver: Any = connection.connection.driver_connection
            driver.execute("PRAGMA foreign_keys=OFF")
        else:
            connection.execute(text("SET session_replication_role = replica"))
        yield connection
        connection.commit()
    store.engine.dispose()


@contextmanager
def upgraded(empty_database_url: str, *changes: tuple[str, str]) -> Iterator[Store]:
    """A database as it becomes by upgrades to revisions, after each of which something is changed in it."""
    store = Store(empty_database_url)
    for revision, change in (("0023", BEFORE), *changes):
        with unrelated(store) as connection:
            command.upgrade(configuration(connection), revision)
            connection.execute(text(change))
    with unrelated(store) as connection:
        command.upgrade(configuration(connection), "head")
    yield store
    store.close()


def test_names_from_before_the_index_are_found(empty_database_url: str) -> None:
    with upgraded(empty_database_url) as store, store.read() as tx:
        for part in ("ÄNN", "n"):
            assert [peer.id for peer in peer_search.search(tx, "config", None, 5, part).peers] == ["1"]
        assert peer_search.by_index(tx, "änn") == ["1"]


def test_names_from_before_are_found_by_what_is_seen_of_them(empty_database_url: str) -> None:
    hidden = "UPDATE peers SET name = 'an\u200ena', name_folded = 'an\u200ena'"
    with upgraded(empty_database_url, ("0072", hidden)) as store, store.read() as tx:
        for part in ("ANNA", "an\u200en"):
            assert [peer.id for peer in peer_search.search(tx, "config", None, 5, part).peers] == ["1"]
        assert peer_search.by_index(tx, "anna") == ["1"]


def test_names_from_before_are_found_in_capital_letters_too(empty_database_url: str) -> None:
    before = "UPDATE peers SET name = '\u0390\u03c9\u1fd3', name_folded = '\u03b9\u0308\u0301\u03c9\u03b9\u0308\u0301'"
    with upgraded(empty_database_url, ("0074", before)) as store, store.read() as tx:
        for part in ("\u0390\u03c9", "\u0390\u03c9".upper(), composed("\u0390\u03c9\u1fd3".upper())):
            assert [peer.id for peer in peer_search.search(tx, "config", None, 5, part).peers] == ["1"]
        assert peer_search.by_index(tx, folded("\u0390\u03c9\u1fd3")) == ["1"]


def test_a_peer_that_the_index_does_not_know_is_changed_and_deleted(searched: Searched) -> None:
    made, *_ = searched.add(["Änne"])
    if searched.world.store.engine.dialect.name == "sqlite":
        with searched.world.store.write() as tx:
            tx.session.execute(
                text(
                    "INSERT INTO peer_search (peer_search, rowid, name) "
                    "SELECT 'delete', number, 'änne' FROM peer_search_rows WHERE peer_id = :id"
                ),
                {"id": made.id},
            )
            tx.session.execute(text("DELETE FROM peer_search_rows WHERE peer_id = :id"), {"id": made.id})
    for name in ("Bert", "Carl"):
        with searched.world.store.write() as tx:
            peers.update(tx, searched.world.vault, ACTOR, peers.get(tx, made.id), {"name": name})
    assert searched.found("carl") == ["Carl"]
    with searched.world.store.write() as tx:
        peers.delete(tx, ACTOR, configs.get(tx, searched.config.id), [made.id])
    assert searched.found("carl") == []


def test_the_database_keeps_the_index_and_the_counts_of_homes_by_itself(world: World) -> None:
    """A revision that copies the table must make its triggers again."""
    with world.store.read() as tx:
        if world.store.engine.dialect.name == "sqlite":
            triggers = set(tx.session.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")))
            assert {"peer_search_changed", "peer_search_deleted"} <= triggers
            assert {"peer_homes_added", "peer_homes_changed", "peer_homes_deleted"} <= triggers
        else:
            indexes = sqlalchemy.inspect(tx.session.connection()).get_indexes("peers")
            assert "peer_search" in {each["name"] for each in indexes}
