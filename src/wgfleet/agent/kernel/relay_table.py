"""An nftables table that passes the encrypted packets of some clients on to other nodes, and back. Decides nothing.

Addresses and ports are rewritten without connection tracking: it would go on delivering a flow that it knows to this
machine. A client sees this node's address and port all the time; the other node sees this node's address, and a port
for each client, at which it can call that client. WireGuard here gets none of these packets.

Where WireGuard does not use the port any more, what others send to it goes to one of these nodes, too, with connection
tracking: a client whose address has changed since. What it knows of such a client from before is forgotten.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import structlog

from wgfleet.agent.kernel import conntrack, host_addresses, nft_tables
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.protocol.addresses import split_endpoint
from wgfleet.protocol.ids import InterfaceName

_PREFIX = "wgfleetrelay_"
_FAMILIES = {4: ("ip", "ipv4_addr"), 6: ("ip6", "ipv6_addr")}
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RelayedFlow:
    """A client at an endpoint (`ADDRESS:PORT`), the node that has it now, and this node's port between the two.

    `address`: of this machine, which both of them know it by.
    """

    client: str
    target: str
    address: str
    port: int


def table_of(name: InterfaceName) -> str:
    """Name the table."""
    return f"{_PREFIX}{nft_tables.word_of(name)}"


def rules(name: InterfaceName, listen_port: int, flows: Collection[RelayedFlow], *, alone: bool) -> str:
    """Render the table. `alone`: nobody else uses the port on this machine."""
    sets, arrive, leave, others, masked = [], [], [], [], []
    for version, (ip, kind) in _FAMILIES.items():
        mine = _of_version(flows, version)
        if not mine:
            continue
        end = f"{kind} . inet_service"
        clients = {flow: _pair(flow.client) for flow in mine}
        targets = {flow: _pair(flow.target) for flow in mine}
        sets += [
            _set(f"clients{version}", end, clients.values()),
            _set(f"nodes{version}", end, targets.values()),
            _set(f"ports{version}", "inet_service", (str(flow.port) for flow in mine)),
            _map(f"node_of{version}", end, kind, {clients[f]: split_endpoint(f.target)[0] for f in mine}),
            _map(f"node_port_of{version}", end, "inet_service", {clients[f]: _port(f.target) for f in mine}),
            _map(f"port_of{version}", end, "inet_service", {clients[f]: str(f.port) for f in mine}),
            _map(f"own_of{version}", end, kind, {clients[f]: f.address for f in mine}),
            _map(f"own_at{version}", "inet_service", kind, {str(f.port): f.address for f in mine}),
            _map(f"client_of{version}", "inet_service", kind, {str(f.port): split_endpoint(f.client)[0] for f in mine}),
            _map(
                f"client_port_of{version}", "inet_service", "inet_service", {str(f.port): _port(f.client) for f in mine}
            ),
        ]
        source, target = f"{ip} saddr . udp sport", f"{ip} daddr . udp dport"
        arrive += [
            (
                f"udp dport {listen_port} {source} @clients{version} fib daddr type local notrack counter "
                f"{ip} daddr set {source} map @node_of{version} "
                f"udp dport set {source} map @node_port_of{version} accept"
            ),
            (
                f"{source} @nodes{version} udp dport @ports{version} fib daddr type local notrack counter "
                f"{ip} daddr set udp dport map @client_of{version} "
                f"udp dport set udp dport map @client_port_of{version} accept"
            ),
        ]
        leave += [
            (
                f"{source} @clients{version} {target} @nodes{version} udp sport set {source} map @port_of{version} "
                f"{ip} saddr set udp sport map @own_at{version} accept"
            ),
            (
                f"{source} @nodes{version} {target} @clients{version} "
                f"{ip} saddr set {target} map @own_of{version} udp sport set {listen_port} accept"
            ),
        ]
        if alone:
            node = _heir(mine)
            # Not what such a node passes on itself: two that lead to each other would send it to and fro.
            nodes = ", ".join(sorted({split_endpoint(flow.target)[0] for flow in mine}))
            others.append(
                f"udp dport {listen_port} fib daddr type local {ip} saddr != {{ {nodes} }} dnat {ip} to {node}"
            )
            masked.append(f"ct status dnat {target} {{ {_pair(node)} }} masquerade")
    more = {"others": ("nat hook prerouting priority dstnat", others)} if others else {}
    more |= {"masked": ("nat hook postrouting priority srcnat - 1", masked)} if masked else {}
    return (
        f"table inet {table_of(name)} {{\n{''.join(sets)}"
        f"\tchain arrive {{\n\t\ttype filter hook prerouting priority raw; policy accept;\n{_lines(arrive)}\t}}\n"
        f"\tchain leave {{\n\t\ttype filter hook postrouting priority srcnat - 5; policy accept;\n{_lines(leave)}\t}}\n"
        + "".join(
            f"\tchain {chain} {{\n\t\ttype {what}; policy accept;\n{_lines(lines)}\t}}\n"
            for chain, (what, lines) in more.items()
        )
        + "}\n"
    )


def _of_version(flows: Iterable[RelayedFlow], version: int) -> list[RelayedFlow]:
    return [flow for flow in flows if (":" in flow.address) is (version == 6)]  # noqa: PLR2004 - IPv6


def _heir(flows: Collection[RelayedFlow]) -> str:
    """Return the node to which clients go whose address has changed: the one that has most."""
    return Counter(flow.target for flow in flows).most_common(1)[0][0]


def _lines(lines: Collection[str]) -> str:
    return "".join(f"\t\t{line}\n" for line in lines)


def _pair(endpoint: str) -> str:
    address, port = split_endpoint(endpoint)
    return f"{address} . {port}"


def _port(endpoint: str) -> str:
    return str(split_endpoint(endpoint)[1])


def _set(name: str, kind: str, elements: Iterable[str]) -> str:
    listed = ", ".join(sorted(set(elements)))
    return f"\tset {name} {{\n\t\ttype {kind}\n\t\telements = {{ {listed} }}\n\t}}\n"


def _map(name: str, key: str, value: str, elements: dict[str, str]) -> str:
    listed = ", ".join(f"{each} : {to}" for each, to in elements.items())
    return f"\tmap {name} {{\n\t\ttype {key} : {value}\n\t\telements = {{ {listed} }}\n\t}}\n"


async def apply(name: InterfaceName, listen_port: int, flows: Collection[RelayedFlow], *, alone: bool) -> None:
    """Make the table, in place of another one, or remove it where nothing is to be relayed."""
    await nft_tables.replace(table_of(name), rules(name, listen_port, flows, alone=alone) if flows else "")
    heirs = {}
    for version, length in ((4, 4), (6, 16)):
        if alone and (mine := _of_version(flows, version)):
            address, port = split_endpoint(_heir(mine))
            heirs[length] = (_in_bytes(address), port)
    try:
        local = {_in_bytes(each) for each in await host_addresses.of_machine()}
        await asyncio.to_thread(conntrack.forget_arrivals, listen_port, local, heirs)
    except (KernelError, OSError) as error:  # those who are relayed are; some that change their address may wait
        _log.warning("relay.flows_not_forgotten", interface=name, reason=str(error))


def _in_bytes(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


async def exists(name: InterfaceName) -> bool:
    """Whether the table is there."""
    return table_of(name) in await nft_tables.names()


async def remove_others(wanted: Iterable[InterfaceName]) -> None:
    """Remove the tables of all others: an agent was killed before it had removed them."""
    if not nft_tables.available():
        return
    kept = set(map(table_of, wanted))
    for table in await nft_tables.names():
        if table.startswith(_PREFIX) and table not in kept:
            await nft_tables.remove(table)
