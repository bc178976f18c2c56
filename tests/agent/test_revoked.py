"""Certificates of panels that were revoked: refused from then on, whatever else is sent or restarted."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import httpx
import msgspec
import pytest
from cryptography import x509

from tests.agent.doors import NODE, listening
from wgfleet.agent.enrollment.revocations import read_list
from wgfleet.agent.state import revoked as revoked_module
from wgfleet.agent.state.files import DamagedFiles
from wgfleet.agent.state.revoked import RevokedCertificates
from wgfleet.panel.agents.authority import Authority, Identity, agent_server_name, described
from wgfleet.panel.domain.certificates import RevokedSerial
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.messages import Revoked

NAME = {"sni_hostname": agent_server_name(NODE)}


def serial(identity: Identity) -> str:
    found = described(identity.certificate).serial
    assert found is not None
    return found


def crl(authority: Authority, revoked: Iterable[Identity], number: int = 1) -> str:
    return authority.revocation_list(
        [RevokedSerial(serial(each), time.time()) for each in revoked], number, time.time()
    )


def loaded(folder: Path, damaged: DamagedFiles | None = None) -> RevokedCertificates:
    found = RevokedCertificates(folder / "revoked.json", damaged or DamagedFiles())
    found.load()
    return found


def test_what_was_revoked_stays_so_over_restarts_and_later_lists(tmp_path: Path) -> None:
    first = loaded(tmp_path)
    assert first.objection("a1") is None
    first.add({"a1": 1.0})
    assert "a1" in (first.objection("a1") or "")
    first.add({"b2": 2.0})
    again = loaded(tmp_path)
    assert again.objection("a1")
    assert again.objection("b2")
    assert not again.lacks({"a1": 1.0, "b2": 2.0})
    again.add({})
    assert loaded(tmp_path).objection("a1")


def test_the_list_is_bounded_and_what_was_told_last_has_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revoked_module, "MAX_KEPT", 4)
    kept = loaded(tmp_path)
    kept.add({"1": 1.0, "2": 2.0, "3": 3.0})
    kept.add({"4": 0.5, "5": 0.6})
    assert [each for each in "12345" if kept.objection(each)] == ["2", "3", "4", "5"]


def test_a_full_disk_takes_nothing_from_it_and_the_next_list_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    kept = loaded(tmp_path)
    with monkeypatch.context() as context:
        context.setattr("wgfleet.agent.state.revoked.write_atomic", full)
        with pytest.raises(OSError, match="No space"):
            kept.add({"a1": 1.0})
    assert kept.objection("a1")
    assert kept.lacks({"a1": 1.0})
    kept.add({"a1": 1.0})
    assert loaded(tmp_path).objection("a1")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a1":"x"}', b"\xff"])
def test_a_damaged_file_is_set_aside_and_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "revoked.json").write_bytes(content)
    damaged = DamagedFiles()
    kept = loaded(tmp_path, damaged)
    assert "revoked certificates of panels are accepted until" in damaged.notes[0]
    kept.add({"a1": 1.0})
    assert loaded(tmp_path).objection("a1")


def test_only_the_ca_can_make_a_list() -> None:
    ours, theirs = Authority.create("p", time.time()), Authority.create("p", time.time())
    panel = ours.issue_panel_client(time.time())
    ca = ours.certificate_pem.encode()
    assert list(read_list(crl(ours, [panel]), ca)) == [serial(panel)]
    both = theirs.certificate_pem.encode() + ca
    assert list(read_list(crl(ours, [panel]), both)) == [serial(panel)], "while a CA takes over from another"
    for wrong, words in ((crl(theirs, [panel]), "not signed"), ("nonsense", "PEM"), (panel.certificate, "PEM")):
        with pytest.raises(FieldError, match=words) as caught:
            read_list(wrong, ca)
        assert caught.value.field == "crl"


def test_its_dates_do_not_matter() -> None:
    authority = Authority.create("p", time.time())
    panel = authority.issue_panel_client(time.time())
    ahead = time.time() + 9e7
    told = authority.revocation_list([RevokedSerial(serial(panel), ahead)], 7, ahead)
    assert list(read_list(told, authority.certificate_pem.encode())) == [serial(panel)]
    number = x509.load_pem_x509_crl(told.encode()).extensions.get_extension_for_class(x509.CRLNumber)
    assert number.value.crl_number == 7


async def revoke(client: httpx.AsyncClient, told: str) -> int:
    return (await client.put("/v1/revoked", content=msgspec.json.encode(Revoked(told)), extensions=NAME)).status_code


def test_a_stolen_certificate_is_cut_off_at_once_and_never_gets_in_again(tmp_path: Path) -> None:
    authority = Authority.create("p", time.time())
    panel, thief = (authority.issue_panel_client(time.time()) for _ in range(2))

    async def cut_off(lines: AsyncIterator[bytes]) -> None:
        async with asyncio.timeout(1):
            async for _ in lines:
                pass

    async def first() -> None:
        async with (
            listening(tmp_path, authority) as agent,
            agent.client(thief) as stolen,
            agent.client(panel) as ours,
            ours.stream("GET", "/v1/watch", extensions=NAME) as kept,
        ):
            beats = kept.aiter_raw()
            await anext(beats)
            async with stolen.stream("GET", "/v1/watch", extensions=NAME) as held:
                lines = held.aiter_raw()
                await anext(lines)
                assert await revoke(ours, crl(authority, [thief])) == 204
                with pytest.raises(httpx.TransportError):
                    await cut_off(lines)
            assert not await agent.asks(thief)
            assert any(serial(thief) in why and "revoked" in why for why in agent.refused)
            await anext(beats)
            # Lists from before and forged ones change nothing.
            assert await revoke(ours, crl(authority, [], number=2)) == 204
            assert await revoke(ours, crl(Authority.create("p", time.time()), [panel])) == 422
            assert await agent.asks(panel)
            assert not await agent.asks(thief)

    async def after_a_restart() -> None:
        async with listening(tmp_path, authority) as agent:
            assert not await agent.asks(thief)
            assert await agent.asks(panel)

    asyncio.run(first())
    asyncio.run(after_a_restart())


def test_who_revokes_his_own_certificate_has_his_answer_first(tmp_path: Path) -> None:
    authority = Authority.create("p", time.time())
    panel = authority.issue_panel_client(time.time())

    async def run() -> None:
        async with listening(tmp_path, authority) as agent, agent.client(panel) as ours:
            assert await revoke(ours, crl(authority, [panel])) == 204
            with pytest.raises(httpx.TransportError):
                await ours.get("/v1/status", extensions=NAME)
            assert not await agent.asks(panel)
            assert await agent.asks(authority.issue_panel_client(time.time()))

    asyncio.run(run())


def test_a_full_disk_is_said_and_the_certificate_is_refused_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority.create("p", time.time())
    panel, thief = (authority.issue_panel_client(time.time()) for _ in range(2))

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    async def run() -> None:
        async with listening(tmp_path, authority) as agent, agent.client(panel) as ours:
            with monkeypatch.context() as context:
                context.setattr("wgfleet.agent.state.revoked.write_atomic", full)
                assert await revoke(ours, crl(authority, [thief])) == 507
            assert not await agent.asks(thief)
            assert await revoke(ours, crl(authority, [thief])) == 204
            assert loaded(tmp_path).objection(serial(thief))

    asyncio.run(run())
