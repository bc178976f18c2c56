"""Witnesses: which of them look at the nodes of which config, and whose word does not count there.

One on the machine of the panel, or of a node of the config, sees what that sees: it would be one vantage point with
two votes.
"""

import ipaddress
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from wgfleet.panel.domain.fields import is_address
from wgfleet.panel.domain.health.votes import PANEL
from wgfleet.panel.services.fleet.shared_addresses import Place, beside_panel
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import host_names as host_name_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import witness_keys as witness_rows
from wgfleet.panel.store.tables import Config, Node, WitnessKey
from wgfleet.protocol.features import Feature
from wgfleet.protocol.ids import NodeId
from wgfleet.protocol.reasons import Reason

_PROBES = Feature.WITNESS.value
_BESIDE_PANEL = Reason("it runs on the panel's machine and sees what the panel sees: its word does not count")


@dataclass(frozen=True, slots=True)
class WitnessOfConfig:
    """A witness that looks at the nodes of a config, and the key with which it does."""

    key: WitnessKey
    config: Config
    node: Node


def looking(tx: Tx, config_id: str | None = None) -> list[WitnessOfConfig]:
    """Return which witnesses look at the nodes of which configs, or of one, but for those that have no say there."""
    found = witness_rows.witnesses(tx)
    if not found:
        return []
    beside = _beside(tx, found, node_rows.everything(tx))
    carriers: dict[str, set[str]] = defaultdict(set)
    return [
        WitnessOfConfig(key, config, node)
        for key, config, node in witness_rows.looking(tx, config_id)
        if not (where := beside[node.id]) or (PANEL not in where and not where & _carriers(tx, config.id, carriers))
    ]


def _carriers(tx: Tx, config_id: str, known: dict[str, set[str]]) -> set[str]:
    if config_id not in known:
        known[config_id] = {assignment.node_id for assignment, _ in assignment_rows.of_config(tx, config_id)}
    return known[config_id]


def warnings(tx: Tx) -> dict[str, str]:
    """Say of witnesses, by id, why they do not look, or why their word does not count."""
    found = witness_rows.witnesses(tx)
    if not found:
        return {}
    everything = node_rows.everything(tx)
    beside = _beside(tx, found, everything)
    names = {node.id: node.name for node in everything}
    said: dict[str, str] = {}
    blind = _blind(tx)
    for node in found:
        where = beside[node.id]
        if PANEL in where:
            said[node.id] = _BESIDE_PANEL
        elif where:
            name = min(names[node_id] for node_id in where)
            said[node.id] = Reason(
                "it runs on the machine of node {node!r} and sees what that sees: its word does not count for the "
                "configs of that node",
                node=name,
            )
        elif node.certificate_expires_at is not None and not node.connected:
            said[node.id] = Reason("its agent does not answer, so it confirms nothing")
        elif node.agent_version is not None and _PROBES not in node.agent_features:
            said[node.id] = Reason("its agent is too old to be a witness: upgrade it")
        elif node.id in blind:
            said[node.id] = blind[node.id]
    return said


def note_unreached(tx: Tx, found: Mapping[tuple[str, NodeId], int]) -> None:
    """Write down, by config and witness, how many nodes others reach of which it reaches none."""
    for (config_id, node_id), unreached in found.items():
        row = witness_rows.get(tx, config_id, node_id)
        if row is not None:  # else it was deleted meanwhile
            row.unreached = unreached


def _blind(tx: Tx) -> dict[str, str]:
    """Say of the witnesses, by id, that reach none of the nodes of a config that others reach."""
    where: dict[str, list[WitnessOfConfig]] = defaultdict(list)
    for each in looking(tx):
        if each.key.unreached:
            where[each.node.id].append(each)
    return {
        node_id: Reason(
            "it reaches none of the nodes that others reach ({nodes} of {configs}): let UDP out of its machine, and "
            "check its firewall; until then its word does not count there",
            nodes=sum(each.key.unreached for each in found),
            configs=", ".join(sorted(each.config.name for each in found)),
        )
        for node_id, found in where.items()
    }


def _beside(tx: Tx, found: Sequence[Node], everything: Iterable[Node]) -> dict[str, set[str]]:
    """Return of each witness on the machines of which nodes it runs; `PANEL`: on the panel's."""
    nodes = [node for node in everything if not node.witness]
    hosts = {node.agent_host for node in (*found, *nodes) if not is_address(node.agent_host)}
    names = {name: row.addresses for name, row in host_name_rows.by_names(tx, hosts).items()}
    places = {node.id: _addresses(node, names) for node in nodes}
    panels = {node.id for node in nodes if beside_panel(node) or _is_local([node.agent_host])}
    beside: dict[str, set[str]] = {}
    for witness in found:
        own = _addresses(witness, names)
        where = {node_id for node_id, addresses in places.items() if addresses & own}
        beside[witness.id] = where | ({PANEL} if _is_local(own) or where & panels else set())
    return beside


def _is_local(hosts: Collection[str]) -> bool:
    return any(is_address(host) and ipaddress.ip_address(host).is_loopback for host in hosts)


def _addresses(node: Node, names: Mapping[str, Collection[str]]) -> set[str]:
    return Place.of({}, node).hosts(names) | {*node.endpoint_addresses}
