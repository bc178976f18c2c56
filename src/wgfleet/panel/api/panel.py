"""The parts of a running panel that handlers work with. The panel's main module builds it once."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from wgfleet.panel.agents.authority import Authority
from wgfleet.panel.api.enrollment_limit import Attempts
from wgfleet.panel.api.refusals import Refusals
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.reconcile.engine.events import Events
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault


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
    refusals: Refusals = field(default_factory=Refusals)


def _panel(request: Request) -> Panel:
    panel: Panel = request.app.state.panel
    return panel


ThePanel = Annotated[Panel, Depends(_panel)]
