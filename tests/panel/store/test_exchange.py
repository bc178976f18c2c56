"""Wakes between processes: two stores of one database are as good as two processes for what goes by the database."""

import os
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from sqlalchemy import make_url

from tests.waiting import eventually
from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.store import Store
from wgfleet.panel.store.local_transport import LocalTransport
from wgfleet.panel.store.wakes import Topic, Wake


class Ear:
    """A store that shares, and what it heard."""

    def __init__(self, url: str) -> None:
        self.store = Store(url)
        self.woken: queue.Queue[Wake] = queue.Queue()
        self.reports: queue.Queue[bytes] = queue.Queue()
        self.lost = threading.Semaphore(0)
        self.store.listen(self.hear, self.lost.release)
        self.store.hear_reports(lambda _sender, report: self.reports.put(report))
        self.store.share()
        assert self.lost.acquire(timeout=60), "whoever begins to listen has to look at everything once"

    def hear(self, wakes: list[Wake]) -> None:
        for wake in wakes:
            self.woken.put(wake)


@contextmanager
def ears(url: str, count: int = 2) -> Iterator[list[Ear]]:
    made: list[Ear] = []
    try:
        while len(made) < count:
            made.append(Ear(url))
        yield made
    finally:
        for ear in made:
            ear.store.close()


def test_processes_that_begin_within_a_millisecond_have_a_socket_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wgfleet.panel.clock._numbers", SimpleNamespace(next=lambda: 1))  # as both have it
    here, there = (LocalTransport(tmp_path, "one panel") for _ in range(2))
    here.send(b"hello")
    assert there.receive(60) == b"hello"
    for each in (here, there):
        each.stop_sending()
        each.stop_receiving()


def test_a_commit_wakes_every_process_once(database_url: str) -> None:
    sent = [Wake(Topic.NODE, f"{number:032x}") for number in range(100)]
    sent.append(Wake(Topic.OPERATION, "o1", OperationKind.DRAIN))
    with ears(database_url, 3) as (here, there, yonder):
        with here.store.write() as tx:
            for wake in sent:
                tx.wake(wake.topic, wake.id, kind=wake.kind)
        with there.store.write() as tx:
            tx.wake(Topic.CONFIG, "the other way")
        for ear in (here, there, yonder):
            heard = [ear.woken.get(timeout=60) for _ in range(len(sent) + 1)]
            assert {wake.id for wake in heard} == {wake.id for wake in sent} | {"the other way"}
            assert ear.woken.empty()


def test_what_is_rolled_back_wakes_nobody(database_url: str) -> None:
    with ears(database_url) as (here, there):
        with suppress(KeyError), here.store.write() as tx:
            tx.wake(Topic.NODE, "never")
            raise KeyError
        with here.store.write() as tx:
            tx.wake(Topic.NODE, "n1")
        assert there.woken.get(timeout=60).id == "n1"


def test_a_report_reaches_the_others_only(database_url: str) -> None:
    with ears(database_url) as (here, there):
        here.store.report(b'{"a":"' + b"x" * 7000 + b'"}')
        assert len(there.reports.get(timeout=60)) == 7008
        assert here.reports.empty()


@pytest.mark.parametrize("message", ['{"sender":"x","wakes":[["a later topic","1",null]]}', "not JSON"])
def test_what_is_not_understood_is_as_good_as_lost(postgresql_url: str, message: str) -> None:
    with ears(postgresql_url, 1) as (ear,), closing(connected(postgresql_url)) as other:
        other.execute("SELECT pg_notify('wgfleet', %s)", (message,))
        assert ear.lost.acquire(timeout=60)


def connected(url: str) -> psycopg.Connection[tuple[object, ...]]:
    parts = make_url(url)
    return psycopg.connect(host=str(parts.query["host"]), user=parts.username, dbname=parts.database, autocommit=True)


def test_who_was_cut_off_from_postgresql_looks_at_everything_and_hears_again(postgresql_url: str) -> None:
    with ears(postgresql_url) as (here, there), closing(connected(postgresql_url)) as other:
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid != pg_backend_pid()")
        assert here.lost.acquire(timeout=60)
        assert there.lost.acquire(timeout=60)
        with here.store.write() as tx:
            tx.wake(Topic.NODE, "n1")
        assert there.woken.get(timeout=60).id == "n1"


def test_the_socket_of_a_killed_process_goes_and_one_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'panel.sqlite'}"
    sockets = tmp_path / "panel.sqlite-exchange"
    with ears(url) as (here, there):
        assert sockets.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in sockets.iterdir()} == {0o600}
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
            dead.bind(f"/proc/self/fd/{os.open(sockets, os.O_PATH)}/dead")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hung:
            hung.bind(f"/proc/self/fd/{os.open(sockets, os.O_PATH)}/hung")
            for number in range(500):
                with here.store.write() as tx:
                    tx.wake(Topic.NODE, f"n{number}")
            heard = {there.woken.get(timeout=60).id for _ in range(500)}
            assert len(heard) == 500
            assert not (sockets / "dead").exists()
            received: list[bytes] = []
            while not received or b'"lost":true' not in received[-1]:
                received.append(hung.recv(65536))  # what it missed is said to it once it looks again
    assert [path.name for path in sockets.iterdir()] == ["hung"]


def test_a_data_directory_of_any_length_will_do(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 200)
    directory.mkdir()
    with ears(f"sqlite:///{directory / 'panel.sqlite'}") as (here, there):
        with here.store.write() as tx:
            tx.wake(Topic.NODE, "n1")
        assert eventually(lambda: there.woken.get(timeout=60)).id == "n1"
