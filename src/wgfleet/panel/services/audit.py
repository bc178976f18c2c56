"""The audit log: each change of desired state, each secret that is read and each stranger who is refused.

Details never hold a secret: no key, token or file, only names, numbers and what changed.
"""

from collections.abc import Sequence
from typing import Any

from wgfleet.panel import clock
from wgfleet.panel.store import Tx
from wgfleet.panel.store import audit as audit_rows
from wgfleet.panel.store.tables import AuditEntry

PANEL = "panel"
"""The actor of what the panel does by itself."""


def record(tx: Tx, actor: str, action: str, entity_type: str, entity_id: str, **details: Any) -> None:
    """Add an entry. `action` is a past participle (`created`), `entity_type` a word of the glossary (`config_node`)."""
    audit_rows.add(
        tx,
        AuditEntry(
            at=clock.now(),
            actor=actor,
            action=action,
            entity_type=entity_type,
            entity_id=entity_id,
            details=details,
        ),
    )


def page(
    tx: Tx,
    *,
    entity_type: str | None = None,
    entity_id: str | None = None,
    action: str | None = None,
    limit: int = 50,
    offset: int = 0,
    before: int | None = None,
) -> tuple[Sequence[AuditEntry], int]:
    """Return the newest entries that match, older than number `before`; and how many match, up to `COUNTED`."""
    filters = {"entity_type": entity_type, "entity_id": entity_id, "action": action}
    given = {column: value for column, value in filters.items() if value is not None}
    return audit_rows.page(tx, given, limit, offset, before)
