"""The HTTP connections of those that the agent's door let in, and their end together with the agent."""

import asyncio

import uvicorn
from uvicorn.server import ServerState

from wgfleet.agent.server.panel_gate import PanelGate

END_S = 1.0  # for handlers to see that nobody listens any more


class HttpConnections:
    """Makes the protocol of each, and ends them all."""

    def __init__(self, app: PanelGate) -> None:
        self._config = uvicorn.Config(
            app, http="h11", ws="none", lifespan="off", log_config=None, access_log=False,
            server_header=False, date_header=False, timeout_keep_alive=75,
        )  # fmt: skip
        self._config.load()
        self._state = ServerState()

    def make(self) -> asyncio.Protocol:
        """Return the protocol of a connection that was let in."""
        return self._config.http_protocol_class(config=self._config, server_state=self._state, app_state={})  # type: ignore[call-arg]

    async def end(self) -> None:
        """Hang up, and wait until the handlers have ended: a watch stream does when its reader has gone."""
        for connection in list(self._state.connections):
            connection.transport.abort()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=END_S)
