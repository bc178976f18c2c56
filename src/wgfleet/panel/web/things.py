"""Names of the configs and nodes that rows are about; of those that are gone, nothing."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.store import Tx


class About(Protocol):
    """A row about a config, a node, or both."""

    @property
    def config_id(self) -> str | None: ...
    @property
    def node_id(self) -> str | None: ...


class Names:
    """Names by id; `name` is empty for what is gone."""

    def __init__(self, of_configs: Mapping[str, str], of_nodes: Mapping[str, str]) -> None:
        self.configs = of_configs
        self.nodes = of_nodes


def names_of(tx: Tx, rows: Iterable[About]) -> Names:
    """Return the names of all that rows are about."""
    found = list(rows)
    return by_ids(
        tx, {each.config_id for each in found if each.config_id}, {each.node_id for each in found if each.node_id}
    )


def by_ids(tx: Tx, config_ids: Iterable[str], node_ids: Iterable[str]) -> Names:
    """Return the names of configs and nodes by their ids."""
    return Names(configs.names(tx, set(config_ids)), nodes.names(tx, set(node_ids)))
