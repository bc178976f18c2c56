"""The registry of sealed columns: every column that the vault encrypts, with the context that binds a value to its row.

The contexts are part of the ciphertexts: a text that is changed here leaves every secret of its column unreadable.
"""

import base64
import binascii
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, LargeBinary, func, select, update
from sqlalchemy.orm import InstrumentedAttribute

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import (
    Assignment,
    AuthorityRotation,
    Backup,
    Base,
    CertificateAuthority,
    Config,
    DnsSync,
    EndpointGroup,
    Peer,
    ProbeKeyRotation,
    SignInProvider,
    User,
    WebCertificate,
    WitnessKey,
)
from wgfleet.panel.vault import HEADER_BYTES, Vault, VaultError

ROWS_AT_A_TIME = 500
Column = InstrumentedAttribute[Any]

SEALED: Mapping[Column, str] = MappingProxyType(
    {
        AuthorityRotation.key_sealed: "authority_rotation.key:{}",
        CertificateAuthority.key_sealed: "authority.key",
        Assignment.next_probe_private_key_sealed: "assignments.next_probe_private_key:{}",
        Assignment.private_key_sealed: "assignments.private_key:{}",
        Assignment.probe_private_key_sealed: "assignments.probe_private_key:{}",
        Backup.content_sealed: "backups:{}",
        Config.private_key_sealed: "configs.private_key:{}",
        Config.probe_private_key_sealed: "configs.probe_private_key:{}",
        DnsSync.options_sealed: "dns_syncs.options:{}",
        EndpointGroup.address_options_sealed: "endpoint_groups.address_options:{}",
        EndpointGroup.dns_options_sealed: "endpoint_groups.dns_options:{}",
        Peer.preshared_key_sealed: "peers.preshared_key:{}",
        Peer.private_key_sealed: "peers.private_key:{}",
        ProbeKeyRotation.private_key_sealed: "probe_key_rotations.private_key:{}",
        SignInProvider.secret_sealed: "sign_in_providers.secret:{}",
        User.totp_sealed: "users.totp:{}",
        WebCertificate.account_key_sealed: "web_certificates.account_key:{}",
        WebCertificate.key_sealed: "web_certificates.key:{}",
        WitnessKey.next_probe_private_key_sealed: "witness_keys.next_probe_private_key:{}",
        WitnessKey.probe_private_key_sealed: "witness_keys.probe_private_key:{}",
    }
)
"""The context of each sealed column; `{}` stands for the primary key of its row."""

_PROOF = "a panel's name"  # in no column: agents keep it


class Secret(NamedTuple):
    """One sealed value and its place."""

    table: type[Base]
    column: str
    row_id: str | int
    context: str
    value: bytes


def context(column: Column, row_id: str | int) -> str:
    """Return the context of a sealed column's value in a row."""
    return SEALED[column].format(row_id)


def seal(vault: Vault, column: Column, row_id: str | int, plain: str) -> bytes:
    """Encrypt a value for a column of the row with that primary key."""
    return vault.seal(plain, context(column, row_id))


def unseal(vault: Vault, column: Column, row: Base) -> str:
    """Decrypt the value of a column of a row; raise `VaultError` where there is none."""
    (row_id,) = column.parent.primary_key_from_instance(row)
    return unseal_value(vault, column, row_id, getattr(row, column.key))


def unseal_value(vault: Vault, column: Column, row_id: str | int, value: bytes | None) -> str:
    """Decrypt a value that was read from a column of the row with that primary key."""
    return vault.open(value or b"", context(column, row_id))


def seal_options(vault: Vault, column: Column, row_id: str | int, options: Mapping[str, Any]) -> bytes | None:
    """Encrypt a plugin's options for a column; None if there are none to keep."""
    return seal(vault, column, row_id, json.dumps(dict(options))) if options else None


def unseal_options(vault: Vault, column: Column, row: Base) -> dict[str, Any]:
    """Decrypt a plugin's options; none if nothing is kept."""
    if getattr(row, column.key) is None:
        return {}
    options: dict[str, Any] = json.loads(unseal(vault, column, row))
    return options


def seal_for_browser(vault: Vault, what: str, text: str) -> str:
    """Encrypt what a browser keeps for us until it comes back; `what`: from what it went away."""
    return base64.urlsafe_b64encode(vault.seal(text, f"browsers:{what}")).decode()


def unseal_of_browser(vault: Vault, what: str, kept: str) -> str:
    """Decrypt it; raise `VaultError` where it is anything else."""
    try:
        return vault.open(base64.b64decode(kept.encode(), b"-_", validate=True), f"browsers:{what}")
    except (binascii.Error, UnicodeError):
        raise VaultError("what a browser kept is not base64") from None


def seal_proof(vault: Vault, name: str) -> str:
    """Encrypt the name of a panel as text: what opens again was made by a panel with our master key."""
    return base64.urlsafe_b64encode(vault.seal(name, _PROOF)).decode()


def unseal_proof(vault: Vault, proof: str) -> str:
    """Decrypt it; raise `VaultError` where it is anything else."""
    try:
        return vault.open(base64.b64decode(proof.encode(), b"-_", validate=True), _PROOF)
    except (binascii.Error, UnicodeError):
        raise VaultError("a proof of a panel's name is not base64") from None


def secrets(tx: Tx) -> Iterator[Secret]:
    """Yield every sealed value of the database."""
    for column in SEALED:
        query = select(_primary_key(column), column).where(column.is_not(None))
        for row_id, value in tx.session.execute(query.execution_options(yield_per=ROWS_AT_A_TIME)):
            yield Secret(column.parent.class_, column.key, row_id, context(column, row_id), value)


def headers(tx: Tx) -> Counter[bytes]:
    """Count the sealed values of the database by their headers, which say which master key sealed them."""
    found: Counter[bytes] = Counter()
    for column in SEALED:
        header = _header(column)
        query = select(header, func.count()).where(column.is_not(None)).group_by(header)
        found.update({bytes(value): count for value, count in tx.session.execute(query)})
    return found


def reseal_batch(tx: Tx, vault: Vault, column: Column, after: str | int | None) -> tuple[str | int | None, int]:
    """Seal up to `ROWS_AT_A_TIME` values of a column again that another key than the current one sealed.

    Begins after a primary key (None: at the first); returns the last one that was looked at, None where there was none,
    and how many values were sealed. Leaves out those that do not open, and rows that others are changing just now.
    """
    key = _primary_key(column)
    query = select(key, column).where(column.is_not(None), _header(column) != vault.header).order_by(key)
    if after is not None:
        query = query.where(key > after)
    # Two that wait for rows while they hold others, in different orders, would wait for ever.
    rows = tx.session.execute(query.limit(ROWS_AT_A_TIME).with_for_update(skip_locked=True)).all()
    done = 0
    for row_id, value in rows:
        place = context(column, row_id)
        try:
            fresh = vault.seal(vault.open(value, place), place)
        except VaultError:
            continue
        tx.session.execute(update(column.parent.class_).where(key == row_id).values({column.key: fresh}))
        done += 1
    return (rows[-1][0] if rows else None), done


def _header(column: Column) -> ColumnElement[Any]:
    return func.substr(column, 1, HEADER_BYTES, type_=LargeBinary)


@cache
def _primary_key(column: Column) -> ColumnElement[Any]:
    (found,) = column.parent.primary_key
    return found
