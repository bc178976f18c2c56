"""The state of a whole fleet as a person asks for it: read from the API's lists, and what of it is wrong."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from wgfleet.cli.client import CallFailed, Client, Document, part
from wgfleet.cli.config_health import (
    first_look_warnings,
    forwarding_warnings,
    no_failover_warnings,
    owed_warnings,
    relay_warning,
)
from wgfleet.cli.output import age
from wgfleet.cli.waiting import trouble

IN_USE = ("serving", "suspect", "unmanaged")  # health in which clients use a node
SETTLES_S = 10.0  # after a floating address was given to a node
NAMED = 5  # nodes of a warning; the others are counted
WAITING = ("failing", "conflict", "approval")  # states of a name that somebody should look at


@dataclass(frozen=True)
class FleetState:
    """Documents of the API, the sentences that follow from them, and those that are not wrong but worth knowing."""

    configs: list[Document]
    assigned: dict[str, list[Document]]  # by config's id
    nodes: list[Document]
    operations: list[Document]
    names: list[Document]
    unpublished: dict[str, str] = field(default_factory=dict)  # domains that nobody publishes, by config's id
    wrong: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    no_failover: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return it for programs, with the API's own documents."""
        return {
            "configs": [{**config, "assignments": self.assigned[config["id"]]} for config in self.configs],
            "operations": self.operations,
            "names": self.names,
            "no_failover": self.no_failover,
        }


def read(client: Client) -> FleetState:
    """Read everything, and say what of it is wrong."""
    configs = client.all("/api/configs")
    running = [each for state in ("pending", "running") for each in client.all("/api/operations", state=state)]
    state = FleetState(
        configs,
        {config["id"]: client.all(f"/api/configs/{part(config['id'])}/nodes") for config in configs},
        client.all("/api/nodes"),
        running,
        client.all("/api/dns"),
    )
    freeze = client.get("/api/health/freeze")["freeze"]
    if freeze is not None:
        waiting = ", ".join(node["node_name"] for node in freeze["nodes"])
        state.wrong.append(f"{freeze['reason']}: {waiting}; are they down? wgfleet config health-approve")
    for config in configs:
        if config["mode"] == "cluster" and _name(config, state) is None and (domain := _domain(client, config)):
            state.unpublished[config["id"]] = domain
        state.wrong.extend(_wrong_with(config, state.assigned[config["id"]]))
        state.wrong.extend(_wrong_addresses(client, config))
    state.wrong.extend(_wrong_nodes(state.nodes))
    state.wrong.extend(_wrong_names(state.names))
    state.wrong.extend(_wrong_operations(running))
    _warn(state)
    return state


def config_row(config: Document, state: FleetState) -> Document:
    """Return a config with who serves it, and its name."""
    assigned = state.assigned[config["id"]]
    name = _name(config, state)
    return {
        "config": config["name"],
        "served_by": [_served(node) for node in assigned if _serves(node)] or "nobody",
        "peers": config["peers"],
        "name": f"{name['name']} ({name['state']})" if name else state.unpublished.get(config["id"]),
        "addresses": name["published"] if name else None,
    }


def _name(config: Document, state: FleetState) -> Document | None:
    return next((each for each in state.names if each["config_id"] == config["id"] and not each["withdrawn"]), None)


def _domain(client: Client, config: Document) -> str | None:
    try:
        return str(client.get(f"/api/configs/{part(config['id'])}/endpoint-group")["domain"])
    except CallFailed as refused:
        if refused.status == HTTPStatus.NOT_FOUND:
            return None  # it has no endpoint group
        raise


def _served(node: Document) -> str:
    return str(node["node_name"]) if node["health"] == "serving" else f"{node['node_name']} ({node['health']})"


def _serves(node: Document) -> bool:
    return node["phase"] in {"serving", "draining"} and node["health"] in IN_USE


def _wrong_with(config: Document, assigned: list[Document]) -> Iterable[str]:
    name = config["name"]
    if config["enabled"] and config["peers"] and not any(_serves(node) for node in assigned):
        its = f"its {config['peers']} peer{'s' * (config['peers'] != 1)}"
        yield f"{name}: nobody serves {its}" + ("" if assigned else "; it has no node")
    for node in assigned:
        where = f"{name} on {node['node_name']}"
        if node["phase"] == "joining" and node["health"] == "serving":
            yield f"{where}: it does not serve yet: {node['summary']}"
        elif node["health"] != "serving":
            yield f"{where}: {node['health']} for {age(node['health_since'])}: {node['health_reason']}"
        if node["drift"]:
            yield f"{where}: it differs from what is wanted: {', '.join(node['drift'])}"
    warnings = owed_warnings(assigned) + first_look_warnings(assigned) + forwarding_warnings(assigned)
    yield from (f"{name}: {each}" for each in warnings)


def _wrong_addresses(client: Client, config: Document) -> Iterable[str]:
    for each in client.all(f"/api/configs/{part(config['id'])}/floating-addresses"):
        found = [reason for reason in (each["conflict"], each["error"]) if reason]
        if not found and each.get("held") is False and each["leaving_node_id"] is None and _is_older(each["since"]):
            found = [f"{each['node_name']} is to have it, and says that it has not"]
        yield from (f"{config['name']}: floating address {each['address']}: {reason}" for reason in found)


def _is_older(moment: str) -> bool:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds() > SETTLES_S


def _wrong_nodes(nodes: list[Document]) -> Iterable[str]:
    for node in nodes:
        if node["joined"] and not node["connected"]:
            seen = f", last heard {age(node['last_seen_at'])} ago" if node["last_seen_at"] else ""
            yield f"node {node['name']}: the panel does not reach its agent{seen}: {node['summary']}"
        for warning in ("endpoint_warning", "agent_host_warning", "witness_warning", "clock_warning"):
            if node.get(warning):
                yield f"node {node['name']}: {node[warning]}"


def _wrong_names(names: list[Document]) -> Iterable[str]:
    for each in names:
        if each["state"] in WAITING:
            what = each["error"] or f"see `wgfleet dns show {each['config']}`"
            yield f"name {each['name']}: {each['state']}: {what}"


def _wrong_operations(operations: list[Document]) -> Iterable[str]:
    for each in operations:
        if (reason := trouble(each)) is not None:
            yield f"operation {each['kind'].replace('_', ' ')} is tried again: {reason}"


def _alike(nodes: list[Document], warning: str) -> Iterable[str]:
    """Say a warning once for all nodes that have it: an upgrade gives it to the whole fleet."""
    by_words: dict[str, list[str]] = {}
    for node in nodes:
        if node.get(warning):
            by_words.setdefault(node[warning], []).append(node["name"])
    for words, names in by_words.items():
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        yield f"node{'s' * (len(names) > 1)} {', '.join(names[:NAMED])}{more}: {words}"


def _warn(state: FleetState) -> None:
    for warning in ("agent_warning", "private_endpoint_warning"):
        state.warnings.extend(_alike(state.nodes, warning))
    for node in state.nodes:
        if not node["joined"]:
            state.warnings.append(f"node {node['name']} has not joined yet: wgfleet node join {node['name']}")
        if clients := node.get("relayed_clients"):
            said = relay_warning(node["name"], clients, node["relayed_until"])
            silent = "" if node["connected"] else "; its agent is not heard, so it may have ended already"
            state.warnings.append(f"node {said}{silent}")
    for config in state.configs:
        warnings = filter(None, map(config.get, ("backbone_warning", "dns_warning", "pools_warning")))
        state.warnings.extend(f"{config['name']}: {each}" for each in warnings)
        if config["client_to_client_on"]:
            state.warnings.append(
                f"{config['name']}: users reach each other on {', '.join(config['client_to_client_on'])}, whose agents "
                "are too old to keep them apart"
            )
        state.no_failover.extend(
            f"{config['name']}: {each}" for each in _once(no_failover_warnings(state.assigned[config["id"]]))
        )


def _once(sentences: list[str]) -> list[str]:
    return list(dict.fromkeys(sentences))
