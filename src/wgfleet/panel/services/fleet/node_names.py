"""Nodes whose addresses change, and that have a name for it: its addresses are theirs, and are followed.

A name is looked up outside of transactions; here it is read what was found last.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from wgfleet.panel.domain.fields import parse_public_address
from wgfleet.panel.domain.host_names import UNANSWERED
from wgfleet.panel.errors import Conflict, Invalid, PanelError
from wgfleet.panel.services import audit
from wgfleet.panel.store import Tx
from wgfleet.panel.store import host_names as host_name_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.nodes import AnyNode
from wgfleet.panel.store.tables import HostName, Node
from wgfleet.protocol.domains import parse_domain, refuse_single_label
from wgfleet.protocol.reasons import Reason, words_of

FIELD = "endpoint_name"


def resolved(tx: Tx, changes: Mapping[str, Any], node: Node | None = None) -> dict[str, Any]:
    """Return changes of a node with its name in canonical form, and the addresses of that as its own."""
    values = dict(changes)
    named = values.get(FIELD)
    if named is None:
        if (
            node is not None
            and node.endpoint_name is not None
            and FIELD not in values
            and "endpoint_addresses" in values
        ):
            raise Conflict(
                Reason(
                    "node {node!r} has the addresses of {endpoint_name}; set endpoint_name to null along with "
                    "addresses of its own",
                    node=node.name,
                    endpoint_name=node.endpoint_name,
                ),
                field="endpoint_addresses",
            )
        return values
    if values.get("endpoint_addresses"):
        raise Invalid(Reason("give a name or addresses, not both: the addresses of a name are followed"), field=FIELD)
    name = values[FIELD] = parse_domain(named, FIELD)
    refuse_single_label(name, FIELD)
    row = host_name_rows.get(tx, name)
    values["endpoint_addresses"] = _usable(row)
    if not values["endpoint_addresses"]:
        raise Invalid(_useless(name, row), field=FIELD)
    return values


def _usable(row: HostName | None) -> list[str]:
    """Return the addresses of a name at which clients may reach a node."""
    found = []
    for address in () if row is None else row.addresses:
        with contextlib.suppress(Invalid):
            found.append(parse_public_address(address, FIELD))
    return found


def _useless(name: str, row: HostName | None) -> str:
    if row is not None and row.error in UNANSWERED:
        return Reason(
            "{name} could not be looked up ({error}); try again in a minute, or see to this machine's resolver",
            name=name,
            error=row.error,
        )
    if row is None or not row.addresses:
        why = "" if row is None or not row.error else Reason(" ({error})", error=row.error)
        return Reason(
            "{name} is not found{why}; make it first, with the address that the node has now", name=name, why=why
        )
    return Reason(
        "{name} leads to {addresses}, where no client reaches a node", name=name, addresses=", ".join(row.addresses)
    )


def names(tx: Tx) -> list[str]:
    """Return the names of all nodes that have one."""
    return sorted({node.endpoint_name for node in node_rows.named(tx) if node.endpoint_name is not None})


def moved(tx: Tx) -> list[tuple[str, list[str]]]:
    """Return the nodes, by id, whose names lead to other addresses than the node has or waits for."""
    found = []
    rows = host_name_rows.by_names(tx, names(tx))
    for node in node_rows.named(tx):
        row = rows.get(node.endpoint_name or "")
        addresses = [] if row is None or row.error is not None else _usable(row)
        if addresses and {*addresses} != {*(node.next_endpoint_addresses or node.endpoint_addresses)}:
            found.append((node.id, addresses))
    return found


def warnings(tx: Tx, nodes: Sequence[AnyNode]) -> dict[str, str]:
    """Say of nodes, by id, what is wrong with their names."""
    rows = host_name_rows.by_names(tx, [node.endpoint_name for node in nodes if node.endpoint_name is not None])
    said: dict[str, str] = {}
    for node in nodes:
        if (name := node.endpoint_name) is None or (row := rows.get(name)) is None:
            continue
        usable = _usable(row)
        if row.error is not None:
            said[node.id] = Reason(
                "{name} is not found just now ({error}); the node keeps the addresses that it had",
                name=name,
                error=row.error,
            )
        elif not usable:
            said[node.id] = Reason("{what}; it keeps the addresses that it had", what=_useless(name, row))
        elif {*usable} != {*(node.next_endpoint_addresses or node.endpoint_addresses)}:
            said[node.id] = Reason(
                "{name} leads to {addresses}, which the node does not have (yet); the audit log says why",
                name=name,
                addresses=", ".join(usable),
            )
    return said


def refused(tx: Tx, node_id: str, addresses: Sequence[str], error: PanelError) -> None:
    """Note why the addresses of a node's name are not used."""
    audit.record(
        tx, audit.PANEL, "addresses_refused", "node", node_id, addresses=list(addresses), reason=words_of(error)
    )
