"""Logs of agents, as `wgfleet node logs` prints them: once, or as they come."""

import contextlib
import json

import typer

from wgfleet.cli.client import UNREACHABLE, CallFailed, Client, Document, part
from wgfleet.cli.output import say, show_json, text
from wgfleet.cli.streams import wait
from wgfleet.cli.watching import EVERY_S

AWAY = 503
MOST = 1000


def show(client: Client, node: str, lines: int, *, as_json: bool) -> None:
    """Print the last lines."""
    found = _read(client, node, lines)
    if as_json:
        show_json(found)
        return
    for line in found["lines"]:
        say(readable(line))


def follow(client: Client, node: str, lines: int, *, as_json: bool) -> None:
    """Print the last lines, and others as they come, until Ctrl-C; with `as_json` as they are.

    An agent, or a panel, that does not answer is asked again; why is said once.
    """
    place, trouble = None, ""
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            try:
                found = _read(client, node, MOST if place else lines, place)
            except CallFailed as failed:
                if failed.exit_code != UNREACHABLE and failed.status != AWAY:
                    raise
                if str(failed) != trouble:
                    say(f"{failed} (asked again until Ctrl-C)", err=True)
                trouble = str(failed)
            else:
                if trouble:
                    say("the agent answers again", err=True)
                trouble = ""
                if found["skipped"]:
                    say(f"{found['skipped']} older lines are not shown", err=True)
                for line in found["lines"]:
                    typer.echo(line) if as_json else say(readable(line))
                place = found["next"]
                if place is None:
                    raise CallFailed(f"the agent of {node} is too old to be followed; upgrade it, or use --watch")
            wait(EVERY_S)  # as whatever is watched


def _read(client: Client, node: str, lines: int, after: str | None = None) -> Document:
    return {"next": None, "skipped": 0, **client.get(f"/api/nodes/{part(node)}/log", lines=lines, after=after)}


def readable(line: str) -> str:
    """Return a line of a log as a person reads it: time, level, event, and the rest; as it is where it is no JSON."""
    try:
        entry = json.loads(line)
        when, level, event = (str(entry.pop(name, "-")) for name in ("timestamp", "level", "event"))
    except (ValueError, AttributeError, TypeError, RecursionError):
        return line
    rest = " ".join(f"{name}={value}" for name, value in entry.items())
    return f"{text(when[:19] + 'Z')} {level:<7} {event}" + (f" {rest}" if rest else "")
