"""Resealing: all secrets of the database sealed again by the current master key, so that an earlier one can go.

Small transactions, none of which needs another: killed anywhere, it goes on with what is left. Panels may run meanwhile
if they seal by the current key too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from wgfleet.panel import faultpoints
from wgfleet.panel.errors import PermanentError
from wgfleet.panel.services import audit
from wgfleet.panel.store import Store, Tx, sealed
from wgfleet.panel.vault import Vault
from wgfleet.protocol.reasons import Reason

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Resealed:
    """How many sealed values there are. `left` were not sealed by the current master key.

    `unreadable`: how many of those were sealed by each key (hex) that is not at hand.
    """

    values: int
    left: int
    unreadable: dict[str, int]


def count(tx: Tx, vault: Vault) -> Resealed:
    """Count the sealed values of the database."""
    headers = sealed.headers(tx)
    unreadable = {header[1:].hex(): number for header, number in headers.items() if not vault.has(header)}
    return Resealed(headers.total(), headers.total() - headers[vault.header], unreadable)


def note_other_keys(tx: Tx, vault: Vault) -> None:
    """Log what the current master key did not seal: that it is to be resealed, or that it cannot be read."""
    found = count(tx, vault)
    for key, values in found.unreadable.items():
        log.error(
            "secrets.key_missing", key=key, values=values, detail="put that master key back, below the current one"
        )
    if left := found.left - sum(found.unreadable.values()):
        log.warning("secrets.sealed_by_an_earlier_key", values=left, detail="run: wgfleet panel reseal")


def check_panels(store: Store, vault: Vault) -> None:
    """Raise `PermanentError` while a panel runs that goes on sealing by another key."""
    others = {label for label in store.labels() if label.partition(" ")[0] != vault.current_id}
    if others:
        who = ", ".join(sorted(label.partition(" ")[2] or "one of an earlier release" for label in others))
        raise PermanentError(
            Reason(
                "a panel that runs seals by another master key than {current_id} ({who}); put the new key first in "
                "the keys of each panel, restart it, and do this again",
                current_id=vault.current_id,
                who=who,
            )
        )


def reseal(store: Store, vault: Vault, actor: str) -> Iterator[Resealed]:
    """Seal all values by the current master key; yield what there was, what is left after each batch, and the end.

    Values that do not open stay as they are. Raise as `check_panels` does, also at the end.
    """
    check_panels(store, vault)
    with store.read() as tx:
        found = count(tx, vault)
    yield found
    left = found.left
    for column in sealed.SEALED:
        after: str | int | None = None
        while True:
            with store.write() as tx:
                after, done = sealed.reseal_batch(tx, vault, column, after)
            if after is None:
                break
            faultpoints.reached("reseal.batch")
            left -= done
            yield Resealed(found.values, left, found.unreadable)
    check_panels(store, vault)
    with store.write() as tx:
        end = count(tx, vault)
        if found.left:
            audit.record(
                tx, actor, "resealed", "panel", "panel", key=vault.current_id, values=end.values, left=end.left
            )
    yield end
