"""A database that takes no changes is said, also where it can still be read."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event, text

from tests.panel.world import World
from tests.waiting import eventually
from wgfleet.panel.reconcile.core_reports import HeardReports, ReportSender
from wgfleet.panel.reconcile.outlook import CoreReport, Outlook
from wgfleet.panel.reconcile.write_check import WriteCheck
from wgfleet.panel.store import REPORT_BYTES, Store, schema, turns


@contextmanager
def full_disk(world: World) -> Iterator[None]:
    """A database of which no page, or no row, can be written."""
    if world.store.engine.dialect.name == "sqlite":

        def begun(connection: Any) -> None:
            connection.exec_driver_sql("PRAGMA query_only=ON")

        event.listen(world.store.engine, "begin", begun)
        yield
        event.remove(world.store.engine, "begin", begun)
        world.store.engine.dispose()
    else:
        other = create_engine(world.store.engine.url, isolation_level="AUTOCOMMIT")
        with other.connect() as connection:
            name = connection.scalar(text("SELECT current_database()"))
            connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
            world.store.engine.dispose()
            yield
            connection.execute(text(f"ALTER DATABASE {name} RESET default_transaction_read_only"))
        other.dispose()
        world.store.engine.dispose()


def test_a_database_that_takes_no_changes_is_noticed_and_forgotten_when_it_does(world: World) -> None:
    outlook = Outlook()
    check = WriteCheck(world.store, outlook)
    asyncio.run(check.check())
    assert outlook.report().unwritable is None
    with full_disk(world):
        asyncio.run(check.check())
        assert "the database cannot be used just now" in (outlook.report().unwritable or "")
    asyncio.run(check.check())
    assert outlook.report().unwritable is None


def test_a_writer_that_hangs_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "WRITER_S", 0.05)
    store = Store(f"sqlite:///{tmp_path / 'panel.sqlite'}")
    schema.migrate(store)
    outlook = Outlook()
    with store.write():
        asyncio.run(WriteCheck(store, outlook).check())
    assert outlook.unwritable == "another transaction does not end; try again"
    monkeypatch.undo()
    asyncio.run(WriteCheck(store, outlook).check())
    assert outlook.unwritable is None
    store.close()


def test_a_report_fits_whatever_fails(database_url: str) -> None:
    here, there = Store(database_url), Store(database_url)
    heard = HeardReports(there)
    there.share()
    here.share()
    outlook = Outlook(panel="host:1")
    reports: list[CoreReport] = []

    async def run() -> None:
        async def work() -> None:
            await asyncio.sleep(0)

        for number in range(200):
            outlook.tasks.start(f"task_{number}", work, subject=f"{number:032x}", longest_delay_s=60)
        await asyncio.sleep(0.1)
        dns = [
            ("wgfleet_dns_calls_total", (("provider", "p" * 20), ("call", str(number))), 1.0) for number in range(90)
        ]
        sender = ReportSender(here, outlook, lambda: dns)

        def sent_and_heard() -> Sequence[CoreReport]:
            sender.send()  # again and again, as a core does: what is sent before the other listens is lost
            return heard.now()

        [report] = await asyncio.to_thread(eventually, sent_and_heard, every_s=0.1)
        reports.append(report)
        await outlook.tasks.close()

    asyncio.run(run())
    [report] = reports
    assert report.panel == "host:1"
    assert len(report.failing) == 20
    assert report.dns == ()
    assert REPORT_BYTES < 8000
    here.close()
    there.close()
