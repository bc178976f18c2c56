"""Public ports of nodes, by config: set, and used once the node answers there, as new addresses are."""

from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.errors import Invalid, PanelError
from wgfleet.panel.services import audit, config_ports, operations
from wgfleet.panel.services.configs import CLUSTER
from wgfleet.panel.services.fleet import assignments, backbone, old_files, shared_addresses
from wgfleet.panel.services.floating import isolation
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.tables import Assignment, Config, Node
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.addresses import parse_port
from wgfleet.protocol.reasons import Reason, words_of

NONE = 0  # as the next port: there shall be none


def change(
    tx: Tx, actor: str, config: Config, node: Node, public_port: int | None, *, force: bool = False
) -> Assignment:
    """Set a node's public port, None for none; of one that serves, it is used once it answers, with `force` at once."""
    assignment = assignments.get(tx, config, node)
    if public_port is not None:
        parse_port(public_port, "public_port")
    shared_addresses.check_assignment(tx, config, node, "public_port", public_port)
    if assignment.phase == Phase.REMOVED:
        raise Invalid(
            Reason("node {node!r} is being removed from config {config!r}", node=node.name, config=config.name),
            field="public_port",
        )
    changed: dict[str, int | None]
    if assignment.public_port == public_port:
        changed = {"next_public_port": None}
    elif force or assignment.phase == Phase.JOINING or not assignment.health.in_use or not config.enabled:
        changed = {"public_port": public_port, "next_public_port": None}
    else:
        changed = {"next_public_port": public_port or NONE}
    changed = {name: value for name, value in changed.items() if getattr(assignment, name) != value}
    if not changed:
        return assignment
    for name, value in changed.items():
        setattr(assignment, name, value)
    if "public_port" in changed:
        isolation.witnesses_changed(tx, node.id)
        config_ports.changed(tx, config.id)
        old_files.port_changed(tx, config, node)
    subject = operations.subject(config.id, node.id)
    audit.record(tx, actor, "updated", "config_node", subject, config=config.name, node=node.name, **changed)
    tx.wake(Topic.CONFIG, config.id)
    tx.wake(Topic.ASSIGNMENT, assignment.id)
    return assignment


def change_backbone(tx: Tx, actor: str, config: Config, node: Node, port: int | None) -> Assignment:
    """Set the port at which other nodes reach a node's end of the backbone, None for the config's. They use it now."""
    assignment = assignments.get(tx, config, node)
    if port is not None:
        parse_port(port, "public_backbone_port")
    shared_addresses.check_backbone_port(tx, config, node, assignment.public_port, port)
    if assignment.public_backbone_port == port:
        return assignment
    assignment.public_backbone_port = port
    backbone.node_changed(tx, node.id)
    subject = operations.subject(config.id, node.id)
    about = {"config": config.name, "node": node.name, "public_backbone_port": port}
    audit.record(tx, actor, "updated", "config_node", subject, **about)
    return assignment


def use_answering(tx: Tx, config_id: str, node_id: str) -> None:
    """Use the next public port of a node, which answers there."""
    assignment = assignment_rows.get(tx, config_id, node_id)
    config, node = config_rows.find(tx, config_id), node_rows.find(tx, node_id)
    if assignment is None or config is None or node is None or (wanted := assignment.next_public_port) is None:
        return
    try:
        change(tx, audit.PANEL, config, node, wanted or None, force=True)
    except PanelError as error:  # another node has taken it meanwhile
        assignment.next_public_port = None
        subject = operations.subject(config.id, node.id)
        audit.record(tx, audit.PANEL, "port_refused", "config_node", subject, port=wanted, reason=words_of(error))
        tx.wake(Topic.CONFIG, config.id)


def of_files(tx: Tx, config: Config) -> int | None:
    """Return the port in the files of a cluster's users, where they have a name; None: files lead to single nodes."""
    group = endpoint_group_rows.get(tx, config.id) if config.mode == CLUSTER else None
    return None if group is None else group.port
