"""What the handlers work with. Built once by the panel's main module; holds no rows and no state of its own."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from fastapi import Depends, Request

from wgfleet.panel.agents.authority import Authority
from wgfleet.panel.api.enrollment_limit import Attempts
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault


class Event(Protocol):
    """Something changed: `kind` and `id` say what, `data` is small enough to show."""

    @property
    def kind(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def data(self) -> Mapping[str, Any]: ...


class Events(Protocol):
    """Where events come from."""

    def subscribe(self) -> AsyncGenerator[Event, None]:
        """Return the events from now on; closing the iterator ends the subscription."""


@dataclass(frozen=True, slots=True)
class Panel:
    """The parts of a running panel."""

    store: Store
    vault: Vault
    settings: Settings
    authority: Authority
    events: Events
    publisher: Publisher
    outlook: Outlook = field(default_factory=Outlook)
    attempts: Attempts = field(default_factory=Attempts)


def _panel(request: Request) -> Panel:
    panel: Panel = request.app.state.panel
    return panel


ThePanel = Annotated[Panel, Depends(_panel)]
