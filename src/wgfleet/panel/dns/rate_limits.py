"""Rate limits of accounts at providers, counted in rows: kept across restarts, shared by all names or addresses of one.

What a provider calls its account comes from its credential, so rows have an alias instead, which only the master key
makes: who has the database alone cannot try guesses.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from wgfleet.panel import clock
from wgfleet.panel.dns.providers import Account, Blocked
from wgfleet.panel.store import Store, Tx
from wgfleet.panel.store import dns as dns_rows
from wgfleet.panel.vault import Alias, Vault
from wgfleet.protocol.reasons import Reason

# Half of the limit may be used in one burst, the other half is refilled over the window. So no window ever sees more
# calls than the limit.
BURST_SHARE = 0.5
# The share of the burst that routine syncs leave for changes.
RESERVED_SHARE = 0.5
BLOCKED_S = 60.0  # if the provider blocked the account and did not say for how long
SHORTEST_BLOCK_S = 1.0  # a floor, so that `Retry-After: 0` does not become a busy loop
# The longest block that a provider can ask for. One that ends later is from a clock that has been set back since.
LONGEST_BLOCK_S = 3600.0
_PLACE = "dns_accounts.account"


class Limiter:
    """Counts calls against accounts. Safe to share between threads."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    def take(self, account: Account, calls: int = 1) -> None:
        """Count calls that are about to be made, or raise `Blocked` with the s to wait."""
        aliases = self._aliases(account)
        if not account.calls:
            with self._store.read() as tx:
                row = dns_rows.account(tx, aliases)
            if row is not None:
                _check_block(row.blocked_until, clock.now())
            return
        with self._store.write() as tx:
            now = clock.now()
            row = dns_rows.locked_account(tx, aliases, tokens=account.calls * BURST_SHARE, now=now)
            _check_block(row.blocked_until, now)
            tokens = refilled(account, row.tokens, now - row.updated_at)
            enough = tokens >= calls
            # Written even if too few are left: a row from a clock that was ahead would never be refilled.
            dns_rows.set_account(tx, aliases[0], tokens=tokens - calls if enough else tokens, updated_at=now)
        if not enough:
            rate = account.calls * (1 - BURST_SHARE) / account.window_s
            raise Blocked(
                Reason(
                    "{calls} calls in {window_s:g} s are allowed, and too few are left",
                    calls=account.calls,
                    window_s=account.window_s,
                ),
                retry_after_s=math.ceil((calls - tokens) / rate),
            )

    @contextmanager
    def counted(self, account: Account, calls: int = 1) -> Iterator[None]:
        """Count calls that are made meanwhile as `take` does; where the provider blocks the account, so do we."""
        self.take(account, calls)
        try:
            yield
        except Blocked as error:
            error.retry_after_s = self.block(account, error.retry_after_s)
            raise

    def allows_routine(self, account: Account) -> bool:
        """Tell whether a call that can wait may be made now; an estimate, nothing is counted."""
        with self._store.read() as tx:
            row = dns_rows.account(tx, self._aliases(account))
        if row is None:
            return True
        now = clock.now()
        if _block_left(row.blocked_until, now):
            return False
        if not account.calls:
            return True
        left = refilled(account, row.tokens, now - row.updated_at)
        return left - 1 >= account.calls * BURST_SHARE * RESERVED_SHARE

    def charge(self, account: Account, calls: int) -> None:
        """Count calls that were made beyond those taken; the balance may become negative."""
        if not account.calls or calls <= 0:
            return
        aliases = self._aliases(account)
        with self._store.write() as tx:
            now = clock.now()
            row = dns_rows.locked_account(tx, aliases, tokens=account.calls * BURST_SHARE, now=now)
            tokens = refilled(account, row.tokens, now - row.updated_at)
            dns_rows.set_account(tx, aliases[0], tokens=tokens - calls, updated_at=now)

    def block(self, account: Account, seconds: float | None) -> float:
        """Block the account, as its provider does; return for how many s none of its names is tried."""
        wait = BLOCKED_S if seconds is None else min(max(seconds, SHORTEST_BLOCK_S), LONGEST_BLOCK_S)
        aliases = self._aliases(account)
        with self._store.write() as tx:
            now = clock.now()
            dns_rows.locked_account(tx, aliases, tokens=account.calls * BURST_SHARE, now=now)
            dns_rows.set_account(tx, aliases[0], blocked_until=now + wait)
        return wait

    def _aliases(self, account: Account) -> tuple[Alias, ...]:
        return self._vault.aliases(account.id, _PLACE)


def hide_accounts(tx: Tx, vault: Vault) -> None:
    """Give aliases to the accounts that a release before left without; their limits go on."""
    for name in dns_rows.unaliased_accounts(tx):
        dns_rows.rename_account(tx, name, vault.aliases(name, _PLACE)[0])


def refilled(account: Account, tokens: float, elapsed_s: float) -> float:
    """Return the calls that an account has left after some time."""
    full = account.calls * BURST_SHARE
    rate = account.calls * (1 - BURST_SHARE) / account.window_s
    return min(full, tokens + max(0.0, elapsed_s) * rate)


def _block_left(blocked_until: float, now: float) -> float:
    wait = blocked_until - now
    return wait if 0 < wait <= LONGEST_BLOCK_S else 0.0


def _check_block(blocked_until: float, now: float) -> None:
    wait = _block_left(blocked_until, now)
    if wait:
        raise Blocked(
            Reason("the provider has blocked this account for another {wait:.0f} s", wait=wait), retry_after_s=wait
        )
