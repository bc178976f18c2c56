"""`wgfleet config health` and `health-approve`: the health of a config's nodes, and what waits for a person."""

from typing import Annotated

import typer

from wgfleet.cli import watching
from wgfleet.cli.arguments import Config, SomeConfig
from wgfleet.cli.client import Client, Document, panel, part
from wgfleet.cli.confirmation import Yes, go_on
from wgfleet.cli.fields import show_fields
from wgfleet.cli.hints import sentence
from wgfleet.cli.output import AsJson, age, say, short, show_json, show_table, text
from wgfleet.cli.watching import Watch

NODES = ("node", "health", "for", "reason")
MOST_NAMES = 20  # of peers in a warning; `revocations` in the API has all
HISTORY = ("age", "node", "change", "reason")


def owed_warnings(nodes: list[Document]) -> list[str]:
    """Say which nodes changes do not reach, and whom they may still let in."""
    warnings: list[str] = []
    for node in nodes:
        if node.get("clock_warning"):
            warnings.append(f"{node['node_name']}: {node['clock_warning']}")
        owed = node["owed"]
        if owed is None or not owed["late"]:
            continue
        names, more = owed["revocations"][:MOST_NAMES], len(owed["revocations"]) - MOST_NAMES
        let_in = f", and it may still let in {', '.join(names)}" if names else ""
        let_in += f" and {more} more" if more > 0 else ""
        of_peers = f" of {owed['peers']} peer{'s' * (owed['peers'] != 1)}" if owed["peers"] else ""
        warnings.append(
            f"changes{of_peers} do not reach {node['node_name']} since {text(owed['since'])}{let_in} ({owed['reason']})"
        )
    return warnings


def no_failover_warnings(nodes: list[Document]) -> list[str]:
    """Say of which nodes nobody would take over, why, and what ends that; each way out once."""
    return [sentence(node["no_failover"]) for node in nodes if node.get("no_failover") is not None]


def warn_of_no_failover(nodes: list[Document]) -> None:
    """Print that, where it is so."""
    _warn(no_failover_warnings(nodes))


def _warn(warnings: list[str]) -> None:
    for each in warnings:
        say(f"warning: {each}", err=True)


def first_look_warnings(nodes: list[Document]) -> list[str]:
    """Say which nodes nobody has had an answer of, and what that means for users."""
    warnings: list[str] = []
    for node in nodes:
        if node.get("first_look") == "unreached":
            says = "nobody gets an answer of its WireGuard: it is not published and gets no peers until it answers"
        elif node.get("first_look") == "unproven":
            says = "it serves by its agent's word: no probe of it was answered, and there is nobody else to ask"
        else:
            continue
        warnings.append(f"{node['node_name']}: {says}; open its UDP port in all firewalls")
    return warnings


def forwarding_warnings(nodes: list[Document]) -> list[str]:
    """Say through which nodes users' packets do not get."""
    failed = [(node["node_name"], node["forwarding"]) for node in nodes if node.get("forwarding")]
    return [
        f"{name} does not forward what users send: {found['reason']}"
        for name, found in failed
        if found["state"] == "failed"
    ]


def unproven_forwarding(nodes: list[Document]) -> list[str]:
    """Say why nobody knows of a node that serves whether it forwards."""
    said = []
    for node in nodes:
        found = node.get("forwarding")
        if found is not None and found["state"] == "not_proven":
            said.append(f"{node['node_name']}: it is not proven that it forwards what users send: {found['reason']}")
        elif node.get("forwarding_unknown") and node["phase"] != "joining":
            said.append(f"{node['node_name']}: whether it forwards is not known: {node['forwarding_unknown']}")
    return said


def relay_warning(name: str, clients: int, until: str | None) -> str:
    """Say of a node whom its end would cut off, though their sessions are on other nodes."""
    who = "1 client, which is" if clients == 1 else f"{clients} clients, who are"
    return (
        f"{name} relays {who} cut off if it ends before they have come to other nodes (at the latest until "
        f"{text(until)}): wgfleet relay list --node {name}"
    )


def health_row(node: Document) -> Document:
    """Show a node that has never served as joining, with what it waits for: nobody judges its health yet."""
    row = {**node, "node": node["node_name"], "for": age(node["since"])}
    if node.get("phase") != "joining" or node["health"] != "serving":
        return row
    return {**row, "health": "joining", "for": None, "reason": node["summary"]}


def health(
    config: Config,
    *,
    history: Annotated[int, typer.Option(min=0, max=1000, help="Number of changes to list.")] = 10,
    watch: Watch = False,
    as_json: AsJson = False,
) -> None:
    """Show which nodes of a config serve, for how long and why, and the latest changes."""
    with panel() as client:
        watching.draw(lambda: _health(client, config, history, as_json=as_json), watch=watch)


def _health(client: Client, config: str, history: int, *, as_json: bool) -> None:
    found = client.get(f"/api/configs/{part(config)}/health", history=history)
    if as_json:
        show_json(found)
        return
    if found["frozen"]:
        say(
            f"warning: nodes that do not answer are left in use: {found['frozen']}. If they are down, approve that: "
            "`wgfleet config health-approve`",
            err=True,
        )
    if found["paused_since"]:
        say(
            f"warning: automation is paused since {text(found['paused_since'])} by {found['paused_by']}; "
            f"resume it with `wgfleet config resume {config}`",
            err=True,
        )
    nodes = found["nodes"]
    show_table([health_row(node) for node in nodes], NODES)
    seen = first_look_warnings(nodes) + forwarding_warnings(nodes)
    relays = [relay_warning(each["node_name"], each["clients"], each["until"]) for each in found.get("relays") or ()]
    _warn([*seen, *owed_warnings(nodes), *relays, *no_failover_warnings(nodes)])
    if not found["history"]:
        return
    names = {node["node_id"]: node["node_name"] for node in found["nodes"]}
    changes = [
        {
            **event,
            "age": age(event["at"]),
            "node": names.get(event["node_id"], short(event["node_id"])),  # a node that was removed has no name here
            "change": f"{event['before']} -> {event['after']}",
        }
        for event in found["history"]
    ]
    typer.echo()
    show_table(changes, HISTORY)


def health_approve(
    *,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Show which nodes wait for an approval to be taken out of use, and give it, once."""
    with panel() as client:
        waiting = client.get("/api/health/freeze")["freeze"]
        if waiting is None:
            say("Nothing to approve: no node is left in use that does not answer.", err=True)
            return
        names = ", ".join(node["node_name"] for node in waiting["nodes"])
        say(f"{waiting['reason']}: {names}", err=True)
        if not yes:
            go_on("Are these nodes down, so that others are to take over?")
        approved = client.call("POST", "/api/health/freeze/approve", {"id": waiting["id"]})
    show_fields(approved | {"nodes": names} if not as_json else approved, as_json=as_json)


Every = Annotated[bool, typer.Option("--all", help="All configs.")]


def pause(config: SomeConfig = None, *, every: Every = False, as_json: AsJson = False) -> None:
    """Take no node out of use until resumed: no failover, no floating address moves, no name changes for it."""
    _automation(config, every=every, paused=True, as_json=as_json)


def resume(config: SomeConfig = None, *, every: Every = False, as_json: AsJson = False) -> None:
    """Act on dead nodes again, at once on those that are dead by then."""
    _automation(config, every=every, paused=False, as_json=as_json)


def _automation(config: str | None, *, every: bool, paused: bool, as_json: bool) -> None:
    if (config is None) is not every:
        raise typer.BadParameter("name a config, or give --all")
    with panel() as client:
        names = [str(each["name"]) for each in client.all("/api/configs")] if config is None else [config]
        found = [
            {"config": name, **client.call("POST", f"/api/configs/{part(name)}/automation", {"paused": paused})}
            for name in names
        ]
    if as_json:
        show_json(found)
    else:
        show_table(found, ("config", "paused", "paused_since", "paused_by"))
