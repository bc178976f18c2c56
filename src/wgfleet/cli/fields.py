"""One thing for people, a field a line: its name first, then what is set, then what is not, in one line.

What the panel warns of goes to standard error, as sentences. Ids of other things are shown by their names.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from wgfleet.cli.client import CallFailed, Client, Document, part
from wgfleet.cli.output import GAP, TIME, age, ahead, console, say, show_json, size, text
from wgfleet.protocol.quantities import speed_text

FIRST = ("name", "user_name", "kind", "config", "node", "state")
LAST = ("created_at", "id")
# What else comes and goes by itself: nobody sets it, so that nothing is said where there is none.
STATES = ("_ahead_s", "_at", "_because", "_by", "_error", "_id", "_lacks", "error", "warnings")
COME_AND_GO = {"agent_version", "configs", "load", "next_endpoint_addresses", "session", "step", "usage"}
KINDS = {
    "config_id": ("config", "configs"),
    "node_id": ("node", "nodes"),
    "home_node_id": ("home", "nodes"),
    "group_id": ("group", "node-groups"),
    "owner_id": ("owner", "users"),
}
"""Which things ids are of: as what they are shown, and where the panel has them."""
SECONDS = {"ttl", "keepalive"}
ON_A_LINE = 3
"""How many values that belong together stand on one line."""
WARNING = "_warning"


def show_fields(document: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing."""
    if as_json:
        show_json(document)
        return
    document = _by_name(document)
    there = {name: document[name] for name in _ordered(document) if text(document[name]) != "-"}
    _print([(_title(name), _words(name, value)) for name, value in there.items() if not name.endswith(WARNING)])
    unset = [_title(name) for name in _ordered(document) if name not in there and not _is_state(name)]
    if unset:
        console().print(Text(f"not set: {', '.join(unset)}", style="dim"))
    of = f"{there['name']}: " if "name" in there else ""
    for name, value in there.items():
        if name.endswith(WARNING):
            say(f"warning: {of}{text(value)}", err=True)


def _is_state(name: str) -> bool:
    return name in COME_AND_GO or name.endswith((WARNING, *STATES))


def show_thing(client: Client, document: Document, *, as_json: bool) -> None:
    """Print one thing of the panel's API, with the names of those that it belongs to."""
    show_fields(document if as_json else with_names(client, document), as_json=as_json)


def with_names(client: Client, document: Document) -> Document:
    """Replace the ids of other things by their names; one that may not be looked up stays as it is."""
    shown: Document = {}
    for field, value in document.items():
        name, kind = KINDS.get(field, (field, ""))
        shown[name] = _called(client, kind, value) if kind and value else value
    return shown


def _called(client: Client, kind: str, identifier: str) -> str:
    try:
        return str(client.get(f"/api/{kind}/{part(identifier)}")["name"])
    except CallFailed:
        return identifier


def _by_name(document: Mapping[str, Any]) -> Document:
    """Leave out the id of what has its name beside it, as `node_id` and `node_name`."""
    both = {name.removesuffix("_name") for name in document if name.endswith("_name")}
    named = {each for each in both if f"{each}_id" in document}
    return {
        name.removesuffix("_name") if name.removesuffix("_name") in named else name: value
        for name, value in document.items()
        if name.removesuffix("_id") not in named or not name.endswith("_id")
    }


def _ordered(document: Mapping[str, Any]) -> list[str]:
    first = [name for name in FIRST if name in document]
    last = [name for name in LAST if name in document]
    return [*first, *(name for name in document if name not in {*first, *last}), *last]


def _title(name: str) -> str:
    """Return what a field is called: without its unit, which stands behind the value."""
    return name.removesuffix("_s").removesuffix("_mbps").replace("_", " ")


def _words(name: str, value: Any) -> str:
    if isinstance(value, dict):
        pairs = [f"{each.replace('_', ' ')} {text(part_of)}" for each, part_of in value.items() if part_of is not None]
        return ("\n" if len(pairs) > ON_A_LINE else ", ").join(pairs)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return text(value) + _distance(value)
    if name.endswith("_speed"):
        return speed_text(int(value)) if value else "no limit"
    if name.endswith("_bytes"):
        return size(int(value))
    unit = " s" if name in SECONDS or name.endswith("_s") else " Mbit/s" if name.endswith("_mbps") else ""
    return f"{value:.12g}{unit}"


def _distance(value: Any) -> str:
    """Return how far away a time is."""
    if not isinstance(value, str) or not TIME.fullmatch(value):
        return ""
    past = datetime.fromisoformat(value) <= datetime.now(UTC)
    return f" ({age(value)} ago)" if past else f" (in {ahead(value)})"


def _print(rows: list[tuple[str, str]]) -> None:
    """Print names and values, whose further lines stand below their first; nothing is padded behind."""
    screen = console()
    width = max((len(name) for name, _ in rows), default=0) + GAP
    for name, value in rows:
        lines = Text(value).wrap(screen, max(1, screen.width - width), overflow="fold")
        for number, line in enumerate(lines):
            line.rstrip()
            label = Text("" if number else name, style="bold")
            label.pad_right(width - label.cell_len)
            screen.print(label + line, soft_wrap=True)
