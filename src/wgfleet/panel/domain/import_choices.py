"""Another range and port than an imported interface had, where its own are taken, and who needs new files. Pure."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from wgfleet.imports.fleet import ImportedInterface, ImportedPeer
from wgfleet.panel.domain import addressing, imports, peer_counts
from wgfleet.protocol.reasons import Reason


@dataclass(frozen=True, slots=True)
class ImportChoice:
    """What is to be another than at the source: the pools, and the port. Empty, and None: as there."""

    pools: tuple[str, ...] = ()
    listen_port: int | None = None


def chosen(interface: ImportedInterface, choice: ImportChoice) -> tuple[ImportedInterface, list[str]]:
    """Return an interface as it is to be here, and what that means for whom. Its addresses have been checked."""
    said: list[str] = []
    if choice.pools:
        interface = _elsewhere(interface, choice.pools, said)
    if choice.listen_port is not None and choice.listen_port != interface.listen_port:
        interface = _at_port(interface, choice.listen_port, said)
    return interface, said


def _elsewhere(interface: ImportedInterface, pools: Sequence[str], said: list[str]) -> ImportedInterface:
    own = imports.servers(interface, pools)
    addresses = []
    for pool in pools:
        inside = addressing.inside(pool, own)
        addresses.append(addressing.interface_address(pool, inside[0] if inside else None))
    now = [address.partition("/")[0] for address in addresses]
    replaced: dict[str, str] = {}
    for each in interface.addresses:
        before = str(ipaddress.ip_interface(each).ip)
        after = next((address for address in now if (":" in address) is (":" in before)), None)
        if before not in now and after is not None:
            replaced[before] = after
    losing = [peer for peer in interface.peers if not all(_in_any(each, pools) for each in peer.addresses)]
    if losing:
        said.append(
            Reason(
                "addresses of {peers} are in none of {pools}: they get others, and need new files",
                peers=peer_counts.in_words(len(losing)),
                pools=", ".join(pools),
            )
        )
    peers = tuple(_peer(each, replaced) for each in interface.peers)
    dns = tuple(replaced.get(each, each) for each in interface.dns)
    naming = [peer for peer in interface.peers if any(each in replaced for each in (*(peer.dns or ()), *interface.dns))]
    if naming:
        said += [
            Reason(
                "files that name the server as DNS server, at {before}, need a new one, which names {after}",
                before=before,
                after=after,
            )
            for before, after in replaced.items()
        ]
    said += _unreached(interface, pools)
    return msgspec.structs.replace(interface, addresses=tuple(addresses), dns=dns, peers=peers)


def _peer(peer: ImportedPeer, replaced: dict[str, str]) -> ImportedPeer:
    if not peer.dns or not any(each in replaced for each in peer.dns):
        return peer
    return msgspec.structs.replace(peer, dns=tuple(replaced.get(each, each) for each in peer.dns))


def _unreached(interface: ImportedInterface, pools: Sequence[str]) -> list[str]:
    """Say whose files do not route the pools into the tunnel."""
    short = []
    for peer in interface.peers:
        routed = interface.client_allowed_ips if peer.client_allowed_ips is None else peer.client_allowed_ips
        if routed and not all(any(addressing.contains(each, pool) for each in routed) for pool in pools):
            short.append(peer)
    if not short:
        return []
    return [
        Reason(
            "files of {peers} route what they did, and not all of {pools}: change their client_allowed_ips, or that "
            "of the config, before they get new files",
            peers=peer_counts.in_words(len(short)),
            pools=", ".join(pools),
        )
    ]


def _at_port(interface: ImportedInterface, port: int, said: list[str]) -> ImportedInterface:
    before = interface.listen_port
    if before is None:
        return msgspec.structs.replace(interface, listen_port=port)
    said.append(
        Reason(
            "nodes listen on port {port}, where the server had {before}: files that say {before} need a new one, "
            "unless a router in front of the nodes passes that on",
            port=port,
            before=before,
        )
    )
    peers = tuple(
        msgspec.structs.replace(peer, endpoint=_with_port(peer.endpoint, before, port)) if peer.endpoint else peer
        for peer in interface.peers
    )
    return msgspec.structs.replace(
        interface, listen_port=port, endpoint=_with_port(interface.endpoint, before, port), peers=peers
    )


def _with_port(endpoint: str | None, before: int, after: int) -> str | None:
    """Return an endpoint with the new port; another than the earlier one is that of a router, and stays."""
    if endpoint is None or not endpoint.endswith(f":{before}"):
        return endpoint
    return f"{endpoint.removesuffix(str(before))}{after}"


def _in_any(address: str, pools: Sequence[str]) -> bool:
    return any(addressing.inside(pool, [address]) for pool in pools)
