"""The backbone of a config as a node gets it: its own links, and which other nodes are at their ends.

Nodes use the key that they probe each other with; so it is made, sealed, replaced and revoked as that is.
"""

from collections.abc import Collection

from wgfleet.panel.domain import backbone as ports
from wgfleet.panel.domain import public_ports
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import generations
from wgfleet.panel.services.configs import INDEPENDENT
from wgfleet.panel.services.fleet import probe_keys
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store.tables import Assignment, Config, Node
from wgfleet.panel.vault import Vault
from wgfleet.protocol.addresses import join_endpoint
from wgfleet.protocol.backbone import MAX_NUMBER, Backbone, BackboneNode
from wgfleet.protocol.features import Feature
from wgfleet.protocol.keys import PrivateKey, PublicKey


def rendered(tx: Tx, vault: Vault, config: Config, assignment: Assignment) -> Backbone | None:
    """Return what a node gets; None where there is no backbone. Nodes whose agents do not know of it are left out."""
    if not wanted(config) or not _has_number(assignment):
        return None
    port = ports.port(config.listen_port, config.backbone_port)
    new = probe_keys.agents_use_new(tx, config.id)
    pairs = sorted(assignment_rows.of_config(tx, config.id), key=lambda pair: pair[0].number)
    groups = {other.id: node.group_id if config.backbone_within_groups else None for other, node in pairs}
    return Backbone(
        number=assignment.number,
        private_key=PrivateKey(probe_keys.of_node(vault, assignment, new=new)),
        port=port,
        tunnel_port=ports.tunnel_port(port),
        nodes=tuple(
            BackboneNode(
                number=other.number,
                name=node.name,
                public_key=PublicKey(probe_keys.public_of_node(other, new=new)),
                endpoint=join_endpoint(
                    node.endpoint_addresses[0], public_ports.from_outside(port, other.public_backbone_port)
                ),
            )
            for other, node in pairs
            if other.id != assignment.id
            and other.phase != Phase.REMOVED
            and _has_number(other)
            and _takes_part(node)
            and groups[other.id] == groups.get(assignment.id)
        ),
    )


def wanted(config: Config) -> bool:
    """Tell whether the nodes of a config are to have links to each other."""
    return config.backbone and config.client_to_client and config.mode != INDEPENDENT


def _has_number(assignment: Assignment) -> bool:
    """Whether there is an address for it on the links; beyond some 16,000 assignments there is none."""
    return 1 <= assignment.number <= MAX_NUMBER


def _takes_part(node: Node) -> bool:
    return Feature.BACKBONE in node.agent_features


def ports_outside(config: Config, own: int | None) -> frozenset[int]:
    """Return the port at which other nodes reach a node's end. `own`: what the router in front of it has, if any."""
    port = ports.port(config.listen_port, config.backbone_port)
    return frozenset({public_ports.from_outside(port, own)} if wanted(config) or own else ())


def node_changed(tx: Tx, node_id: str, *, group: bool = False) -> None:
    """Have the nodes of its configs hear that a node is elsewhere, or takes part now, or does no more.

    `group`: only its node group is another one.
    """
    concerned = (config for _, config in assignment_rows.of_node(tx, node_id) if wanted(config))
    for config_id in sorted(config.id for config in concerned if config.backbone_within_groups or not group):
        generations.bump(tx, config_id, settings=True)


def linked(tx: Tx, config_ids: Collection[str]) -> dict[str, int]:
    """Return how many nodes of each config are linked with each other: all of them, or those of its largest group."""
    found = dict.fromkeys(config_ids, 0)
    for config_id, within_groups, nodes in assignment_rows.by_group(tx, config_ids) if config_ids else ():
        found[config_id] = max(found[config_id], nodes) if within_groups else found[config_id] + nodes
    return found


def within_groups(tx: Tx, node_id: str) -> list[str]:
    """Return the names of a node's configs whose backbone links the nodes of its node group alone."""
    of_node = (config for _, config in assignment_rows.of_node(tx, node_id))
    return sorted(config.name for config in of_node if wanted(config) and config.backbone_within_groups)


def divided(tx: Tx, config: Config) -> bool:
    """Tell whether a config has nodes that its backbone does not link with each other."""
    return wanted(config) and config.backbone_within_groups and len(assignment_rows.by_group(tx, [config.id])) > 1
