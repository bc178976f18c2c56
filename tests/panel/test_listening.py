"""Sockets that cannot be had, names in the certificate, files that are renewed."""

import asyncio
import errno
import os
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from wgfleet.panel import accepting, machine
from wgfleet.panel.accepting import Crowd, Entrance
from wgfleet.panel.agents.authority import Authority
from wgfleet.panel.listening import open_plain_sockets, open_sockets
from wgfleet.panel.server_certificate import ListenError, ServerCertificate, certificate_subjects
from wgfleet.panel.settings import Listener, Settings
from wgfleet.panel.settings.panel_node import PanelNodeSettings
from wgfleet.panel.settings.tls import TlsSettings
from wgfleet.panel.siblings import Crowds, Siblings

AUTHORITY = Authority.create("test", time.time())


def write_identity(directory: Path, name: str) -> None:
    identity = AUTHORITY.issue_server([name], [], time.time())
    (directory / "tls.crt").write_text(identity.certificate)
    (directory / "tls.key").write_text(identity.key)


def with_files(directory: Path) -> Settings:
    return Settings(tls=TlsSettings(certificate_file=directory / "tls.crt", key_file=directory / "tls.key"))


def test_browsers_are_sent_on_where_the_settings_say_so(tmp_path: Path) -> None:
    write_identity(tmp_path, "panel.example.com")
    assert not open_plain_sockets(with_files(tmp_path))
    files = {"certificate_file": tmp_path / "tls.crt", "key_file": tmp_path / "tls.key"}
    tls = TlsSettings.model_validate({**files, "plain_listen": "127.0.0.1:0"})
    [(listener, bound)] = open_plain_sockets(Settings(tls=tls, public_url="https://panel.example.com"))
    bound.close()
    assert (listener.scheme, listener.port > 0) == ("http", True)


def shown_name(certificate: ServerCertificate) -> str:
    """Return the DNS name of the certificate that a client of this context gets to see."""
    client = ssl.create_default_context(cadata=AUTHORITY.certificate_pem)
    client.check_hostname = False
    ends = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(ends[0], ends[1])
    there = certificate.context.wrap_bio(ends[1], ends[0], server_side=True)
    for _ in range(4):
        for end in (here, there):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    peer = here.getpeercert()
    assert peer
    names = peer["subjectAltName"]
    assert isinstance(names, tuple)
    return str(names[0][1])


def test_a_port_in_use_is_named_with_the_way_out_and_nothing_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=f"http://127.0.0.1:{port}.*--listen"):
            open_sockets([Listener("http", "127.0.0.1", 0), Listener("http", "127.0.0.1", port)])


def test_who_comes_before_the_server_waits_and_a_second_panel_hears_at_once_that_the_port_is_taken() -> None:
    ((listener, bound),) = open_sockets([Listener("http", "127.0.0.1", 0)])
    with bound:
        with socket.create_connection(("127.0.0.1", listener.port), timeout=10) as early:
            accepted, _ = bound.accept()
            accepted.sendall(b"x")
            accepted.close()
            assert early.recv(1) == b"x"
        with pytest.raises(ListenError, match=f"127.0.0.1:{listener.port}"):
            open_sockets([listener])


def test_port_zero_becomes_the_port_that_was_given() -> None:
    [(listener, opened)] = open_sockets([Listener("http", "127.0.0.1", 0)])
    with opened:
        assert listener.port == opened.getsockname()[1] > 0


async def accepted_socket() -> int:
    """Open a panel's socket as its server does, connect; return whether the accepted connection sends at once."""
    [(listener, bound)] = open_sockets([Listener("http", "127.0.0.1", 0)])
    accepted: asyncio.Queue[int] = asyncio.Queue()

    class Door(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            connection = transport.get_extra_info("socket")
            accepted.put_nowait(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    entrance = Entrance(bound, Door, Crowd(Siblings()))
    _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    no_delay = await accepted.get()
    writer.close()
    entrance.close()
    return no_delay


def test_an_answer_does_not_wait_for_the_caller_s_acknowledgement() -> None:
    assert asyncio.run(accepted_socket())


def test_what_nobody_else_takes_is_taken_several_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One at a time is some 300 in a second: who comes behind a crowd of strangers waited for seconds."""
    many = 64
    [(listener, bound)] = open_sockets([Listener("http", "127.0.0.1", 0)])
    siblings = Siblings(count=2, crowds=Crowds(2))  # the other one has no connection, and takes none
    pauses = []
    monkeypatch.setattr(accepting, "LEFT_S", 0.0)

    async def test() -> None:
        entered = asyncio.Semaphore(0)

        class Door(asyncio.Protocol):
            def connection_made(self, _transport: asyncio.BaseTransport) -> None:
                entered.release()

        class Counting(Entrance):
            def _pause(self, seconds: float) -> None:
                pauses.append(seconds)
                super()._pause(seconds)

        waiting = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(many)]
        entrance = Counting(bound, Door, Crowd(siblings))
        for _ in range(many):
            await entered.acquire()
        entrance.close()
        for each in waiting:
            each.close()

    asyncio.run(test())
    assert len(pauses) <= many // accepting.LEFT_OVER + 1


def test_a_machine_without_files_left_says_so_once_and_accepts_when_there_are_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accepting, "OUT_OF_FILES_S", 0.01)
    [(listener, bound)] = open_sockets([Listener("http", "127.0.0.1", 0)])

    class Full(socket.socket):
        tries = 0

        def accept(self) -> tuple[socket.socket, Any]:
            self.tries += 1
            if self.tries < 5:
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    async def test() -> int:
        entered = asyncio.Event()

        class Door(asyncio.Protocol):
            def connection_made(self, _transport: asyncio.BaseTransport) -> None:
                entered.set()

        with capture_logs() as lines:
            entrance = Entrance(Full(fileno=bound.detach()), Door, Crowd(Siblings()))
            _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            await entered.wait()
        writer.close()
        entrance.close()
        return len(lines)

    assert asyncio.run(asyncio.wait_for(test(), 60)) == 1


def test_the_certificate_names_what_the_panel_is_reached_at() -> None:
    settings = Settings(
        listen=(Listener("https", "192.0.2.7", 1), Listener("https", "2001:db8::7", 1)),
        public_url="https://panel.example.com:8443",
        tls=TlsSettings(names=("vpn.example.com", "192.0.2.8")),
        panel_node=PanelNodeSettings(endpoint_addresses=("192.0.2.9",)),
    )
    names, addresses = certificate_subjects(settings)
    assert names == ["panel.example.com", "vpn.example.com", machine.host_name(), "localhost"]
    assert addresses == ["192.0.2.8", "192.0.2.7", "2001:db8::7", "192.0.2.9", "127.0.0.1", "::1"]


def test_a_wildcard_listener_stands_for_the_addresses_of_the_machine() -> None:
    _, addresses = certificate_subjects(Settings(listen=(Listener("https", "0.0.0.0", 1),)))
    assert set(machine.outbound_addresses()) <= set(addresses)
    assert "0.0.0.0" not in addresses


def test_our_own_certificate_is_renewed_before_it_ends() -> None:
    certificate = ServerCertificate(Settings(tls=TlsSettings(names=("vpn.example.com",))))
    certificate.issue_from(lambda: AUTHORITY)
    assert certificate.own
    assert shown_name(certificate) == "vpn.example.com"
    asyncio.run(certificate.refresh())
    assert shown_name(certificate) == "vpn.example.com"


def test_files_are_shown_and_read_again_when_they_change(tmp_path: Path) -> None:
    write_identity(tmp_path, "old.example.com")
    certificate = ServerCertificate(with_files(tmp_path))
    certificate.issue_from(lambda: AUTHORITY)
    assert not certificate.own
    assert shown_name(certificate) == "old.example.com"
    write_identity(tmp_path, "new.example.com")
    os.utime(tmp_path / "tls.crt", ns=(0, 1))
    asyncio.run(certificate.refresh())
    assert shown_name(certificate) == "new.example.com"


def test_a_broken_renewal_leaves_the_old_certificate(tmp_path: Path) -> None:
    write_identity(tmp_path, "old.example.com")
    certificate = ServerCertificate(with_files(tmp_path))
    (tmp_path / "tls.key").write_text("broken")
    asyncio.run(certificate.refresh())
    assert shown_name(certificate) == "old.example.com"
    (tmp_path / "tls.key").unlink()
    asyncio.run(certificate.refresh())
    assert shown_name(certificate) == "old.example.com"


def test_a_certificate_and_a_key_that_do_not_fit_stop_the_start(tmp_path: Path) -> None:
    write_identity(tmp_path, "a.example.com")
    key = (tmp_path / "tls.key").read_text()
    write_identity(tmp_path, "b.example.com")
    (tmp_path / "tls.key").write_text(key)
    with pytest.raises(ListenError, match=r"tls\.crt and .*tls\.key cannot be used"):
        ServerCertificate(with_files(tmp_path))


@pytest.mark.parametrize(
    ("given", "name"), [("web1.example.com", "web1"), ("Web_1", "web-1"), ("---", "panel"), ("", "panel")]
)
def test_the_host_name_becomes_a_node_name(given: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: given)
    assert machine.host_name() == name
