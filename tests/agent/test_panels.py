"""An older panel is refused, whatever it asks for; one that names no incarnation is of 0.1.0, and obeyed."""

import asyncio
import os
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from wgfleet.agent.server.panel_gate import PanelGate, superseded
from wgfleet.agent.state.files import DamagedFiles
from wgfleet.agent.state.panels import ObeyedPanels
from wgfleet.protocol.features import PANEL_HEADER


def panels(folder: Path) -> ObeyedPanels:
    found = ObeyedPanels(folder / "panels.json", DamagedFiles())
    found.load()
    return found


def obeyed(found: ObeyedPanels, name: str | None) -> bool:
    refusal = found.refusal(name)
    assert refusal is None or (refusal.status, refusal.reason) == (409, "older_panel")
    return refusal is None


def test_the_newest_incarnation_is_remembered_over_a_restart(tmp_path: Path) -> None:
    first = panels(tmp_path)
    assert obeyed(first, "p 8 a")
    assert obeyed(first, "p 8 a")
    assert not obeyed(first, "p 8 b"), "two starts from one copy"
    assert obeyed(first, "p 9 c")
    assert not obeyed(first, "p 8 a"), "the one from before is the older now"
    again = panels(tmp_path)
    assert obeyed(again, "p 9 c")
    assert not obeyed(again, "p 7 z")
    assert obeyed(again, "p 1000009 restored")


def test_another_panel_and_one_of_0_1_0_are_obeyed(tmp_path: Path) -> None:
    found = panels(tmp_path)
    assert obeyed(found, "p 8 a")
    for name in (None, "", "p", "p x y", "q 1 a"):
        assert obeyed(found, name)
    assert not obeyed(found, "p 7 a")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"p":{"number":"x"}}', b"\xff"])
def test_a_damaged_memory_keeps_no_panel_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "panels.json").write_bytes(content)
    found = panels(tmp_path)
    assert obeyed(found, "p 8 a")
    assert not obeyed(panels(tmp_path), "p 7 a")


def test_a_full_disk_keeps_no_panel_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    found = panels(tmp_path)
    monkeypatch.setattr("wgfleet.agent.state.panels.write_atomic", full)
    assert obeyed(found, "p 8 a")
    assert not obeyed(found, "p 7 a")


def test_the_gate_is_before_every_handler_but_health(tmp_path: Path) -> None:
    told = []

    async def answer(request: Request) -> Response:
        told.append(superseded(request))
        return PlainTextResponse("fine")

    gate = PanelGate(Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "PUT"])]), panels(tmp_path))

    async def ask() -> None:
        transport = httpx.ASGITransport(gate)
        async with httpx.AsyncClient(transport=transport, base_url="http://agent") as client:
            new, old = {PANEL_HEADER: "p 9 c"}, {PANEL_HEADER: "p 8 a"}
            assert (await client.get("/v1/watch", headers=old)).status_code == 200
            assert not told[0]()
            assert (await client.put("/v1/wg/wg0", headers=new)).status_code == 200
            assert told[0](), "the stream of the older one ends"
            for path in ("/v1/watch", "/v1/status", "/v1/wg/wg0", "/v1/metrics"):
                refused = await client.get(path, headers=old)
                assert refused.status_code == 409
                assert refused.json()["reason"] == "older_panel"
                assert "wgfleet panel restored" in refused.json()["detail"]
            assert (await client.get("/health", headers=old)).status_code == 200
            assert (await client.get("/v1/status")).status_code == 200

    asyncio.run(ask())
