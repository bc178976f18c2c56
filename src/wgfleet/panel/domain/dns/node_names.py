"""The names in DNS of the nodes of an independent config: each its own below one domain, `NODE.DOMAIN`. Pure."""

from collections.abc import Iterable

from wgfleet.protocol.domains import parse_domain
from wgfleet.protocol.errors import FieldError


def node_names(nodes: Iterable[tuple[str, str]], domain: str) -> dict[str, str]:
    """Return the names of nodes, (id, name), by their ids, the nodes in the order in which they came to the config.

    A node that can have none is left out: its own name is none of DNS, or another one has the same but for case.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for node_id, name in nodes:
        try:
            full = parse_domain(f"{name}.{domain}", "name")
        except FieldError:
            continue
        if full not in taken:
            taken.add(full)
            found[node_id] = full
    return found
