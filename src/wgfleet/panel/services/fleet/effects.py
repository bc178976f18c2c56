"""Effects of changes and deletions on users: sentences for who is about to make one. None: nobody notices."""

from collections.abc import Mapping
from typing import Any

from wgfleet.panel.domain import addressing, public_ports
from wgfleet.panel.domain.pool_changes import PoolChange
from wgfleet.panel.services.configs import INDEPENDENT
from wgfleet.panel.services.fleet import backbone, node_deletion
from wgfleet.panel.services.fleet.endpoint_groups import EndpointGroupSpec
from wgfleet.panel.store import Tx, homes
from wgfleet.panel.store import addresses as address_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.tables import Assignment, Config, Node, Peer
from wgfleet.protocol.quantities import speed_text

_IN_FILES = ("mtu", "dns", "client_allowed_ips", "excluded_networks")


def of_config(tx: Tx, config: Config, before: Mapping[str, Any]) -> list[str]:
    """Say what a change of a config means. `before`: the earlier values of all that was asked for."""
    changed = {name for name, value in before.items() if getattr(config, name) != value}
    peers = _peers(tx, config)
    if not peers:
        return []
    said = []
    if "listen_port" in changed:
        said.append(
            f"nodes stop listening at port {before['listen_port']} at once: {peers} of {config.name!r} cannot connect "
            f"with the files that they have, unless something forwards that port to {config.listen_port}"
        )
    if "enabled" in changed and not config.enabled:
        said.append(f"{peers} of {config.name!r} are cut off on all nodes until it is enabled again")
    if "masquerade" in changed and not config.masquerade:
        said.append(f"{peers} of {config.name!r} reach only networks whose routers know the way back to the pools")
    if "client_to_client" in changed and not config.client_to_client:
        said.append(f"{peers} of {config.name!r} no longer reach each other, nor networks behind each other")
    if denied := [
        each for each in config.denied_networks if each not in before.get("denied_networks", config.denied_networks)
    ]:
        said.append(f"{', '.join(denied)}: no longer reached through the tunnel by {peers} of {config.name!r}")
    said += _of_speeds(config, before, peers)
    if files := sorted(changed.intersection(_IN_FILES)):
        said.append(f"the files of {peers} keep their earlier {', '.join(files)}; only new files have what is set now")
    return said


def _of_speeds(config: Config, before: Mapping[str, Any], peers: str) -> list[str]:
    said = []
    for name, what in (("download_speed", "download"), ("upload_speed", "upload")):
        speed = getattr(config, name)
        if name in before and speed and speed != before[name]:
            said.append(
                f"the {what} of {peers} of {config.name!r} is held to {speed_text(speed)} each at once, but for those "
                "whose tags or own settings say otherwise"
            )
    return said


def of_pools(tx: Tx, config: Config, change: PoolChange) -> list[str]:
    """Say what another set of pools means for a config's peers."""
    peers = _peers(tx, config)
    if not peers:
        return []
    said = []
    ids = {pool.network: pool.id for pool in config_rows.pools(tx, [config.id])}
    for was, after in change.resized:
        room = "" if addressing.contains(after, was) else ", and fewer peers have room"
        said.append(f"{was} becomes {after}: the files of {peers} stay as they are{room}")
    said += [
        f"an address of {network} goes to {peers}, at once on all nodes; devices have it with their next file"
        for network in change.added
    ]
    for network in change.removed:
        losing = address_rows.of_pool(tx, ids[network])
        losers = peers if config.mode == INDEPENDENT else _number({network: losing})
        said.append(
            f"the addresses of {network} are taken from {losers}: what devices send from there is dropped, until they "
            "have new files"
        )
    new = (*change.added, *(after for _, after in change.resized))
    routed = config.client_allowed_ips
    unreached = [network for network in new if not any(addressing.contains(each, network) for each in routed)]
    if unreached:
        said.append(
            f"files route {', '.join(routed)} only: users reach {', '.join(unreached)} once client_allowed_ips has it, "
            "and they have new files"
        )
    return said


def of_config_deletion(tx: Tx, config: Config) -> list[str]:
    """Say what is lost with a config."""
    peers = _peers(tx, config)
    return [f"{peers} are deleted with {config.name!r}, and their files never work again"] if peers else []


def of_endpoint_group(tx: Tx, config: Config, before: EndpointGroupSpec, after: EndpointGroupSpec | None) -> list[str]:
    """Say what a change of an endpoint group means; `after` None: its deletion."""
    said = []
    peers = _peers(tx, config)
    where, was = (None if each is None else (each.domain, each.port) for each in (after, before))
    if peers and where != was:
        said.append(
            f"the files of {peers} say {before.domain}:{before.port}, and work only as long as nodes answer there"
        )
    if before.dns is not None and (after is None or after.dns is None or after.domain != before.domain):
        said.append(f"{before.dns.record_name or before.domain} is withdrawn from {before.dns.provider}")
    floating = () if after is None else after.floating.addresses
    said += [
        f"{address} is taken from the node that has it: who is connected there loses it"
        for address in before.floating.addresses
        if address not in floating
    ]
    if after is not None and before.auto_migrate and not after.auto_migrate:
        said.append("when a node fails, nobody is moved to others")
    return said


def of_node(tx: Tx, node: Node, before: list[str]) -> list[str]:
    """Say what other endpoint addresses of a node mean; `before`: the earlier ones."""
    configs = node_rows.config_names(tx, [node.id])[node.id]
    wanted = node.next_endpoint_addresses or node.endpoint_addresses
    gone = [address for address in before if address not in wanted]
    if not configs or before == wanted:
        return []
    said = []
    if gone:
        said.append(
            f"{', '.join(gone)} leaves the names of {', '.join(configs)}; {_number(homes.of_nodes(tx, [node.id]))} at "
            f"home on {node.name!r}, and files that say it, work only as long as it answers there"
        )
    if node.next_endpoint_addresses:
        new = [address for address in wanted if address not in before]
        said.append(
            f"nothing of that happens before {node.name!r} answers the panel at {', '.join(new)}, at the port that "
            f"clients use; until then {', '.join(before)} stays published"
        )
    else:
        said.append(
            f"{node.name!r} is probed at {', '.join(wanted)}: if nobody answers there, it is taken for "
            "dead, and its users are moved to other nodes"
        )
    return said


def of_backbone_port(config: Config, assignment: Assignment, node: Node) -> list[str]:
    """Say what another public port of a node's end of the backbone means."""
    if not backbone.wanted(config):
        return [f"nothing as long as config {config.name!r} has no backbone"]
    (port,) = backbone.ports_outside(config, assignment.public_backbone_port)
    said = f"the other nodes call {node.name!r} at UDP port {port} for the backbone from now on; where nobody answers"
    return [f"{said}, and it reaches none of them either, its users and those of other nodes do not reach each other"]


def of_assignment(config: Config, assignment: Assignment, node: Node, files_port: int | None, homed: int) -> list[str]:
    """Say what another public port of a node means. `files_port`: that of the config's name, if it has one."""
    at, before = assignment.next_public_port, assignment.public_port
    wanted = before if at is None else at or None
    said = []
    if files_port is None and homed:
        said.append(
            f"files of {_number({'': homed})} at home on {node.name!r} keep the port that they say, and work only as "
            "long as it leads there"
        )
    if files_port is not None and (trouble := public_ports.trouble(files_port, wanted)):
        said.append(f"the name of {config.name!r} no longer lists {node.name!r}: {trouble}")
    if at is None:
        said.append(
            f"{node.name!r} is probed at port {wanted or config.listen_port}: if nobody answers there, it is taken for "
            "dead, and its users are moved to other nodes"
        )
    else:
        said.append(
            f"nothing of that happens before {node.name!r} answers the panel at port {wanted or config.listen_port}"
        )
    return said


def of_node_deletion(tx: Tx, node: Node) -> list[str]:
    """Say what is lost with a node, which has no config any more."""
    said = [f"the agent of {node.name!r} is no longer managed; it comes back only with a new join token"]
    if owed := node_rows.owed_interfaces(tx, node.id):
        said.append(f"{', '.join(owed)} goes on serving on that machine until its agent answers, or a month is over")
    if relayed := node_deletion.relayed(tx, node):
        said.append(f"who is relayed by it stays there, and is cut off when that machine ends: {relayed}")
    return said


def of_peer_deletion(peer: Peer) -> list[str]:
    """Say what is lost with a peer."""
    return [f"{peer.name!r} is cut off, and its file never works again, also if one of that name is made again"]


def _peers(tx: Tx, config: Config) -> str:
    """Return the number of a config's peers in words; "" where there are none."""
    return _number(homes.of_configs(tx, [config.id]), none="")


def _number(counts: Mapping[str, int], none: str = "no peers") -> str:
    number = sum(counts.values())
    return f"{number} peer{'s' * (number != 1)}" if number else none
