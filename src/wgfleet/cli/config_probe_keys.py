"""`wgfleet config rotate-probe-keys`: the keys with which panel and nodes ask a config's nodes for an answer."""

from typing import Annotated, Any

import typer

from wgfleet.cli.arguments import Config
from wgfleet.cli.client import panel, part
from wgfleet.cli.confirmation import Yes, go_on
from wgfleet.cli.output import AsJson, say, show_json, text
from wgfleet.cli.plain_text import plain


def _says(rotation: dict[str, Any]) -> str:
    names = ", ".join(rotation["waits_for"])
    waits = f"; waits for {names} to have it" if names else ""
    return f"step '{rotation['step']}' since {text(rotation['step_since'])}{waits}"


def _unheard(nodes: list[dict[str, Any]]) -> list[str]:
    """Say what nodes whose agents the panel does not reach mean for a rotation."""
    waited = [node["node_name"] for node in nodes if not node["connected"] and node["health"] != "down"]
    down = [node["node_name"] for node in nodes if node["health"] == "down"]
    return [
        *([f"It waits for {', '.join(waited)}, whose agents are not connected."] if waited else []),
        *([f"The old keys are kept here for {', '.join(down)} until that is back or removed."] if down else []),
    ]


def rotate_probe_keys(
    config: Config,
    *,
    status: Annotated[bool, typer.Option("--status", help="Show how far a rotation is, and begin none.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Replace the keys by which panel and nodes find out whether nodes answer; says first what happens."""
    path = f"/api/configs/{part(config)}/probe-keys"
    with panel() as client:
        found = client.get(path)
        if not status and not yes and found["rotation"] is None:
            nodes = client.all(f"/api/configs/{part(config)}/nodes")
            say(
                "Nodes learn new keys, ask with them, then forget the old ones: three changes within about a minute. "
                "Users and health notice nothing.",
                err=True,
            )
            for line in _unheard(nodes):
                say(line, err=True)
            go_on(f"Replace the probe keys of {plain(config)}?")
        if not status:
            found = client.call("POST", path)
    if as_json:
        show_json(found)
    else:
        say(_says(found["rotation"]) if found["rotation"] else "No rotation is under way.")
