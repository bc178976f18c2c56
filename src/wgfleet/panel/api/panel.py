"""The parts of a running panel that handlers work with. The panel's main module builds it once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from wgfleet.panel import machine
from wgfleet.panel.agents.authority import Authority
from wgfleet.panel.api.enrollment_limit import Attempts
from wgfleet.panel.api.refusals import Refusals
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.reconcile.core_reports import HeardReports
from wgfleet.panel.reconcile.engine.events import Events
from wgfleet.panel.reconcile.outlook import THIS_PANEL, CoreReport, Outlook
from wgfleet.panel.services import tunnel_networks
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
    """What a core that runs in this process says; where none does, see `heard`."""
    heard: HeardReports | None = None
    name: str = THIS_PANEL
    """The name under which its own core reports."""
    attempts: Attempts = field(default_factory=Attempts)
    refusals: Refusals = field(default_factory=Refusals)

    def addresses(self) -> dict[str, str]:
        """Return this panel's own addresses, as far as it knows them, each with what it is in words."""
        settings = self.settings
        if settings.own_addresses:
            return dict.fromkeys(settings.own_addresses, "an address of the panel (own_addresses)")
        url = urlsplit(settings.public_url or "").hostname or ""
        found = dict.fromkeys(machine.outbound_addresses(), "an address of the panel's machine")
        found |= {listener.host: "where the panel listens" for listener in settings.listen}
        found |= {url: "the panel's public_url"} if tunnel_networks.is_address(url) else {}
        return {address: words for address, words in found.items() if not ip_address(address).is_unspecified}

    def reports(self) -> Sequence[CoreReport]:
        """Return how the cores are doing, the one that decides first; nothing of those that are not heard."""
        return [self.outlook.report()] if self.heard is None else self.heard.now()


def _panel(request: Request) -> Panel:
    panel: Panel = request.app.state.panel
    return panel


ThePanel = Annotated[Panel, Depends(_panel)]
