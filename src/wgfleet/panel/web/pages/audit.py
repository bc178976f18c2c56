"""The audit log: who did what and when, with filters in the address, and as a file."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from pydantic import BeforeValidator
from starlette.responses import Response

from wgfleet.panel.api.audit import AfterEntry, AuditEntryView, audit_csv, audit_page
from wgfleet.panel.api.auth import Reader
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.errors import Invalid
from wgfleet.panel.services import audit, rule_sets
from wgfleet.panel.services.access.callers import READ
from wgfleet.panel.services.dns import commands
from wgfleet.panel.services.fleet import node_groups, nodes, tags
from wgfleet.panel.store import Tx
from wgfleet.panel.web import languages
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.audit_wording import AuditWording
from wgfleet.panel.web.formats import details
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.navigation import Section
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.reasons import Translate
from wgfleet.panel.web.rendering import page, visitor_of
from wgfleet.protocol.digits import ascii_digits

router = page_router()
SECTIONS = (Section(marked("Audit"), "/audit", 80, READ, whole=True),)
PAGE = 50
EXPORTED, STEP = 20_000, 1000
MOST = 1000  # nodes, and other things that have names: all that a panel is made for
_ID = re.compile(r"\b[0-9a-f]{32}\b")
WHY = ("reason", "error")
SAID = {"name", "config", "node", "config_id", "peer_id"}  # which the sentence has
WRONG_DAY = marked("is not a day; write it as 2026-11-27")

Chosen = Annotated[str, Query(max_length=100, pattern=r"^[!-~]*$")]


def choice(
    *,
    actor: Chosen = "",
    address: Annotated[Chosen, BeforeValidator(ascii_digits)] = "",
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
    visitor = visitor_of(request)
    translate = languages.translations(visitor.language).gettext

    def address(path: str) -> str | None:
        return visitor.url(path) if visitor.may("admin") or not path.startswith("/settings/") else None

    wording = AuditWording(translate, names, address)
    context = {
        "entries": [_shown(entry, wording, translate) for entry in found.items],
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
    """Return the names of things that entries mention, by id."""
    mentioned = {part for each in entries for part in _ID.findall(f"{each.entity_id} {each.details}")}
    if not mentioned:
        return {}
    kinds = {each.entity_type for each in entries}
    found = {each.id: each.name for each in nodes.page(tx, None, MOST) if each.id in mentioned}
    lists: dict[str, Callable[[Tx, None, int], Iterable[Any]]] = {
        "tag": tags.page,
        "node_group": node_groups.page,
        "rule_set": rule_sets.page,
    }
    for kind in kinds & lists.keys():
        found |= {each.id: each.name for each in lists[kind](tx, None, MOST) if each.id in mentioned}
    return found | commands.config_names(tx, mentioned - found.keys())


def _shown(entry: AuditEntryView, wording: AuditWording, translate: Translate) -> dict[str, Any]:
    """Return an entry as its sentence, why it was, and what else is known of it, with names in place of ids."""
    values = {name: value for name, value in entry.details.items() if value is None or value != entry.address}
    why = [values.pop(name) for name in WHY if isinstance(values.get(name), str) and values[name]]
    more = {name: value for name, value in values.items() if name not in SAID and value not in (None, [], {})}
    return {
        "entry": entry,
        "sentence": wording.sentence(entry),
        "why": why,
        "details": _ID.sub(lambda found: wording.named(found[0]), details(more, translate)),
    }
