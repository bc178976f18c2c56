"""The panel counts as heard as long as its machine acknowledges what is sent to it."""

import asyncio
import contextlib
import time

from wgfleet.agent.server.panel_contact import PanelContact


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
