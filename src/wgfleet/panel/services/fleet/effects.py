"""Effects of changes and deletions on users: sentences for who is about to make one. None: nobody notices."""

from collections.abc import Collection, Mapping
from typing import Any

from wgfleet.panel.domain import addressing, peer_counts, public_ports
from wgfleet.panel.domain.pool_changes import PoolChange
from wgfleet.panel.services.configs import INDEPENDENT
from wgfleet.panel.services.fleet import backbone, node_deletion, pool_changes
from wgfleet.panel.services.fleet.endpoint_groups import EndpointGroupSpec
from wgfleet.panel.store import Tx, homes
from wgfleet.panel.store import addresses as address_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.tables import Assignment, Config, Node, Peer
from wgfleet.protocol.quantities import speed_text
from wgfleet.protocol.reasons import Reason

_IN_FILES = ("mtu", "dns", "client_allowed_ips", "excluded_networks")


def of_config(tx: Tx, config: Config, before: Mapping[str, Any]) -> list[str]:
    """Say what a change of a config means. `before`: the earlier values of all that was asked for."""
    changed = {name for name, value in before.items() if getattr(config, name) != value}
    peers = _peers(tx, config)
    if not peers:
        return []
    said: list[str] = []
    if "listen_port" in changed:
        said += _of_listen_port(config, before["listen_port"], peers)
    if "enabled" in changed and not config.enabled:
        said.append(
            Reason(
                "{peers} of {config!r} cannot connect to any node until it is enabled again",
                peers=peers,
                config=config.name,
            )
        )
    if "masquerade" in changed and not config.masquerade:
        said.append(
            Reason(
                "{peers} of {config!r} can reach only networks whose routers know the way back to the pools",
                peers=peers,
                config=config.name,
            )
        )
    if "client_to_client" in changed and not config.client_to_client:
        said.append(
            Reason(
                "{peers} of {config!r} can no longer reach each other, nor networks behind each other",
                peers=peers,
                config=config.name,
            )
        )
    said += _of_backbone(tx, config, changed, peers)
    if denied := [
        each for each in config.denied_networks if each not in before.get("denied_networks", config.denied_networks)
    ]:
        said.append(
            Reason(
                "{networks}: no longer reached through the tunnel by {peers} of {config!r}",
                networks=", ".join(denied),
                peers=peers,
                config=config.name,
            )
        )
    said += _of_speeds(config, before, peers)
    if files := sorted(changed.intersection(_IN_FILES)):
        said.append(
            Reason(
                "the files of {peers} keep their earlier {settings}; only new files have what is set now",
                peers=peers,
                settings=", ".join(files),
            )
        )
    return said


def _of_backbone(tx: Tx, config: Config, changed: Collection[str], peers: str) -> list[str]:
    if "backbone" in changed and not config.backbone:
        return [
            Reason(
                "{peers} of {config!r} reach those at the same node only, and networks behind them",
                peers=peers,
                config=config.name,
            )
        ]
    if "backbone_within_groups" in changed and "backbone" not in changed and backbone.divided(tx, config):
        return [
            Reason(
                "{peers} of {config!r} reach only those at nodes of the same node group, and networks behind them",
                peers=peers,
                config=config.name,
            )
        ]
    return []


def _of_listen_port(config: Config, before: int, peers: str) -> list[str]:
    return [
        Reason(
            "nodes stop listening at port {port} at once: {peers} of {config!r} cannot connect "
            "with the files that they have, unless something forwards that port to {listen_port}",
            port=before,
            peers=peers,
            config=config.name,
            listen_port=config.listen_port,
        ),
        Reason(
            "those who are connected are called from the new port; a NAT or a firewall in front of one lets no such "
            "call in, and then nothing reaches it before it has a new file"
        ),
    ]


def _of_speeds(config: Config, before: Mapping[str, Any], peers: str) -> list[str]:
    said: list[str] = []
    for name, what in (("download_speed", Reason("download")), ("upload_speed", Reason("upload"))):
        speed = getattr(config, name)
        if name in before and speed and speed != before[name]:
            said.append(
                Reason(
                    "the {what} of {peers} of {config!r} is held to {speed} each at once, but for those "
                    "whose tags or own settings say otherwise",
                    what=what,
                    peers=peers,
                    config=config.name,
                    speed=speed_text(speed),
                )
            )
    return said


def of_pools(tx: Tx, config: Config, change: PoolChange) -> list[str]:
    """Say what another set of pools means for a config's peers."""
    peers = _peers(tx, config)
    if not peers:
        return []
    said: list[str] = []
    ids = {pool.network: pool.id for pool in config_rows.pools(tx, [config.id])}
    for was, after in change.resized:
        room = "" if addressing.contains(after, was) else Reason(", and fewer peers have room")
        said.append(
            Reason(
                "{was} becomes {after}: the files of {peers} stay as they are{room}",
                was=was,
                after=after,
                peers=peers,
                room=room,
            )
        )
    said += [
        Reason(
            "an address of {network} goes to {peers}, at once on all nodes; devices have it with their next file",
            network=network,
            peers=peers,
        )
        for network in change.added
    ]
    for network in change.removed:
        losers = peers if config.mode == INDEPENDENT else _number({network: address_rows.of_pool(tx, ids[network])})
        if named := pool_changes.named_losers(tx, ids[network]):
            losers = Reason("{peers} ({names})", peers=losers, names=named)
        said.append(
            Reason(
                "the addresses of {network} are taken from {losers}: what devices send from there is dropped, until "
                "they have new files",
                network=network,
                losers=losers,
            )
        )
    new = (*change.added, *(after for _, after in change.resized))
    routed = config.client_allowed_ips
    unreached = [network for network in new if not any(addressing.contains(each, network) for each in routed)]
    if unreached:
        said.append(
            Reason(
                "files route {routed} only: users reach {unreached} once client_allowed_ips has it, "
                "and they have new files",
                routed=", ".join(routed),
                unreached=", ".join(unreached),
            )
        )
    return said


def of_config_deletion(tx: Tx, config: Config) -> list[str]:
    """Say what is lost with a config."""
    peers = _peers(tx, config)
    return (
        [Reason("{config!r} is deleted with {peers}, whose files never work again", peers=peers, config=config.name)]
        if peers
        else []
    )


def of_endpoint_group(tx: Tx, config: Config, before: EndpointGroupSpec, after: EndpointGroupSpec | None) -> list[str]:
    """Say what a change of an endpoint group means; `after` None: its deletion."""
    said: list[str] = []
    peers = _peers(tx, config)
    where, was = (None if each is None else (each.domain, each.port) for each in (after, before))
    name = before.domain if config.mode != INDEPENDENT else f"NODE.{before.domain}"
    if peers and where != was:
        said.append(
            Reason(
                "the files of {peers} say {endpoint}, and work only as long as nodes answer there",
                peers=peers,
                endpoint=f"{name}:{before.port}",
            )
        )
    if before.dns is not None and (after is None or after.dns is None or after.domain != before.domain):
        said.append(
            Reason(
                "{name} is withdrawn from {provider}",
                name=before.dns.record_name or name,
                provider=before.dns.provider,
            )
        )
    floating = () if after is None else after.floating.addresses
    said += [
        Reason("{address} is taken from the node that has it: who is connected there loses it", address=address)
        for address in before.floating.addresses
        if address not in floating
    ]
    if after is not None and before.auto_migrate and not after.auto_migrate:
        said.append(Reason("when a node fails, nobody is moved to others"))
    return said


def of_node(tx: Tx, node: Node, before: list[str], called_at: tuple[str, int], group_id: str | None) -> list[str]:
    """Say what other addresses of a node, or another node group, mean.

    `before`: the earlier endpoints, `called_at`: where its agent was, `group_id`: the group it was in.
    """
    said = _of_endpoints(tx, node, before)
    if node.connected and called_at != (node.agent_host, node.agent_port):
        said.append(
            Reason(
                "the panel calls the agent of {node!r} at {host}, port {port}, from now on; where it does not answer, "
                "no change reaches it any more, and its users are served as they are",
                node=node.name,
                host=node.agent_host,
                port=node.agent_port,
            )
        )
    if group_id != node.group_id and (configs := backbone.within_groups(tx, node.id)):
        said.append(
            Reason(
                "users of {configs} at {node!r}, and at the other nodes of the group that it was in, no longer reach "
                "each other, nor networks behind each other; those of its new group do",
                configs=", ".join(configs),
                node=node.name,
            )
        )
    return said


def _of_endpoints(tx: Tx, node: Node, before: list[str]) -> list[str]:
    configs = node_rows.config_names(tx, [node.id])[node.id]
    wanted = node.next_endpoint_addresses or node.endpoint_addresses
    gone = [address for address in before if address not in wanted]
    if not configs or before == wanted:
        return []
    said: list[str] = []
    if gone:
        said.append(
            Reason(
                "{gone} leaves the names of {configs}; {peers} at "
                "home on {node!r}, and files that say it, work only as long as it answers there",
                gone=", ".join(gone),
                configs=", ".join(configs),
                peers=_number(homes.of_nodes(tx, [node.id])),
                node=node.name,
            )
        )
    if node.next_endpoint_addresses:
        new = [address for address in wanted if address not in before]
        said.append(
            Reason(
                "nothing of that happens before {node!r} answers the panel at {new}, at the port that "
                "clients use; until then {before} stays published",
                node=node.name,
                new=", ".join(new),
                before=", ".join(before),
            )
        )
    else:
        said.append(
            Reason(
                "{node!r} is probed at {wanted}: if nobody answers there, it is taken for "
                "dead, and its users are moved to other nodes",
                node=node.name,
                wanted=", ".join(wanted),
            )
        )
    return said


def of_backbone_port(config: Config, assignment: Assignment, node: Node) -> list[str]:
    """Say what another public port of a node's end of the backbone means."""
    if not backbone.wanted(config):
        return [Reason("nothing as long as config {config!r} has no backbone", config=config.name)]
    (port,) = backbone.ports_outside(config, assignment.public_backbone_port)
    return [
        Reason(
            "the other nodes call {node!r} at UDP port {port} for the backbone from now on; where nobody answers, "
            "and it reaches none of them either, its users and those of other nodes do not reach each other",
            node=node.name,
            port=port,
        )
    ]


def of_assignment(config: Config, assignment: Assignment, node: Node, files_port: int | None, homed: int) -> list[str]:
    """Say what another public port of a node means. `files_port`: that of the config's name, if it has one."""
    at, before = assignment.next_public_port, assignment.public_port
    wanted = before if at is None else at or None
    said: list[str] = []
    if files_port is None and homed:
        said.append(
            Reason(
                "files of {peers} at home on {node!r} keep the port that they say, and work only as "
                "long as it leads there",
                peers=_number({"": homed}),
                node=node.name,
            )
        )
    if files_port is not None and (trouble := public_ports.trouble(files_port, wanted)):
        said.append(
            Reason(
                "the name of {config!r} no longer lists {node!r}: {trouble}",
                config=config.name,
                node=node.name,
                trouble=trouble,
            )
        )
    if at is None:
        said.append(
            Reason(
                "{node!r} is probed at port {port}: if nobody answers there, it is taken for "
                "dead, and its users are moved to other nodes",
                node=node.name,
                port=wanted or config.listen_port,
            )
        )
    else:
        said.append(
            Reason(
                "nothing of that happens before {node!r} answers the panel at port {port}",
                node=node.name,
                port=wanted or config.listen_port,
            )
        )
    return said


def of_node_deletion(tx: Tx, node: Node) -> list[str]:
    """Say what is lost with a node, which has no config any more."""
    said: list[str] = [
        Reason("the agent of {node!r} is no longer managed; it comes back only with a new join token", node=node.name)
    ]
    if owed := node_rows.owed_interfaces(tx, node.id):
        said.append(
            Reason(
                "{owed} goes on serving on that machine until its agent answers, or a month is over",
                owed=", ".join(owed),
            )
        )
    if relayed := node_deletion.relayed(tx, node):
        said.append(
            Reason(
                "who is relayed by it stays there, and is cut off when that machine ends: {relayed}", relayed=relayed
            )
        )
    return said


def of_peer_deletion(peer: Peer) -> list[str]:
    """Say what is lost with a peer."""
    return [
        Reason(
            "{peer!r} is cut off, and its file never works again, even if one of that name is made again",
            peer=peer.name,
        )
    ]


def _peers(tx: Tx, config: Config) -> str:
    """Return the number of a config's peers in words; "" where there are none."""
    return _number(homes.of_configs(tx, [config.id]), none="")


def _number(counts: Mapping[str, int], none: str = Reason("no peers")) -> str:
    number = sum(counts.values())
    return peer_counts.in_words(number) if number else none
