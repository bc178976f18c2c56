"""The machine's way to the panel, which no push may take from it: what would is refused, what could is on trial."""

from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_interface, ip_network
from typing import Protocol

from wgfleet.agent.interfaces.commit_confirm import Contact, SettingsTrial
from wgfleet.agent.kernel import uplinks
from wgfleet.agent.kernel.uplinks import Network, Uplinks
from wgfleet.agent.state.confirmed import ConfirmedFiles
from wgfleet.protocol.desired import DesiredInterface, InterfaceSettings
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.messages import Refusal


class PanelConnections(Contact, Protocol):
    """The panel's connections, and from where they come."""

    def addresses(self) -> frozenset[str]: ...


class WayOut:
    """Checks pushes, and keeps the trials of all interfaces. `wait_s`: how long the panel may be silent; 0: always."""

    def __init__(
        self, files: ConfirmedFiles, panel: PanelConnections, watched: Callable[[], bool], wait_s: float
    ) -> None:
        self._files = files
        self._panel = panel
        self._watched = watched
        self._wait_s = wait_s
        self._trials: dict[InterfaceName, SettingsTrial] = {}

    def trial(self, name: InterfaceName) -> SettingsTrial:
        """Return the trial of an interface's settings."""
        if name not in self._trials:
            self._trials[name] = SettingsTrial(name, self._files, self._panel, self._watched, self._wait_s)
        return self._trials[name]

    def forget(self, name: InterfaceName) -> None:
        """Forget an interface that was removed."""
        self._trials.pop(name, None)
        self._files.remove(name)

    async def check(self, old: DesiredInterface | None, new: DesiredInterface) -> Refusal | None:
        """Return why a push is refused; None: it may be stored and applied. OSError: it cannot be put on trial."""
        # The panel may be connected over what it was last heard with, while something else is on trial or taken back.
        known = [] if old is None else [old.settings, self.trial(new.settings.name).confirmed(old.settings)]
        before = {text for settings in known for text in _networks(settings)}
        added = {text: network for text, network in _networks(new.settings).items() if text not in before}
        if added:
            found = cuts_off(added, self._panel.addresses(), await uplinks.read())
            if found is not None:
                return _refusal(new.settings.name, *found)
        self.trial(new.settings.name).begin(None if old is None else old.settings, new.settings)
        return None


def _networks(settings: InterfaceSettings) -> dict[str, Network]:
    """Return what the machine sends into the tunnel with these settings, by the text in them."""
    routes = {route: ip_network(route) for route in settings.routes}
    return routes | {address: ip_interface(address).network for address in settings.addresses}


def cuts_off(added: dict[str, Network], panel: Iterable[str], machine: Uplinks) -> tuple[str, str, str] | None:
    """Return the first (network, address, words) of an address that would be sent into the tunnel.

    The longest prefix wins, so a wide network takes nothing from a narrower route of the machine's own.
    """
    needed = dict.fromkeys(machine.gateways, "the gateway of this machine's default route")
    needed |= dict.fromkeys(panel, "from where the panel is connected")
    for text, network in added.items():
        for address, words in sorted(needed.items()):
            parsed = ip_address(address)
            if parsed.is_loopback or parsed.version != network.version or parsed not in network:
                continue
            if network.prefixlen >= machine.way_to(address):
                return text, address, words
    return None


def _refusal(name: InterfaceName, network: str, address: str, words: str) -> Refusal:
    return Refusal(
        title="it would cut this machine off",
        status=409,
        detail=f"interface {name} would lead {network} into the tunnel, and with it {address}, {words}; "
        "take it out of the config",
        reason="cuts_off",
    )
