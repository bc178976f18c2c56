"""The certificate that browsers accept: when another is due, what is shown, and what went wrong."""

from collections.abc import Sequence
from typing import NamedTuple

from wgfleet.panel import clock
from wgfleet.panel.domain.backoff import backoff
from wgfleet.panel.services import audit
from wgfleet.panel.store import Tx, sealed
from wgfleet.panel.store import web_certificates as rows
from wgfleet.panel.store.tables import WebCertificate
from wgfleet.panel.vault import Vault, VaultError
from wgfleet.protocol.domains import parse_domain

RENEW_AT = 2 / 3  # of its life, as Let's Encrypt advises
# Let's Encrypt takes five failures an hour for a name, and blocks for the rest of that hour. Waits of
# at least 4, 8, 16 and 32 minutes make five tries an hour.
FIRST_DELAY_S, LONGEST_DELAY_S = 480.0, 6 * 3600.0


class ShownCertificate(NamedTuple):
    """What is shown to those who ask for one of `names`: a chain and its key, both PEM. The key is a secret."""

    names: frozenset[str]
    chain: str
    key: str
    expires_at: float


class CertificateNeed(NamedTuple):
    """A certificate that is to be got now, by the account of this key (PEM) at the CA."""

    names: tuple[str, ...]
    account_key: str


class WebCertificateState(NamedTuple):
    """What is known of it. `names`, `obtained_at` and `expires_at`: of what there is, None and none: nothing yet.

    `failures`: of tries in a row, `error` why the last one failed, `next_at` when there is another.
    """

    directory: str
    names: tuple[str, ...]
    obtained_at: float | None
    expires_at: float | None
    failures: int
    error: str | None
    next_at: float | None


def state(tx: Tx) -> WebCertificateState | None:
    """Return what is known of it; None: none was ever asked for."""
    row = rows.get(tx)
    if row is None:
        return None
    next_at = row.next_at if row.error is not None else None
    return WebCertificateState(
        row.directory, tuple(row.names), row.obtained_at, row.expires_at, row.failures, row.error, next_at
    )


def held_up(tx: Tx) -> str | None:
    """Say that there is none, or soon none; without names, as strangers hear it."""
    found = state(tx)
    if found is None or found.error is None:
        return None
    tries = "one try has" if found.failures == 1 else f"{found.failures} tries have"
    return f"no certificate that browsers accept could be got: {tries} failed; the settings' page says why"


def shown(tx: Tx, vault: Vault, names: Sequence[str]) -> ShownCertificate | None:
    """Return what is shown for names of the settings; None where there is none, or it is over."""
    row = rows.get(tx)
    if row is None or row.chain is None or row.key_sealed is None or row.expires_at is None:
        return None
    covered = frozenset(names).intersection(row.names)
    if not covered or row.expires_at <= clock.now():
        return None
    key = sealed.unseal(vault, WebCertificate.key_sealed, row)
    return ShownCertificate(covered, row.chain, key, row.expires_at)


def covers(tx: Tx, name: str) -> bool:
    """Whether a name, as people write it, is in a certificate that browsers accept and that is not over."""
    row = rows.get(tx)
    if row is None or (row.expires_at or 0.0) <= clock.now():
        return False
    try:
        return parse_domain(name, "name") in row.names
    except ValueError:  # an address, or nothing
        return False


def is_due(tx: Tx, directory: str, names: Sequence[str], wanted_at: float | None = None) -> bool:
    """Whether a certificate is to be got now from the CA with this directory. `wanted_at`: when that would have it."""
    row, now = rows.get(tx), clock.now()
    if row is None or row.directory != directory or row.obtained_at is None or row.expires_at is None:
        return row is None or row.directory != directory or now >= row.next_at
    renew_at = row.obtained_at + (row.expires_at - row.obtained_at) * RENEW_AT
    over = now >= min(renew_at, renew_at if wanted_at is None else wanted_at)
    return now >= row.next_at and (over or set(row.names) != set(names))


def issued(tx: Tx, directory: str) -> str | None:
    """Return the chain that the CA with this directory has issued, if it is not over."""
    row = rows.get(tx)
    if row is None or row.directory != directory or row.obtained_at is None or (row.expires_at or 0.0) <= clock.now():
        return None
    return row.chain


def next_need(tx: Tx, vault: Vault, directory: str, names: Sequence[str], new_account_key: str) -> CertificateNeed:
    """Return what is to be got, by an account whose key is kept before it is used.

    `new_account_key` (PEM): of the account, where there is none at this CA.
    """
    row = rows.get(tx)
    if row is None:
        row = WebCertificate(id=rows.ONLY_ROW, names=[], failures=0, next_at=0.0, directory="", account_key_sealed=b"")
    if row.directory != directory:
        row.directory, row.failures, row.error, row.next_at = directory, 0, None, 0.0
        row.account_key_sealed = sealed.seal(vault, WebCertificate.account_key_sealed, rows.ONLY_ROW, new_account_key)
        row.obtained_at = None  # what another CA issued is shown until this one has
        rows.add(tx, row)
    try:
        key = sealed.unseal(vault, WebCertificate.account_key_sealed, row)
    except VaultError:  # its master key is gone; another account is as good
        key = new_account_key
        row.account_key_sealed = sealed.seal(vault, WebCertificate.account_key_sealed, rows.ONLY_ROW, key)
    return CertificateNeed(tuple(names), key)


def answer(tx: Tx, token: str) -> str | None:
    """Return what is answered to a question of the CA; None: to this one, nothing."""
    return rows.answer(tx, token)


def keep_answer(tx: Tx, token: str, answer: str) -> None:
    """Have a question of the CA answered."""
    rows.add_answer(tx, token, answer)


def keep_text(tx: Tx, name: str, text: str) -> None:
    """Note a TXT record that is about to be made for the CA."""
    rows.add_text(tx, name, text)


def texts(tx: Tx) -> Sequence[tuple[str, str]]:
    """Return the TXT records for the CA that may be there: name and text of each."""
    return rows.texts(tx)


def forget_text(tx: Tx, name: str, text: str) -> None:
    """Forget a TXT record that is not there any more."""
    rows.forget_text(tx, name, text)


def keep(tx: Tx, vault: Vault, new: ShownCertificate) -> None:
    """Show a new certificate from now on."""
    row, names = _row(tx), sorted(new.names)
    row.names, row.chain = names, new.chain
    row.key_sealed = sealed.seal(vault, WebCertificate.key_sealed, row.id, new.key)
    row.obtained_at, row.expires_at = clock.now(), new.expires_at
    row.failures, row.error, row.next_at = 0, None, 0.0
    rows.forget_answers(tx)
    audit.record(tx, audit.PANEL, "obtained", "web_certificate", "panel", names=names, expires_at=row.expires_at)


def failed(tx: Tx, error: str, random: float) -> float:
    """Take note that a try has failed; return in how many s there is another."""
    row = _row(tx)
    row.failures += 1
    wait_s = backoff(row.failures, random, first_s=FIRST_DELAY_S, longest_s=LONGEST_DELAY_S)
    row.error, row.next_at = error, clock.now() + wait_s
    rows.forget_answers(tx)
    return wait_s


def try_now(tx: Tx, actor: str) -> bool:
    """Have the next try be now; whether there is one that waits."""
    row = rows.get(tx)
    if row is None or row.error is None:
        return False
    row.next_at = clock.now()
    audit.record(tx, actor, "tried", "web_certificate", "panel")
    return True


def _row(tx: Tx) -> WebCertificate:
    row = rows.get(tx)
    if row is None:
        raise LookupError("no certificate was asked for")
    return row
