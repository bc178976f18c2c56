"""What is left of each DNS account's rate limit, in rows: kept over restarts, shared by all names of the account."""

import math

from wgfleet.panel import clock
from wgfleet.panel.dns.providers import Account, Blocked
from wgfleet.panel.store import Store
from wgfleet.panel.store import dns as dns_rows

# Of what the provider allows, half may be used at once and half comes back in the window. So no window ever sees more
# than all of it, and people who use the provider's own pages share the rest of ours.
BURST_SHARE = 0.5
# Looks at names that are right leave so much of what may be used at once to changes.
RESERVED_SHARE = 0.5
BLOCKED_S = 60.0  # where the provider turned the account away and did not say for how long
SHORTEST_BLOCK_S = 1.0  # who is told to come back at once, and turned away again, would do nothing else
# What a provider may have us wait. A block that ends later was written by a clock that has been set back since.
LONGEST_BLOCK_S = 3600.0


class Limiter:
    """Counts calls against accounts. Safe to share by threads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def take(self, account: Account, calls: int = 1) -> None:
        """Count calls that are about to be made, or raise `Blocked` with the s to wait."""
        if not account.calls:
            with self._store.read() as tx:
                row = dns_rows.account(tx, account.id)
            if row is not None:
                _check_block(row.blocked_until, clock.now())
            return
        with self._store.write() as tx:
            now = clock.now()
            row = dns_rows.locked_account(tx, account.id, tokens=account.calls * BURST_SHARE, now=now)
            _check_block(row.blocked_until, now)
            tokens = refilled(account, row.tokens, now - row.updated_at)
            enough = tokens >= calls
            # Also where it is not enough: from a time that a clock of before was ahead by, nothing would come back.
            dns_rows.set_account(tx, account.id, tokens=tokens - calls if enough else tokens, updated_at=now)
        if not enough:
            rate = account.calls * (1 - BURST_SHARE) / account.window_s
            raise Blocked(
                f"{account.calls} calls in {account.window_s:g} s are allowed, and too few of them are left",
                retry_after_s=math.ceil((calls - tokens) / rate),
            )

    def spares(self, account: Account) -> bool:
        """Tell whether a call may be made that can as well be made later; an estimate, nothing is counted."""
        with self._store.read() as tx:
            row = dns_rows.account(tx, account.id)
        if row is None:
            return True
        now = clock.now()
        if _block_left(row.blocked_until, now):
            return False
        left = refilled(account, row.tokens, now - row.updated_at)
        return not account.calls or left - 1 >= account.calls * BURST_SHARE * RESERVED_SHARE

    def charge(self, account: Account, calls: int) -> None:
        """Count calls that were made beyond those taken; they may take more than is left."""
        if not account.calls or calls <= 0:
            return
        with self._store.write() as tx:
            now = clock.now()
            row = dns_rows.locked_account(tx, account.id, tokens=account.calls * BURST_SHARE, now=now)
            tokens = refilled(account, row.tokens, now - row.updated_at)
            dns_rows.set_account(tx, account.id, tokens=tokens - calls, updated_at=now)

    def block(self, account: Account, seconds: float | None) -> float:
        """Note that the provider turned the account away; return for how many s no name of it is tried."""
        wait = BLOCKED_S if seconds is None else min(max(seconds, SHORTEST_BLOCK_S), LONGEST_BLOCK_S)
        with self._store.write() as tx:
            now = clock.now()
            dns_rows.locked_account(tx, account.id, tokens=account.calls * BURST_SHARE, now=now)
            dns_rows.set_account(tx, account.id, blocked_until=now + wait)
        return wait


def refilled(account: Account, tokens: float, elapsed_s: float) -> float:
    """Return what is left of a limit after some time."""
    full = account.calls * BURST_SHARE
    rate = account.calls * (1 - BURST_SHARE) / account.window_s
    return min(full, tokens + max(0.0, elapsed_s) * rate)


def _block_left(blocked_until: float, now: float) -> float:
    wait = blocked_until - now
    return wait if 0 < wait <= LONGEST_BLOCK_S else 0.0


def _check_block(blocked_until: float, now: float) -> None:
    wait = _block_left(blocked_until, now)
    if wait:
        raise Blocked(f"the provider turns this account away for another {wait:.0f} s", retry_after_s=wait)
