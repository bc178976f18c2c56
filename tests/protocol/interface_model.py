"""A model of a WireGuard link as the kernel keeps it, and of carrying out a plan on it, step by step."""

from dataclasses import dataclass, field

from wgfleet.protocol.desired import DesiredInterface
from wgfleet.protocol.diff import InterfacePlan, PlanStep
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PrivateKey, PublicKey
from wgfleet.protocol.observed import ObservedInterface, ObservedPeer

DRIVER_MTU = 1420


@dataclass
class LinkModel:
    """What the kernel does on its own is here: it moves an allowed IP to the last peer that claims it, and drops
    routes and IPv6 addresses with the link. It refuses what the kernel refuses. A step has the method of its name.
    """

    name: InterfaceName
    private_key: PrivateKey | None = None
    listen_port: int = 0
    addresses: set[str] = field(default_factory=set)
    routes: set[str] = field(default_factory=set)
    mtu: int = DRIVER_MTU
    up: bool = False
    masquerade: bool = False
    filtered: bool = False
    peers: dict[PublicKey, ObservedPeer] = field(default_factory=dict)
    floating: set[str] = field(default_factory=set)  # on the machine's own links, whatever this one does

    def observe(self) -> ObservedInterface:
        return ObservedInterface(
            name=self.name,
            private_key=self.private_key,
            listen_port=self.listen_port,
            addresses=frozenset(self.addresses),
            routes=frozenset(self.routes),
            mtu=self.mtu,
            up=self.up,
            masquerade=self.masquerade,
            filtered=self.filtered,
            peers=dict(self.peers),
            floating=frozenset(self.floating),
        )

    def upsert_peer(self, key: PublicKey, peer: ObservedPeer) -> None:
        for other, held in self.peers.items():
            if other != key and held.allowed_ips & peer.allowed_ips:
                self.peers[other] = ObservedPeer(
                    held.allowed_ips - peer.allowed_ips, held.preshared_key, held.persistent_keepalive
                )
        self.peers[key] = peer

    def set_device(self, _plan: InterfacePlan, desired: DesiredInterface) -> None:
        self.private_key, self.listen_port = desired.settings.private_key, desired.settings.listen_port

    def remove_peers(self, plan: InterfacePlan, _desired: DesiredInterface) -> None:
        for key in plan.remove_peers:
            del self.peers[key]

    def upsert_peers(self, plan: InterfacePlan, desired: DesiredInterface) -> None:
        for key in plan.upsert_peers:
            peer = desired.peers[key]
            self.upsert_peer(
                key, ObservedPeer(frozenset(peer.allowed_ips), peer.preshared_key, peer.persistent_keepalive)
            )

    def set_mtu(self, _plan: InterfacePlan, desired: DesiredInterface) -> None:
        assert desired.settings.mtu is not None
        self.mtu = desired.settings.mtu

    def remove_routes(self, plan: InterfacePlan, _desired: DesiredInterface) -> None:
        for route in plan.remove_routes:
            self.routes.remove(route)

    def remove_addresses(self, plan: InterfacePlan, _desired: DesiredInterface) -> None:
        for address in plan.remove_addresses:
            self.addresses.remove(address)

    def add_addresses(self, plan: InterfacePlan, _desired: DesiredInterface) -> None:
        assert not self.addresses & set(plan.add_addresses)
        self.addresses |= set(plan.add_addresses)

    def set_link(self, _plan: InterfacePlan, desired: DesiredInterface) -> None:
        if self.up and not desired.settings.enabled:
            self.routes.clear()
            self.addresses = {address for address in self.addresses if ":" not in address}
        self.up = desired.settings.enabled

    def add_routes(self, plan: InterfacePlan, _desired: DesiredInterface) -> None:
        assert self.up, "network is down"
        self.routes |= set(plan.add_routes)

    def set_masquerade(self, _plan: InterfacePlan, desired: DesiredInterface) -> None:
        self.masquerade = desired.settings.masquerade and desired.settings.enabled

    def set_filter(self, _plan: InterfacePlan, desired: DesiredInterface) -> None:
        self.filtered = desired.settings.reach is not None

    def remove_floating(self, plan: InterfacePlan, _desired: DesiredInterface) -> None:
        for address in plan.remove_floating:
            self.floating.remove(address)

    def add_floating(self, plan: InterfacePlan, _desired: DesiredInterface) -> None:
        assert self.up, "nobody would answer there"
        assert not self.floating & set(plan.add_floating)
        self.floating |= set(plan.add_floating)


def carry_out(plan: InterfacePlan, desired: DesiredInterface, link: LinkModel | None) -> LinkModel | None:
    """Do all steps of a plan in their order; the link is None until a step makes it."""
    for step in plan.steps:
        if step is PlanStep.CREATE_LINK:
            assert link is None
            link = LinkModel(desired.settings.name)
        else:
            assert link is not None, f"{step} before the link is there"
            getattr(link, step.value)(plan, desired)
    return link
