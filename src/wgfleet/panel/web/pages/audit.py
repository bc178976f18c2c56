"""The audit log: who did what and when, with filters in the address, and as a file."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from starlette.responses import Response

from wgfleet.panel.api.audit import AfterEntry, AuditEntryView, audit_csv, audit_page
from wgfleet.panel.api.auth import Reader
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.errors import Invalid
from wgfleet.panel.services import audit
from wgfleet.panel.services.access.callers import READ
from wgfleet.panel.services.dns import commands
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.store import Tx
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.formats import details
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.navigation import Section
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import page

router = page_router()
SECTIONS = (Section(marked("Audit"), "/audit", 80, READ, whole=True),)
PAGE = 50
EXPORTED, STEP = 20_000, 1000
PAGES_OF = {
    "config": "/configs/",
    "node": "/nodes/",
    "peer": "/peers/",
    "operation": "/operations/",
    "user": "/settings/users/",
}
"""Where things have pages of their own."""
GONE = {"deleted", "revoked"}
MOST_NODES = 1000  # all that a panel is made for
SHORT = 6  # of an id that has no name any more
_ID = re.compile(r"\b[0-9a-f]{32}\b")
WRONG_DAY = marked("is no day; give one as 2026-11-27")

Chosen = Annotated[str, Query(max_length=100, pattern=r"^[!-~]*$")]


def choice(
    *,
    actor: Chosen = "",
    address: Chosen = "",
    action: Chosen = "",
    entity_type: Chosen = "",
    entity_id: Chosen = "",
    since: Chosen = "",
    until: Chosen = "",
) -> dict[str, str]:
    """Return what is chosen in the address, by the names of the filters; "": anything."""
    return {
        "actor": actor,
        "address": address,
        "action": action,
        "entity_type": entity_type,
        "entity_id": entity_id,
        "since": since,
        "until": until,
    }


Choice = Annotated[dict[str, str], Depends(choice)]


@router.get("/audit")
def show_log(request: Request, panel: ThePanel, _caller: Reader, chosen: Choice, after: AfterEntry = None) -> Response:
    """Show a page of entries, newest first."""
    given = {name: value for name, value in chosen.items() if value}
    with panel.store.read() as tx:
        rows, total = audit.page(tx, **_filters(given), limit=PAGE + 1, before=after)
        found = audit_page(rows, total, PAGE)
        names = _named(tx, found.items)
    context = {
        "entries": [_shown(entry, names) for entry in found.items],
        "chosen": chosen,
        "chips": [(name, value, with_query("/audit", {**given, name: ""})) for name, value in given.items()],
        "here": with_query("/audit", {**given, "after": after}),
        "first": with_query("/audit", given) if after else None,
        "following": with_query("/audit", {**given, "after": found.next}) if found.next else None,
        "export": with_query("/audit/export", given),
        "exported": EXPORTED,
        "total": total,
    }
    return page(request, "audit/log.html", context, blocks={"results"})


@router.get("/audit/export")
def export_log(panel: ThePanel, _caller: Reader, chosen: Choice) -> Response:
    """Answer with the newest entries as CSV, up to `EXPORTED`."""
    filters = _filters({name: value for name, value in chosen.items() if value})
    with panel.store.read() as tx:
        return audit_csv(_all(tx, filters))


def _all(tx: Tx, filters: dict[str, Any]) -> Iterator[AuditEntryView]:
    after = None
    for _ in range(EXPORTED // STEP):
        rows, total = audit.page(tx, **filters, limit=STEP + 1, before=after)
        found = audit_page(rows, total, STEP)
        yield from found.items
        after = found.next
        if after is None:
            return


def _filters(given: dict[str, str]) -> dict[str, Any]:
    """Return the filters of the service; days are those of UTC, and the last one is in it."""
    return {
        name: value if name not in {"since", "until"} else _second(value, name, whole_day=name == "until")
        for name, value in given.items()
    }


def _second(day: str, field: str, *, whole_day: bool) -> float:
    try:
        begins = datetime.combine(date.fromisoformat(day), time(), UTC).timestamp()
    except (ValueError, OverflowError):
        raise Invalid(WRONG_DAY, field=field) from None
    return begins + (86400 if whole_day else 0)


def _named(tx: Tx, entries: Sequence[AuditEntryView]) -> dict[str, str]:
    """Return the names of configs and nodes that entries mention, by id."""
    mentioned = {part for each in entries for part in _ID.findall(f"{each.entity_id} {each.details}")}
    if not mentioned:
        return {}
    found = {each.id: each.name for each in nodes.page(tx, None, MOST_NODES) if each.id in mentioned}
    return found | commands.config_names(tx, mentioned - found.keys())


def _shown(entry: AuditEntryView, names: dict[str, str]) -> dict[str, Any]:
    """Return an entry with what it is about as people call it, the page of that, and names in place of ids."""
    about, path = _about(entry, names)

    def worded(found: re.Match[str]) -> str:
        return names.get(found[0], f"…{found[0][-SHORT:]}")

    return {
        "entry": entry,
        "about": _ID.sub(worded, about),
        "path": path,
        "details": _ID.sub(worded, details(_beside(entry))),
    }


def _beside(entry: AuditEntryView) -> dict[str, Any]:
    """Return the details without those that say the caller's address again."""
    return {name: value for name, value in entry.details.items() if value is None or value != entry.address}


def _about(entry: AuditEntryView, names: dict[str, str]) -> tuple[str, str]:
    values, identifier = entry.details, entry.entity_id
    if entry.entity_type == "config_node":
        config, _, node = identifier.partition("/")
        config, node = names.get(config, values.get("config") or config), names.get(node, values.get("node") or node)
        return f"{config} · {node}", f"/configs/{config}"
    if entry.entity_type == "endpoint_group":
        name = names.get(identifier, values.get("config") or identifier)
        return name, f"/configs/{name}"
    base = PAGES_OF.get(entry.entity_type)
    name = values.get("name")
    if not isinstance(name, str) or not name:
        name = entry.actor.partition(":")[2] if entry.action in {"signed_in", "signed_out"} else identifier
    return name, f"{base}{identifier}" if base and entry.action not in GONE else ""
