"""Plans and records as JSON documents, for rows and for the API."""

from collections.abc import Iterable
from typing import Any

from wgfleet.panel.domain.dns.plan import DnsPlan, differences
from wgfleet.panel.domain.dns.records import Record


def describe_plan(plan: DnsPlan) -> dict[str, Any]:
    """Return a plan as a document."""
    changes = plan.changes
    return {
        "changes": [
            *({"action": "delete", "before": _document(r), "after": None} for r in changes.deletes),
            *({"action": "update", "before": _document(old), "after": _document(new)} for old, new in changes.updates),
            *({"action": "create", "before": None, "after": _document(r)} for r in changes.creates),
        ],
        "conflicts": [{"kind": c.kind, "record": _document(c.record), "detail": c.detail} for c in plan.conflicts],
        "counts": plan.counts,
        "differences": list(differences(plan)),
        "adopts": plan.adopts,
    }


def describe_records(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return records as documents."""
    return [_document(record) for record in records]


def _document(record: Record) -> dict[str, Any]:
    return {
        "type": record.type,
        "content": record.content,
        "ttl": record.ttl,
        "owner": record.owner,
        "proxied": record.proxied,
    }
