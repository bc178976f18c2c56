"""The parts of a running panel that handlers work with. The panel's main module builds it once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from wgfleet.panel import machine
from wgfleet.panel.agents.authorities import Authorities
from wgfleet.panel.api.attempts import Attempts, LinkPasswordTries
from wgfleet.panel.api.name_guesses import NameGuesses
from wgfleet.panel.api.refusals import Refusals
from wgfleet.panel.api.sent_forms import SentForms
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.domain.host_names import Lookup
from wgfleet.panel.host_names import look_up
from wgfleet.panel.identity.oidc import OidcClient
from wgfleet.panel.reconcile.agents.agent_logs import AgentLogs
from wgfleet.panel.reconcile.core_reports import HeardReports
from wgfleet.panel.reconcile.engine.events import Events
from wgfleet.panel.reconcile.outlook import THIS_PANEL, CoreReport, Outlook
from wgfleet.panel.services import host_names, incarnations
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.settings import Settings
from wgfleet.panel.siblings import Siblings
from wgfleet.panel.store import Store, Tx
from wgfleet.panel.store.notes import Notes
from wgfleet.panel.vault import Vault
from wgfleet.protocol.reasons import Reason

LINK_USES, LINK_USES_S = 100, 3600.0  # of one link to a file
GUESSES, GUESSES_S = 50, 3600.0  # of a name's password: more than its owner makes, and nothing to a guesser


@dataclass(frozen=True, slots=True)
class Panel:
    """The parts of a running panel."""

    store: Store
    vault: Vault
    settings: Settings
    authorities: Authorities
    events: Events
    publisher: Publisher
    outlook: Outlook = field(default_factory=Outlook)
    """What a core that runs in this process says; where none does, see `heard`."""
    heard: HeardReports | None = None
    name: str = THIS_PANEL
    """The name under which its own core reports."""
    siblings: Siblings = field(default_factory=Siblings)
    """What the processes that serve the API share beside the database."""
    oidc: OidcClient = field(default_factory=OidcClient)
    refusals: Refusals = field(default_factory=Refusals)
    set_up_digest: str | None = None
    """Of the secret in the address that sets up a new panel; None: nobody was shown one."""

    token_attempts: Attempts = field(init=False)
    sign_in_attempts: Attempts = field(init=False)
    """By address: of names, passwords, codes and links."""
    name_guesses: NameGuesses = field(init=False)
    """By name and address: of passwords that the panel checks itself."""
    guesses: Attempts = field(init=False)
    """By name, from wherever: of codes, whose guesser has the password, and of what a directory is asked."""
    link_guesses: Attempts = field(init=False)
    """By address; apart, so that nobody is kept from signing in by the links of others there."""
    link_passwords: LinkPasswordTries = field(init=False)
    link_uses: Attempts = field(init=False)
    """By link: each use writes into the audit log."""
    sent_forms: SentForms = field(init=False)
    agent_logs: AgentLogs = field(init=False)

    def __post_init__(self) -> None:
        """Make what is made of the other parts."""
        notes = self.siblings.notes
        made = {
            "token_attempts": Attempts(Reason("refused join tokens"), notes=notes),
            "sign_in_attempts": Attempts(Reason("refused sign-ins"), notes=notes),
            "name_guesses": NameGuesses(notes),
            "guesses": Attempts(Reason("refused sign-ins"), GUESSES, GUESSES_S, notes),
            "link_guesses": Attempts(Reason("refused links to files"), notes=notes),
            "link_passwords": LinkPasswordTries(notes),
            "link_uses": Attempts(Reason("uses"), LINK_USES, LINK_USES_S, notes),
            "sent_forms": SentForms(notes),
            "agent_logs": AgentLogs(self.store, self.vault, self.authorities, self.settings.certificates.panel_days),
        }
        for name, part in made.items():
            object.__setattr__(self, name, part)

    @property
    def notes(self) -> Notes:
        """What the processes that serve the API have noted for each other."""
        return self.siblings.notes

    def address(self, here: str) -> str:
        """Return under which address browsers know this panel: its public one, or `here`, where it was asked at."""
        return self.settings.public_url or here.rstrip("/")

    def hosts(self) -> dict[str, str]:
        """Return this panel's own addresses and names, as far as it knows them, each with what it is in words."""
        return machine.hosts(self.settings.own_hosts(), complete=bool(self.settings.own_addresses))

    @contextmanager
    def write_with_names(self, caller: Caller, *hosts: str | None) -> Iterator[Tx]:
        """Open a transaction that knows the addresses of hosts that are about to be set; names are looked up before."""
        found = self.looked_up(caller, *hosts)
        with self.store.write() as tx:
            host_names.record(tx, found)
            yield tx

    def looked_up(self, caller: Caller, *hosts: str | None) -> dict[str, Lookup]:
        """Look up those of the hosts that are names; outside of transactions."""
        return look_up(host_names.names(hosts), owner=caller.id)

    def superseded(self) -> str | None:
        """Return why this panel decides nothing: by the core that decides, and by the rows where none is heard."""
        if (deciding := self.deciding()) is not None:
            return deciding.superseded
        with self.store.read() as tx:
            return incarnations.superseded(tx)

    def deciding(self) -> CoreReport | None:
        """Return how the core that decides is doing, where one is heard; without asking the database."""
        return next((report for report in self.reports() if report.decides), None)

    def reports(self) -> Sequence[CoreReport]:
        """Return how the cores are doing, the one that decides first; nothing of those that are not heard."""
        return [self.outlook.report()] if self.heard is None else self.heard.now()


async def _panel(request: Request) -> Panel:  # a thread for it would cost more than all else of a short call
    panel: Panel = request.app.state.panel
    return panel


ThePanel = Annotated[Panel, Depends(_panel)]
