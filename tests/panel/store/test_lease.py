"""The lease of those who decide, on a real PostgreSQL: taken once, lost at once, and given up by one that hangs."""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import make_url, text

from tests.waiting import eventually
from wgfleet.panel.errors import Unavailable
from wgfleet.panel.store import Store, lease
from wgfleet.panel.store.lease import ANSWER_S, END_S, LOOK_S


@pytest.fixture
def stores(postgresql_url: str) -> Iterator[tuple[Store, Store]]:
    made = Store(postgresql_url), Store(postgresql_url)
    yield made
    for store in made:
        store.close()


def test_one_has_it_and_the_other_knows_who(stores: tuple[Store, Store]) -> None:
    one, two = (store.lease(f"panel{number}:1") for number, store in enumerate(stores))
    assert one.take()
    assert one.valid()
    assert not two.take()
    assert not two.valid()
    assert two.holder == "panel0:1"
    one.release()
    assert not one.valid()
    assert eventually(two.take), "the server gives it up once it has seen the session end"
    two.release()


def test_one_whose_session_was_ended_notices_at_its_next_look_and_does_not_get_it_back(
    stores: tuple[Store, Store],
) -> None:
    one, two = (store.lease("panel:1") for store in stores)
    assert one.take()
    one.confirm()
    with stores[1].engine.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid != pg_backend_pid()"
            )
        )
    with pytest.raises(Unavailable):
        one.confirm()
    assert not one.valid()
    with pytest.raises(Unavailable):
        one.confirm()
    assert eventually(two.take)
    two.release()


def test_one_that_hangs_is_ended_by_the_server_after_it_took_it_for_lost(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LOOK_S + ANSWER_S < END_S
    monkeypatch.setitem(lease.SESSION, "idle_session_timeout", "300ms")
    one, two = Store(postgresql_url), Store(postgresql_url)
    hung, waits = one.lease("hung:1"), two.lease("waits:1")
    assert hung.take()
    assert eventually(waits.take), "it never asked again"
    with pytest.raises(Unavailable):
        hung.confirm()
    waits.release()
    one.close()
    two.close()


def test_its_sessions_do_not_come_from_the_pool_and_are_closed(postgresql_url: str) -> None:
    store = Store(postgresql_url)
    held = store.lease("panel:1")
    assert held.take()
    held.release()
    store.close()
    parts = make_url(postgresql_url)
    with psycopg.connect(host=str(parts.query["host"]), user=parts.username, dbname=parts.database) as connection:
        eventually(
            lambda: connection.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (0,)
        )


def test_a_store_writes_only_while_it_may(database_url: str) -> None:
    store = Store(database_url)
    permitted = True
    store.write_only_while(lambda: permitted)
    with store.write():
        pass
    with pytest.raises(Unavailable, match="no longer"), store.write():
        permitted = False
    with pytest.raises(Unavailable, match="no longer"), store.write():
        pytest.fail("it must not begin")
    store.close()
