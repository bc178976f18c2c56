"""Names of independent configs' nodes that another config has already: refused before one of them gets it.

What leads to two places leads users to a node that does not know them. Two clusters may have one domain.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from wgfleet.panel.domain.dns.node_names import node_names
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services.configs import INDEPENDENT
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store.tables import Config, Node
from wgfleet.protocol.reasons import Reason


class _Owner(NamedTuple):
    """Who has a name: a config, and of an independent one which node."""

    config: str
    node: str | None


def check_group(tx: Tx, config: Config, names: Mapping[str, str]) -> None:
    """Refuse the names that a config's endpoint group shall have, by their fields: `domain`, and what is published."""
    taken = _taken(tx, config.id, {})
    if config.mode == INDEPENDENT:
        if (domain := names.get("domain")) is None:
            return
        for other, group in endpoint_group_rows.with_configs(tx):
            if other.id != config.id and other.mode == INDEPENDENT and group.domain == domain:
                said = Reason(
                    "config {config!r} has the domain {domain}; give another, below which this one's nodes have names",
                    config=other.name,
                    domain=domain,
                )
                raise Conflict(said, field="domain")
        _check_nodes(config, _of_nodes(tx, config, domain, {}), taken, "domain")
        return
    for field, name in names.items():
        if (owner := taken.get(name)) is not None and owner.node is not None:
            said = Reason(
                "{name} is the name of node {node!r} of config {config!r}; give another",
                name=name,
                node=owner.node,
                config=owner.config,
            )
            raise Conflict(said, field=field)


def check_assigned(tx: Tx, config: Config, node: Node) -> None:
    """Refuse that a node comes to a config, where it would have a name of another config."""
    group = endpoint_group_rows.get(tx, config.id)
    if config.mode == INDEPENDENT and group is not None:
        before = _of_nodes(tx, config, group.domain, {})
        assigned = [(each.id, each.name) for _, each in assignment_rows.of_config(tx, config.id)]
        after = _named([*assigned, (node.id, node.name)], group.domain)
        _check_nodes(config, _new(before, after), _taken(tx, config.id, {}), "node_id")


def check_renamed(tx: Tx, node: Node, name: str) -> None:
    """Refuse another name of a node, where it would have a name of another config for it."""
    renamed = {node.id: name}
    for _, config in assignment_rows.of_node(tx, node.id):
        group = endpoint_group_rows.get(tx, config.id)
        if config.mode == INDEPENDENT and group is not None:
            before, after = (_of_nodes(tx, config, group.domain, each) for each in ({}, renamed))
            _check_nodes(config, _new(before, after), _taken(tx, config.id, renamed), "name")


def _check_nodes(config: Config, names: Mapping[str, str], taken: Mapping[str, _Owner], field: str) -> None:
    for name, node in names.items():
        if (owner := taken.get(name)) is None:
            continue
        if owner.node is None:
            said = Reason(
                "node {node!r} of config {config!r} would have the name {name}, which is the one of config {other!r}",
                node=node,
                config=config.name,
                name=name,
                other=owner.config,
            )
        else:
            said = Reason(
                "node {node!r} of config {config!r} would have the name {name}, which node {theirs!r} of config "
                "{other!r} has",
                node=node,
                config=config.name,
                name=name,
                theirs=owner.node,
                other=owner.config,
            )
        raise Conflict(said, field=field)


def _taken(tx: Tx, config_id: str, renamed: Mapping[str, str]) -> dict[str, _Owner]:
    """Return who has which names, of all configs but one. `renamed`: new names of nodes, by id."""
    found: dict[str, _Owner] = {}
    for config, group in endpoint_group_rows.with_configs(tx):
        if config.id == config_id:
            continue
        if config.mode == INDEPENDENT:
            names = _of_nodes(tx, config, group.domain, renamed)
            found |= {name: _Owner(config.name, node) for name, node in names.items()}
        else:
            for name in {group.domain, group.dns_record_name} - {None}:
                found.setdefault(name or "", _Owner(config.name, None))
    return found


def _of_nodes(tx: Tx, config: Config, domain: str, renamed: Mapping[str, str]) -> dict[str, str]:
    """Return the nodes of an independent config by the names that they have in DNS."""
    assigned = assignment_rows.of_config(tx, config.id)
    return _named([(node.id, renamed.get(node.id, node.name)) for _, node in assigned], domain)


def _named(nodes: Iterable[tuple[str, str]], domain: str) -> dict[str, str]:
    listed = list(nodes)
    called = dict(listed)
    return {name: called[node_id] for node_id, name in node_names(listed, domain).items()}


def _new(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    return {name: node for name, node in after.items() if name not in before}
