"""`wgfleet peer limits`, `reset-usage` and `sessions`: what keeps a peer out, or will, and where it was."""

from wgfleet.cli import references
from wgfleet.cli.arguments import Peer, Peers
from wgfleet.cli.client import Document, panel
from wgfleet.cli.job import when
from wgfleet.cli.output import AsJson, say, show_json, show_table, size, text

COLUMNS = ("field", "when", "used", "action", "period", "due_at", "origin")


def limits(peer: Peer, *, as_json: AsJson = False) -> None:
    """Show the limits that count for a peer, whose each is, and what the peer used of it."""
    with panel() as client:
        found = client.get(f"/api/peers/{references.peer(client, peer)}/limits")
    if as_json:
        show_json(found)
        return
    rows: list[Document] = [
        {**each, "when": when(each), "used": None if each["used"] is None else size(each["used"])}
        for each in found["jobs"]
    ]
    if rows:
        show_table(rows, COLUMNS)
    else:
        say("nothing limits it", err=True)
    if found["left"] is not None:
        say(f"{size(found['left'])} left", err=True)
    if found["shared_at"]:
        say(f"its file was used by {found['devices']} devices at once, last at {text(found['shared_at'])}", err=True)
    if found["restricted_at"]:
        say(f"restricted since {text(found['restricted_at'])}: {found['restricted_because']}", err=True)


def reset_usage(peer: Peers) -> None:
    """Have the limits of peers count from now on; what they used stays known."""
    with panel() as client:
        for each in references.peers(client, peer):
            client.call("POST", f"/api/peers/{each}/usage-reset")


def sessions(peer: Peer, *, as_json: AsJson = False) -> None:
    """List when, where and from where a peer was connected, the newest first."""
    with panel() as client:
        found = client.all(f"/api/peers/{references.peer(client, peer)}/sessions")
        nodes = references.names(client, "nodes")
    if as_json:
        show_json(found)
        return
    rows = [{**each, "node": nodes.get(each["node_id"], each["node_id"])} for each in found]
    show_table(rows, ("began_at", "last_at", "seconds", "node", "endpoint"))
