"""Rows of API keys and join tokens. Only digests are kept, never what they are digests of."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, or_, select, update
from sqlalchemy import delete as delete_rows

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import ApiKey, JoinToken, User


def add_key(tx: Tx, key: ApiKey) -> None:
    """Add a key."""
    tx.session.add(key)
    tx.session.flush()


def limits(tx: Tx) -> Iterator[tuple[str, str, list[str] | None]]:
    """Yield `user` or `key`, the name, and the groups that it is limited to."""
    for kind, table in (("user", User), ("key", ApiKey)):
        for name, groups in tx.session.execute(select(table.name, table.limit_groups)):
            yield kind, name, groups


class KeyRow(NamedTuple):
    """What each call asks of its key; of columns, since every call does."""

    id: str
    name: str
    digest: str
    scopes: list[str]
    expires_at: float | None
    last_used_at: float | None
    limit_configs: list[str] | None
    limit_groups: list[str] | None


_BY_DIGEST = select(*(getattr(ApiKey, name) for name in KeyRow._fields)).where(ApiKey.digest == bindparam("digest"))


def key_by_digest(tx: Tx, digest: str) -> KeyRow | None:
    """Return the key whose text has that digest."""
    row = tx.connection.execute(_BY_DIGEST, {"digest": digest}).first()
    return None if row is None else KeyRow(*row)


def find_key(tx: Tx, reference: str) -> ApiKey | None:
    """Return the key of that id or name."""
    return tx.session.scalar(select(ApiKey).where(or_(ApiKey.id == reference, ApiKey.name == reference)))


def page_keys(tx: Tx, after: str | None, limit: int) -> Sequence[ApiKey]:
    """Return keys in the order they were made, after the id `after`."""
    query = select(ApiKey).order_by(ApiKey.id).limit(limit)
    return tx.session.scalars(query.where(ApiKey.id > after) if after else query).all()


def lock_keys(tx: Tx) -> Sequence[ApiKey]:
    """Return all keys and keep others from changing them until this transaction ends."""
    return tx.session.scalars(select(ApiKey).order_by(ApiKey.id).with_for_update()).all()


def any_key(tx: Tx) -> bool:
    """Say whether there is a key at all."""
    return tx.session.scalar(select(ApiKey.id).limit(1)) is not None


def delete_key(tx: Tx, key: ApiKey) -> None:
    """Delete a key."""
    tx.session.delete(key)
    tx.session.flush()


def touch_key(tx: Tx, key_id: str, now: float) -> None:
    """Note that the key was used."""
    tx.session.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=now))


def replace_token(tx: Tx, token: JoinToken) -> None:
    """Add a join token; the node's unused ones go."""
    unused = JoinToken.used_at.is_(None)
    tx.session.execute(delete_rows(JoinToken).where(JoinToken.node_id == token.node_id, unused))
    tx.session.add(token)
    tx.session.flush()


def use_token(tx: Tx, digest: str, now: float) -> str | None:
    """Mark an unused, unexpired token as used and return its node's id: of any number at once, one gets it."""
    where = (JoinToken.digest == digest, JoinToken.used_at.is_(None), JoinToken.expires_at > now)
    return tx.session.scalar(update(JoinToken).where(*where).values(used_at=now).returning(JoinToken.node_id))


def token(tx: Tx, digest: str) -> JoinToken | None:
    """Return the token of that digest, used or not."""
    return tx.session.get(JoinToken, digest)


def forget_tokens(tx: Tx, before: float, limit: int) -> int:
    """Delete up to `limit` join tokens that were used, or expired, before a time; return how many."""
    over = or_(JoinToken.used_at < before, JoinToken.expires_at < before)
    gone = tx.session.scalars(select(JoinToken.digest).where(over).limit(limit)).all()
    tx.session.execute(delete_rows(JoinToken).where(JoinToken.digest.in_(gone)))
    return len(gone)
