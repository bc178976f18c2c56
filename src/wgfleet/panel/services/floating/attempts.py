"""Attempts of providers to bring an address to its node: the result, kept with the address, and the next retry.

A failure is reported once when it begins and once when it ends, however often it is tried in between. Must not call a
provider: `reconcile.floating` does, between `due` and `succeeded` or `failed`.
"""

from collections.abc import Mapping

from wgfleet.panel import clock
from wgfleet.panel.domain.backoff import backoff
from wgfleet.panel.errors import PanelError, PermanentError, TransientError
from wgfleet.panel.services import audit
from wgfleet.panel.store import Tx
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store.tables import FloatingAddress
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.reasons import Reason, words_of

FIRST_DELAY_S = 0.5  # clients wait for the address
LONGEST_DELAY_S = 30.0  # as often is looked at addresses that are where they should be
LONGEST_WAIT_S = 300.0  # more is not waited for, whatever a provider asks for


def due(tx: Tx, config_id: str, now: float) -> tuple[list[str], float | None]:
    """Return the addresses that a provider may be asked about, and in how many s the next of the others is due.

    Those that it never failed at come first: nobody waits behind one that fails.
    """
    found: list[FloatingAddress] = []
    waits: list[float] = []
    for row in floating_rows.of_config(tx, config_id):
        left = _left(row, now)
        if left > 0:
            waits.append(left)
        else:
            found.append(row)
    found.sort(key=lambda row: (row.attempts, row.address))
    return [row.address for row in found], min(waits, default=None)


def _left(row: FloatingAddress, now: float) -> float:
    # A clock that was set back has nobody wait twice: a try that lies ahead says nothing of when the next is due.
    if row.next_try_at is None or row.tried_at is None or now < row.tried_at:
        return 0.0
    return row.next_try_at - now


def succeeded(tx: Tx, config_id: str, address: str) -> None:
    """Note that an address is with its holder, as its provider says."""
    row = floating_rows.find(tx, address)
    if row is None or row.config_id != config_id or row.error is None:
        return
    details = {"attempts": row.attempts, "seconds": round(max(0.0, clock.now() - (row.failing_since or 0.0)), 3)}
    clear(row)
    audit.record(tx, audit.PANEL, "recovered", "floating_address", address, config_id=config_id, **details)
    tx.wake(Topic.ADDRESS_TRIED, config_id)


def failed(tx: Tx, config_id: str, holders: Mapping[str, str | None], error: Exception) -> float | None:
    """Note that a provider did not bring addresses to `holders`; return in how many s to try again (None: no need to).

    What another node is to hold by now is due at once: it may fail for this one alone. None: any holder.
    """
    text, now = said(error), clock.now()
    waits: list[float] = []
    for address, node_id in holders.items():
        row = floating_rows.find(tx, address)
        if row is None or row.config_id != config_id:
            continue
        if node_id not in {None, row.holder_node_id}:
            waits.append(0.0)
            continue
        if row.error is None:
            row.failing_since = now
            audit.record(tx, audit.PANEL, "failing", "floating_address", address, config_id=config_id, error=text)
        row.attempts += 1
        wait_s = _delay(error, row.attempts)
        row.error, row.tried_at, row.next_try_at = text, now, now + wait_s
        waits.append(wait_s)
    tx.flush()
    tx.wake(Topic.ADDRESS_TRIED, config_id)
    return min(waits, default=None)


def clear(row: FloatingAddress) -> None:
    """Forget the failures of an address."""
    row.attempts, row.error, row.failing_since, row.tried_at, row.next_try_at = 0, None, None, None, None


def said(error: Exception) -> str:
    """Return the text that describes a failure."""
    if isinstance(error, TransientError | PermanentError | PanelError):
        return words_of(error)
    # A bug of the plugin's: its text may be anything, a token too.
    return Reason("the address provider failed: {kind}", kind=type(error).__name__)


def _delay(error: Exception, attempts: int) -> float:
    asked: float | None = getattr(error, "retry_after_s", None)
    if asked is not None:
        return min(max(asked, 0.0), LONGEST_WAIT_S)
    # What only people can repair is retried now and then, in case they did so at the provider.
    if isinstance(error, PermanentError):
        return LONGEST_DELAY_S
    return backoff(attempts, clock.fraction(), first_s=FIRST_DELAY_S, longest_s=LONGEST_DELAY_S)
