"""Waiting for an operation, with a progress bar in a terminal."""

from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from wgfleet.cli.client import CallFailed, Client, Document, part
from wgfleet.cli.confirmation import go_on
from wgfleet.cli.hints import with_ways_out
from wgfleet.cli.output import console, say, show_json
from wgfleet.cli.plain_text import plain

KINDS = ("operation",)
COLUMNS = (
    TextColumn("{task.description}", markup=False),
    BarColumn(),
    TextColumn("{task.fields[counts]}"),
    TimeElapsedColumn(),
)

RelayHours = Annotated[
    float,
    typer.Option(
        "--relay-hours", min=0, max=24 * 90, help="For how long the node relays clients that nobody else can call."
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it has finished.")]


def show_operation(client: Client, operation: Document, *, wait: bool, as_json: bool) -> None:
    """Print the state of an operation that was just started, or with `wait` its result."""
    if wait:
        operation = follow(client, operation["id"])
    if as_json:
        show_json(operation)
    elif wait:
        report(operation)
    else:
        say(f"operation {operation['id']} is {operation['state']}; wgfleet operation show {operation['id']}")


def follow(client: Client, operation_id: str) -> Document:
    """Wait until an operation has finished and return it; raise `CallFailed` if it failed."""
    operation = ended(client, operation_id)
    require_success([operation])
    return operation


def ended(client: Client, operation_id: str) -> Document:
    """Wait until an operation has finished, however it does, and return it."""
    bars_on = console(err=True)  # a file or a pipe gets no bars, and no empty line in their place
    with Progress(*COLUMNS, console=bars_on, transient=True, disable=not bars_on.is_terminal) as bars:
        bar = bars.add_task("waiting", total=None, counts="")
        for _ in client.events(*KINDS):
            operation: Document = client.get(f"/api/operations/{part(operation_id)}")
            _draw(bars, bar, operation)
            if operation["finished_at"] is not None:
                break
    return operation


def require_success(operations: Iterable[Document]) -> None:
    """Raise `CallFailed` where one of some operations that have finished failed."""
    failed = [
        f"operation {each['id']} has {each['state']}: {trouble(each) or 'wgfleet operation show has its result'}"
        for each in operations
        if each["state"] != "succeeded"
    ]
    if failed:
        raise CallFailed("; ".join(failed))


def trouble(operation: Document) -> str | None:
    """Return what keeps an operation waiting, or why it failed; ways out of that are commands."""
    result = operation["result"] or {}
    reason: str | None = operation["error"] or (result.get("reason") if operation["state"] == "failed" else None)
    about = {name: operation.get(f"{name}_name") for name in ("config", "node")}
    known = {name: value for name, value in about.items() if value}
    return with_ways_out(reason, result.get("ways_out") or [], known) if reason else reason


def report(operation: Document) -> None:
    """Print the result of an operation in one line, and what to beware of."""
    figures = {name: value for name, value in operation["result"].items() if not name.endswith("_at")}
    numbers = {name: value for name, value in figures.items() if isinstance(value, (int, float))}
    shown = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in numbers.items())
    cancelled = operation["state"] == "failed" and operation["cancelled_by"]
    state = trouble(operation) if cancelled else operation["state"]
    say(f"{operation['kind'].replace('_', ' ')}: {state}" + (f" ({shown})" if shown else ""))
    if relayed := operation["result"].get("relayed"):
        say(f"relayed by the node that they know: {', '.join(relayed)}")
    if left := operation["result"].get("left"):
        say(f"left behind: {', '.join(left)}", err=True)
    for name, why in (operation["result"].get("refused") or {}).items():
        say(f"{name} was not changed: {why}", err=True)
    for warning in operation["result"].get("warnings") or ():
        say(f"warning: {warning}", err=True)


def show_departures(
    client: Client, configs: Iterable[str], node: str, relay_hours: float, *, as_json: bool = False
) -> None:
    """Print what a node's leaving configs would mean for those who are live on it. Changes nothing."""
    found: dict[str, Document] = {
        config: client.get(f"/api/configs/{part(config)}/nodes/{part(node)}/departure", relay_s=relay_hours * 3600)
        for config in configs
    }
    if as_json:
        show_json(found)
        return
    for config, departure in found.items():
        _show_departure(config, node, departure, "cut off", "refused")
        _show_relays(node, departure, relay_hours)
    say("nothing was changed", err=True)


def ask_about_departure(client: Client, config: str, node: str, relay_hours: float) -> None:
    """Say who is cut off by a removal that is forced, and ask whether to go on; nothing where nobody is."""
    path = f"/api/configs/{part(config)}/nodes/{part(node)}/departure"
    departure = client.get(path, relay_s=relay_hours * 3600)
    if departure["cut_off"] or departure["unknown"] or departure["refusal"] is not None:
        _show_departure(config, node, departure, "cut off", "refused without --force")
        go_on()


def show_group_departure(client: Client, path: str, relay_hours: float, *, as_json: bool) -> None:
    """Print what the drain of a group (at `path`) would mean for those who are live on its nodes. Changes nothing."""
    found = client.get(f"{path}/departure", relay_s=relay_hours * 3600)["items"]
    if as_json:
        show_json(found)
        return
    if not found:
        say("no node of the group serves a config")
    for each in found:
        _show_departure(each["config_name"], each["node_name"], each["departure"], "left behind", "not moved")
        _show_relays(each["node_name"], each["departure"], relay_hours)
    say("nothing was changed", err=True)


def _show_departure(config: str, node: str, departure: Document, silent: str, refused: str) -> None:
    reach = departure["reach"]
    ways = ", ".join(f"{count} {way}" for way, count in reach.items() if count)
    say(f"config {config}: {departure['live']} live on node {node}" + (f" ({ways})" if ways else ""))
    for field, way, what in (("cut_off", "silent", silent), ("unknown", "unknown", "never called before")):
        names = departure[field]
        more = f", and {reach[way] - len(names)} more" if reach[way] > len(names) else ""
        if names:
            say(f"  {what}: {', '.join(names)}{more}; all: wgfleet config clients {config} {node} --reach {way}")
    if departure["hints"]:
        codes = [hint["code"] for hint in departure["hints"]]
        say("  " + with_ways_out(refused, codes, {"config": config, "node": node}), err=True)


def _show_relays(node: str, departure: Document, hours: float) -> None:
    """Say what `--relay-hours` changes: who is relayed for that time, or that nobody can be."""
    reach = departure["reach"]
    if not hours or not (reach["silent"] or reach["unknown"]):
        return
    if not departure["can_relay"]:
        say(f"  relayed: nobody; the agent of node {node} does not answer, or is too old", err=True)
        return
    names = departure.get("relayed") or []
    more = [f"and {reach['silent'] - len(names)} more"] if reach["silent"] > len(names) else []
    maybe = [f"those of the {reach['unknown']} never called before who do not answer"] if reach["unknown"] else []
    say(f"  relayed by {node} for up to {hours:g} h: {', '.join([*names, *more, *maybe])}")


def moved(operation: Document) -> str:
    """Return how many of an operation's peers have moved, or are changed; empty if it is about no peers."""
    progress = operation["progress"]
    return f"{_done(progress)}/{progress['peers']} peers" if progress.get("peers") else ""


def _done(progress: Document) -> int:
    return progress.get("moved") or progress.get("changed") or 0


def _draw(bars: Progress, bar: Any, operation: Document) -> None:
    progress = operation["progress"]
    total, done = progress.get("peers"), _done(progress)
    counts = moved(operation)
    description = operation["step"] or operation["state"]
    if operation["error"]:
        description += f" ({operation['error']})"
    bars.update(bar, description=plain(description), total=total or None, completed=done, counts=counts)
