"""The panel counts as heard as long as its machine acknowledges what is sent to it."""

import asyncio
import contextlib
import time

from wgfleet.agent.server.panel_contact import PanelContact
from wgfleet.panel.agents.authority import Authority
from wgfleet.panel.agents.tls import client_context, server_context


def test_the_panel_is_heard_at_each_acknowledgement_and_no_later() -> None:
    async def scenario() -> None:
        contact = PanelContact()
        assert contact.heard_at() == float("-inf")
        assert not contact.is_near()
        admitted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        server = await asyncio.start_server(lambda _, writer: admitted.put_nowait(writer), "127.0.0.1", 0)
        _, client = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer = await admitted.get()
        contact.admitted(writer.transport)  # type: ignore[arg-type]  # it is one
        await asyncio.sleep(0.3)
        quiet = time.monotonic()
        assert contact.heard_at() < quiet - 0.25
        writer.write(b"heartbeat")  # nobody reads it; the other machine's kernel takes it
        async with asyncio.timeout(30):
            while contact.heard_at() < quiet - 0.01:  # noqa: ASYNC110 - the kernel tells nobody; it counts in ms
                await asyncio.sleep(0.01)
        assert contact.is_near()
        for each in (client, writer):
            each.close()
            with contextlib.suppress(OSError):
                await each.wait_closed()
        last = contact.heard_at()
        await asyncio.sleep(0.05)
        assert contact.heard_at() == last
        server.close()
        await server.wait_closed()

    asyncio.run(scenario())


def test_a_connection_that_was_closed_says_nothing_and_breaks_nothing() -> None:
    """Both the panel and the server's time-out may close one; asyncio then forgets its TLS."""
    authority = Authority.create("test", time.time())
    shown = server_context(authority.issue_server([], ["127.0.0.1"], time.time()))
    believed = client_context(authority.certificate_pem, authority.issue_panel_client(time.time()))

    async def scenario() -> None:
        contact = PanelContact()
        admitted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        server = await asyncio.start_server(lambda _, writer: admitted.put_nowait(writer), "127.0.0.1", 0, ssl=shown)
        _, client = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=believed)
        transport = (await admitted.get()).transport
        contact.admitted(transport)  # type: ignore[arg-type]  # it is one
        before = contact.sent()
        assert len(before) == 1
        for _ in range(2):
            transport.close()
        assert contact.sent() == {}
        assert not contact.acknowledged_since(before)
        assert contact.addresses() == frozenset()
        assert contact.heard_at() <= time.monotonic()
        client.close()
        with contextlib.suppress(OSError):
            await client.wait_closed()
        server.close()
        await server.wait_closed()

    asyncio.run(scenario())
