"""Departures of nodes as pages show them: whom each way of going on is about, and what a refusal would say."""

from collections.abc import Callable
from typing import Any

from pydantic import Field

from wgfleet.panel.api.models import Body
from wgfleet.panel.api.removals import MAX_WINDOW_S
from wgfleet.panel.errors import PanelError
from wgfleet.panel.services.moves.departures import ClientReach, Departure
from wgfleet.protocol.relay import MAX_RELAY_S

HOUR_S = 3600.0


class Leaving(Body):
    """How a node is emptied, by the names of the API's parameters; but people say in hours how long it is to relay."""

    force: bool = False
    relay_hours: float = Field(default=0.0, ge=0, le=MAX_RELAY_S / HOUR_S, allow_inf_nan=False)
    drain_window_s: float | None = Field(default=None, ge=0, le=MAX_WINDOW_S)

    def asked(self) -> dict[str, Any]:
        """Return it as the services take it."""
        relay_s = self.relay_hours * HOUR_S
        return {"force": self.force, "relay_s": relay_s, "drain_window_s": self.drain_window_s}


def names(found: Departure) -> dict[str, list[str]]:
    """Return the names of the connected clients by how another node can have them."""
    return {reach.value: [client.name for client in found.of(reach)] for reach in ClientReach}


def refusal(check: Callable[[], object]) -> PanelError | None:
    """Return what a change would be refused for now, by the check of its service."""
    try:
        check()
    except PanelError as error:
        return error
    return None
