"""`wgfleet status`: what is wrong now, who serves each config, what runs, and what would not survive."""

import contextlib
import os
from http import HTTPStatus

import typer

from wgfleet.cli import connection, fleet_state, watching
from wgfleet.cli.client import FAILED, CallFailed, Client, Document, panel
from wgfleet.cli.connection import ConnectionSettingsError
from wgfleet.cli.fleet_state import FleetState
from wgfleet.cli.operation import row
from wgfleet.cli.output import AsJson, say, say_in_lines, show_json, show_table
from wgfleet.cli.tree import single
from wgfleet.cli.watching import Watch

app = single()
CONFIGS = ("config", "served_by", "peers", "name", "addresses")
OPERATIONS = ("id", "kind", "config", "node", "state", "moved", "age", "error")


@app.command()
def status(*, watch: Watch = False, as_json: AsJson = False) -> None:
    """Show what is wrong now, who serves each config, what runs, and what would not survive the loss of a node.

    Exit code 1 if anything is wrong. Without a key, it shows whether the panel does its work.
    """
    wrong: list[str] = []

    def once(client: Client) -> None:
        wrong[:] = _show(client, as_json=as_json)

    with panel(needs_key=False) as client:
        watching.draw(lambda: once(client), watch=watch)
    if wrong and not watch:
        raise typer.Exit(FAILED)


def _has_key() -> bool:
    with contextlib.suppress(ConnectionSettingsError):
        return connection.load(os.environ, needs_key=False).api_key is not None
    return False


def _show(client: Client, *, as_json: bool) -> list[str]:
    """Print everything once; return what is wrong."""
    ready = client.readiness()
    if ready["status"] == "unavailable" or not _has_key():
        return _show_panel(ready, as_json=as_json)
    try:
        state = fleet_state.read(client)
    except CallFailed as refused:
        if refused.status != HTTPStatus.UNAUTHORIZED:
            raise
        say_in_lines(f"warning: {refused}", err=True)  # whether the panel works is for everybody
        return _show_panel(ready, as_json=as_json)
    wrong = [*_panel_troubles(ready), *state.wrong]
    if as_json:
        show_json({**ready, **state.document(), "wrong": wrong})
        return wrong
    _say_panel(ready)
    for each in wrong:
        say_in_lines(f"wrong: {each}")
    if not wrong:
        say("nothing is wrong")
    say("")
    _show_fleet(state)
    for each in [*(ready.get("warnings") or ()), *state.warnings]:
        say_in_lines(f"warning: {each}", err=True)
    return wrong


def _show_panel(ready: Document, *, as_json: bool) -> list[str]:
    if as_json:
        show_json(ready)
    else:
        _say_panel(ready)
        for each in _panel_troubles(ready):
            say_in_lines(f"- {each}")
        for warning in ready.get("warnings") or ():
            say_in_lines(f"warning: {warning}")
        if ready.get("way_out"):
            say_in_lines(f"\n{ready['way_out']}")
    return ["the panel"] if ready["status"] == "unavailable" else []


def _say_panel(ready: Document) -> None:
    standby = "; another panel decides, and this one waits for its end" if ready.get("standby") else ""
    say(f"the panel is {ready['status']}{standby}")


def _panel_troubles(ready: Document) -> list[str]:
    reasons = list(ready.get("reasons") or ())
    troubles = list(reasons)
    for task in ready.get("failing") or ():
        name, subject = f"background task {task['task']}", f" of {task['subject']}" if task["subject"] else ""
        if any(reason.startswith(f"{name} ") for reason in reasons):
            continue
        late_s, failures = task["late_s"], task["failures"]
        what = f"has failed {failures} times" if late_s is None else f"has not come round for {late_s:g} s"
        troubles.append(f"{name}{subject} {what}")
    return troubles


def _show_fleet(state: FleetState) -> None:
    if not state.configs:
        say("there is no config yet: wgfleet config create wg0 --pool 10.8.0.0/16")
        return
    show_table([fleet_state.config_row(config, state) for config in state.configs], CONFIGS)
    if state.operations:
        configs = {each["id"]: each["name"] for each in state.configs}
        nodes = {each["id"]: each["name"] for each in state.nodes}
        say("")
        show_table([row(each, configs, nodes) for each in state.operations], OPERATIONS)
    for each in state.no_failover:
        say_in_lines(f"would not survive: {each}")
