"""Rows of passkeys."""

from collections.abc import Sequence

from sqlalchemy import delete, select

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Passkey


def add(tx: Tx, row: Passkey) -> None:
    """Add a passkey."""
    tx.session.add(row)
    tx.session.flush()


def of_user(tx: Tx, user_id: str) -> Sequence[Passkey]:
    """Return a user's passkeys in the order they were made."""
    return tx.session.scalars(select(Passkey).where(Passkey.user_id == user_id).order_by(Passkey.id)).all()


def by_credential(tx: Tx, credential_id: str) -> Passkey | None:
    """Return the passkey that an authenticator calls by that id."""
    return tx.session.scalar(select(Passkey).where(Passkey.credential_id == credential_id))


def remove(tx: Tx, passkey_id: str) -> None:
    """Delete one."""
    tx.session.execute(delete(Passkey).where(Passkey.id == passkey_id))


def remove_all(tx: Tx, user_id: str) -> None:
    """Delete all of a user."""
    tx.session.execute(delete(Passkey).where(Passkey.user_id == user_id))
