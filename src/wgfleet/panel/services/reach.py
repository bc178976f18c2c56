"""Settings of what users of a config reach through its nodes: in canonical form, and as nodes get them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from wgfleet.panel.domain.fields import check_list, parse_networks
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.errors import Conflict, Invalid, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, generations
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.tables import Config
from wgfleet.protocol.features import Feature
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.messages import AGENT_PORT
from wgfleet.protocol.reach import Reach, is_open, parse_node_port
from wgfleet.protocol.reasons import Reason


def checked(tx: Tx, changes: Mapping[str, Any], own: str) -> dict[str, list[str]]:
    """Return those changes of a config that are of this subject in canonical form, or name the first that is wrong.

    `own`: the name of the config itself.
    """
    values: dict[str, list[str]] = {}
    if "node_ports" in changes:
        check_list(changes["node_ports"], "node_ports")
        ports = [parse_node_port(text, f"node_ports[{i}]") for i, text in enumerate(changes["node_ports"])]
        values["node_ports"] = list(dict.fromkeys(ports))
        _check_no_agent_is_there(tx, ports)
    if "denied_networks" in changes:
        values["denied_networks"] = parse_networks(changes["denied_networks"], "denied_networks")
    if "reachable_configs" in changes:
        values["reachable_configs"] = _resolved(tx, changes["reachable_configs"], own)
    return values


def _check_no_agent_is_there(tx: Tx, node_ports: Sequence[str]) -> None:
    """Refuse ports of agents: users never reach one, so that opening its port would do nothing."""
    config_rows.serialize_creation(tx)  # an agent's port may be changed at the same time
    agents = node_rows.agent_ports(tx)
    # Before there is a node: the port that its agent most likely has.
    owners: dict[int, str] = {
        port: Reason("the agent of node {name!r}", name=name) for port, name in agents.items()
    } or {AGENT_PORT: "agents"}
    for i, text in enumerate(node_ports):
        found = next((port for port in sorted(owners) if is_open(text, "tcp", port)), None)
        if found is not None:
            raise Conflict(
                Reason(
                    "{text} has port {found} of {owner}, which users never reach; leave that port out",
                    text=text,
                    found=found,
                    owner=owners[found],
                ),
                field=f"node_ports[{i}]",
            )


def check_agent_port(tx: Tx, port: int, field: str) -> None:
    """Refuse a port for an agent that a config opens to users: they would not reach what they are to reach there."""
    config_rows.serialize_creation(tx)
    for name, node_ports in config_rows.node_ports(tx):
        found = next((text for text in node_ports if is_open(text, "tcp", port)), None)
        if found is not None:
            raise Conflict(
                Reason(
                    "config {name!r} opens {found} of its nodes to users, and users never reach an agent; choose "
                    "another port for the agent, or take it out of the config's node_ports",
                    name=name,
                    found=found,
                ),
                field=field,
            )


def _resolved(tx: Tx, references: Sequence[str], own: str) -> list[str]:
    """Return the ids of other configs by ids or names."""
    check_list(references, "reachable_configs")
    found: list[str] = []
    for i, reference in enumerate(references):
        field = f"reachable_configs[{i}]"
        config = config_rows.find(tx, reference)
        if config is None:
            raise NotFound(
                Reason("there is no config {reference!r}", reference=reference),
                Hint(HintCode.LIST_CONFIGS),
                field=field,
            )
        if config.name == own:
            raise Invalid(Reason("users of one config reach each other anyway; leave it out"), field=field)
        found.append(config.id)
    return list(dict.fromkeys(found))


def names(tx: Tx, config_ids: Collection[str]) -> dict[str, str]:
    """Return the names of configs, by id."""
    return config_rows.names(tx, config_ids)


def rendered(tx: Tx, config: Config) -> Reach:
    """Return what nodes get."""
    of = names(tx, config.reachable_configs)
    return Reach(
        node_ports=tuple(config.node_ports),
        denied_networks=tuple(config.denied_networks),
        interfaces=tuple(InterfaceName(of[other]) for other in config.reachable_configs if other in of),
        client_to_client=config.client_to_client,
    )


def mixing(tx: Tx, rows: Sequence[Config]) -> dict[str, list[str]]:
    """Return, by config id, the nodes on which users reach each other though they are not to: of agents too old."""
    apart = [config.id for config in rows if not config.client_to_client]
    found: dict[str, list[str]] = {}
    for assignment, node in assignment_rows.with_nodes(tx, apart) if apart else ():
        is_heard = node.connected or node.agent_version is not None
        if is_heard and assignment.phase != Phase.REMOVED and Feature.BACKBONE not in node.agent_features:
            found.setdefault(assignment.config_id, []).append(node.name)
    return found


def forget(tx: Tx, actor: str, config: Config) -> None:
    """Take a config that goes out of what others may reach; another may have its name later."""
    for other in config_rows.reaching(tx, config.id):
        generations.bump(tx, other.id, settings=True)
        left = [each for each in other.reachable_configs if each != config.id]
        other.reachable_configs = left
        audit.record(tx, actor, "updated", "config", other.id, name=other.name, reachable_configs=left)
