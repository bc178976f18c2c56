"""Values of nodes: what may be set, checked and in canonical form."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypedDict

from wgfleet.panel.domain.fields import check_list, check_range, parse_agent_host, parse_name, parse_public_address
from wgfleet.panel.errors import Invalid
from wgfleet.panel.services import tunnel_networks
from wgfleet.panel.services.fleet import node_groups
from wgfleet.panel.services.floating import addresses
from wgfleet.panel.store import Tx
from wgfleet.protocol.addresses import parse_port
from wgfleet.protocol.reasons import Reason

MAX_WEIGHT = 1_000_000.0
MAX_CAPACITY = 10_000_000  # peers
MAX_BANDWIDTH = 10_000_000  # Mbit/s


class NodeChanges(TypedDict, total=False):
    """What may change in a node; what is left out stays. `group` is an id or a name, None for no group.

    `endpoint_name`: its addresses are to be those of this name; None: they are set.
    """

    name: str
    endpoint_addresses: Sequence[str]
    endpoint_name: str | None
    agent_host: str
    agent_port: int
    weight: float
    capacity: int | None
    bandwidth_mbps: int | None
    group: str | None


def check_witness(changes: NodeChanges) -> None:
    """Refuse what a witness, which serves nobody, cannot have."""
    for name in ("endpoint_addresses", "endpoint_name"):
        if changes.get(name):
            raise Invalid(Reason("a witness serves no clients: give agent_host alone"), field=name)
    for field, value in (("capacity", changes.get("capacity")), ("bandwidth_mbps", changes.get("bandwidth_mbps"))):
        if value is not None:
            raise Invalid(Reason("a witness serves no clients: it has none"), field=field)


def checked(tx: Tx, changes: NodeChanges, *, witness: bool = False) -> dict[str, Any]:
    """Return the changes as columns in canonical form, or name the first that is wrong."""
    values: dict[str, Any] = dict(changes)
    if "name" in changes:
        parse_name(changes["name"])
    if "endpoint_addresses" in changes and not witness:
        values["endpoint_addresses"] = _parse_endpoint_addresses(changes["endpoint_addresses"])
        given = {f"endpoint_addresses[{i}]": address for i, address in enumerate(values["endpoint_addresses"])}
        addresses.check_free(tx, given)
    if "agent_host" in changes:
        values["agent_host"] = parse_agent_host(changes["agent_host"], "agent_host")
        addresses.check_free(tx, {"agent_host": values["agent_host"]})
    if "agent_port" in changes:
        parse_port(changes["agent_port"], "agent_port")
    if "weight" in changes and not (math.isfinite(changes["weight"]) and 0 < changes["weight"] <= MAX_WEIGHT):
        raise Invalid(
            Reason(
                "must be above 0 and at most {max_weight:g}, not {weight}",
                max_weight=MAX_WEIGHT,
                weight=changes["weight"],
            ),
            field="weight",
        )
    if changes.get("capacity") is not None:
        check_range(values["capacity"], 0, MAX_CAPACITY, "capacity", "peers")
    if changes.get("bandwidth_mbps") is not None:
        check_range(values["bandwidth_mbps"], 1, MAX_BANDWIDTH, "bandwidth_mbps", "Mbit/s")
    if "group" in changes:
        group = values.pop("group")
        values["group_id"] = None if group is None else node_groups.named(tx, group, "group").id
    return values


def check_outside(tx: Tx, values: Mapping[str, Any], known: Collection[str] = ()) -> None:
    """Refuse new addresses that the nodes route into a tunnel."""
    for i, address in enumerate(values.get("endpoint_addresses", ())):
        if address not in known:
            tunnel_networks.check_outside(tx, address, f"endpoint_addresses[{i}]")
    if "agent_host" in values and values["agent_host"] not in values.get("endpoint_addresses", ()):
        tunnel_networks.check_outside(tx, values["agent_host"], "agent_host")


def _parse_endpoint_addresses(texts: Sequence[str]) -> list[str]:
    field = "endpoint_addresses"
    check_list(texts, field)
    if not texts:
        raise Invalid(Reason("give at least one address at which clients reach the node"), field=field)
    found: list[str] = []
    for i, text in enumerate(texts):
        address = parse_public_address(text, f"{field}[{i}]")
        if address in found:
            raise Invalid(Reason("{address} is in the list twice", address=address), field=f"{field}[{i}]")
        found.append(address)
    return found
