"""Incarnations of the panel: each start is a new one, and each generation of a config belongs to the one that made it.

Agents remember the highest that they obeyed. A panel on an older copy of the database is thereby recognized.
"""

from wgfleet.panel import clock
from wgfleet.panel.services import audit
from wgfleet.panel.store import Tx, histories
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import installation as installation_rows
from wgfleet.panel.store.tables import Incarnation

BEYOND = 1_000_000
"""How far a restored database moves beyond itself: more starts and more generations than the lost time had."""


def begin(tx: Tx, *, beyond: int = 1) -> Incarnation:
    """Draw a new incarnation: at each start of the process that decides."""
    last = histories.newest(tx)
    number = (0 if last is None else last.number) + beyond
    incarnation = Incarnation(number=number, id=clock.new_id(), started_at=clock.now(), refused=None)
    histories.add(tx, incarnation)
    return incarnation


def name(tx: Tx, incarnation: Incarnation) -> str:
    """Return how this panel names itself to agents."""
    authority = installation_rows.authority(tx)
    return f"{'-' if authority is None else authority.panel_id} {incarnation.number} {incarnation.id}"


def refused(tx: Tx, number: int, detail: str) -> None:
    """Note that an agent has obeyed a newer incarnation than this one."""
    row = histories.incarnation(tx, number)
    if row is not None and row.refused is None:
        row.refused = detail
        audit.record(tx, audit.PANEL, "refused_as_older", "panel", "panel", incarnation=number, reason=detail)


def trouble(tx: Tx) -> str | None:
    """Return why agents do not obey this panel; None: as far as it knows, they do."""
    newest = histories.newest(tx)
    return None if newest is None else newest.refused


def restored(tx: Tx, actor: str) -> int:
    """Make this database, which was restored from a copy, the one that counts.

    Agents obey it whatever they have seen, and every node gets the whole. Returns how many configs there are.
    """
    incarnation = begin(tx, beyond=BEYOND)
    configs = config_rows.all_ids(tx)
    for config_id in configs:
        row = config_rows.lock(tx, config_id)
        if row is not None:
            beyond = config_rows.overtake(tx, config_id, row.generation + BEYOND)
            histories.note(tx, config_id, beyond, incarnation.id)
    audit.record(tx, actor, "restored", "panel", "panel", incarnation=incarnation.number, configs=len(configs))
    return len(configs)
