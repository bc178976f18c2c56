"""The audit log: each change of desired state, each secret that is read and each stranger who is refused.

Details never hold a secret: no key, token or file, only names, numbers and what changed.
"""

from collections.abc import Collection, Sequence
from typing import Any

from wgfleet.doors.strangers import source_of
from wgfleet.panel import clock, origin
from wgfleet.panel.errors import Invalid
from wgfleet.panel.store import Tx
from wgfleet.panel.store import audit as audit_rows
from wgfleet.panel.store.audit import AuditSubjects, Callers, EntryKind
from wgfleet.panel.store.tables import AuditEntry
from wgfleet.protocol.reasons import Reason

__all__ = ["AuditSubjects", "EntryKind"]
_NO_ADDRESSES = (origin.UNKNOWN, "others")  # what stands there as well; refusals of very many sources are of "others"
PANEL = "panel"
"""The actor of what the panel does by itself."""


def record(tx: Tx, actor: str, action: str, entity_type: str, entity_id: str, **details: Any) -> None:
    """Add an entry. `action` is a past participle (`created`), `entity_type` a word of the glossary (`config_node`).

    It has the address of the caller where it is made for a request.
    """
    _add(tx, origin.address(), actor, EntryKind(entity_type, action), entity_id, details)


def record_refused(tx: Tx, remote: str, actor: str, entity_type: str, entity_id: str, /, **details: Any) -> None:
    """Add an entry of who was refused. `remote`: the address, or the network of those that are counted together."""
    _add(tx, remote, actor, EntryKind(entity_type, "refused"), entity_id, details)


def _add(tx: Tx, address: str | None, actor: str, kind: EntryKind, entity_id: str, details: dict[str, Any]) -> None:
    audit_rows.add(
        tx,
        AuditEntry(
            at=clock.now(),
            actor=actor,
            address=address,
            address_key=None if address is None else origin.key(address),
            action=kind.action,
            entity_type=kind.entity_type,
            entity_id=entity_id,
            details=details,
        ),
    )


def last_names(tx: Tx, entity_type: str, entity_ids: Collection[str]) -> dict[str, str]:
    """Return the names that things had when they were deleted, by id, as far as the log has them."""
    return audit_rows.last_names(tx, entity_type, entity_ids) if entity_ids else {}


SHORTENED = "audit_shortened"


def too_many(tx: Tx, most: int) -> int | None:
    """Return up to which number entries have to go where there are more than `most`; None: no more than that.

    A hundredth more than necessary goes, so that a log that is full is not shortened all the time.
    """
    return None if audit_rows.beyond(tx, most) is None else audit_rows.beyond(tx, most - most // 100)


def forget_up_to(tx: Tx, number: int, limit: int) -> tuple[int, float]:
    """Delete the oldest entries up to a number, `limit` at most; return how many, and when the last one was made."""
    return audit_rows.forget_up_to(tx, number, limit)


def note_shortened(tx: Tx, entries: int, last_at: float, most: int) -> None:
    """Note that entries went before their age, the last of them made at `last_at`."""
    record(tx, PANEL, SHORTENED, "panel", "panel", entries=entries, last_at=last_at, keep_entries=most)


def shortened(tx: Tx, since: float) -> str | None:
    """Say in words that entries went before their age, where the last ones did after `since`."""
    entry = audit_rows.last(tx, SHORTENED)
    if entry is None or entry.at < since:
        return None
    days = (entry.at - float(entry.details["last_at"])) / 86400
    gone, most = entry.details["entries"], entry.details["keep_entries"]
    return (
        f"the audit log was full (audit.keep_entries, {most}): {gone} entries went before their time, the last of them "
        f"{days:.1f} days old; see in the log who writes them, or keep more"
    )


def page(
    tx: Tx,
    *,
    entity_type: str | None = None,
    entity_id: str | None = None,
    action: str | None = None,
    actor: str | None = None,
    address: str | None = None,
    since: float | None = None,
    until: float | None = None,
    limit: int = 50,
    offset: int = 0,
    before: int | None = None,
) -> tuple[Sequence[AuditEntry], int]:
    """Return the newest entries that match, older than number `before`; and how many match, up to `COUNTED`.

    `address`: of a caller, or a network of callers; entries about the network of an address are about it too.
    """
    filters = {"entity_type": entity_type, "entity_id": entity_id, "action": action, "actor": actor}
    given = {column: value for column, value in filters.items() if value is not None}
    origins = None if address is None else _origins(address)
    return audit_rows.page(tx, given, limit, offset, before, since=since, until=until, callers=origins)


def _origins(address: str) -> Callers:
    """Return where entries may come from: these addresses, or the network by which refusals from them are counted."""
    if address in _NO_ADDRESSES:
        return Callers(address, address)
    found = origin.network(address)
    if found is None:
        raise Invalid(
            Reason("is no IP address or network; give one such as 203.0.113.7 or 203.0.113.0/24"), field="address"
        )
    around = source_of(str(found.network_address))
    return Callers(*origin.keys(found), around=around, around_key=origin.key(around))


def events(
    tx: Tx, kinds: Collection[EntryKind], about: AuditSubjects | None, limit: int, before: int | None = None
) -> list[AuditEntry]:
    """Return the newest entries of some kinds, older than number `before`. `about` None: whatever they are about."""
    return audit_rows.events(tx, kinds, about, limit, before)


def between(tx: Tx, entity_type: str, entity_id: str, begin: float, end: float, most: int) -> list[AuditEntry]:
    """Return the entries about one thing from a time to another, the oldest first."""
    return audit_rows.between(tx, entity_type, entity_id, begin, end, most)


def subjects_of(
    config_ids: Collection[str], node_ids: Collection[str], addresses: Collection[str] = ()
) -> AuditSubjects:
    """Return what entries about some configs, or some nodes, are about. `addresses`: the configs' floating ones."""
    return AuditSubjects(
        exact=[
            *((entity_type, each) for each in config_ids for entity_type in ("config", "endpoint_group")),
            *(("node", each) for each in node_ids),
            *(("floating_address", each) for each in addresses),
        ],
        beginning=[("config_node", f"{each}/") for each in config_ids],
    )


def subjects_of_node(node_id: str, config_ids: Collection[str], *, alone: bool) -> AuditSubjects:
    """Return what entries about a node in some configs are about. `alone`: not those about the node itself."""
    itself = [] if alone else [("node", node_id)]
    return AuditSubjects([*itself, *(("config_node", f"{each}/{node_id}") for each in config_ids)], [])


def config_and_node_ids(entries: Collection[AuditEntry]) -> tuple[set[str], set[str]]:
    """Return the ids of the configs and nodes that entries are about."""
    config_ids, node_ids = set(), set()
    for each in entries:
        if each.entity_type == "config_node":
            config_id, _, node_id = each.entity_id.partition("/")
            config_ids.add(config_id)
            node_ids.add(node_id)
        elif each.entity_type == "node":
            node_ids.add(each.entity_id)
        elif each.entity_type in {"config", "endpoint_group"}:
            config_ids.add(each.entity_id)
    return config_ids, node_ids
