"""Rows of users, of the links with which they set passwords, and of their sign-ins."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, delete, func, or_, select, update

from wgfleet.panel.store.chunks import chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Passkey, PasswordLink, SignIn, User

_CREATION_LOCK = 0x77676675  # any constant that no other advisory lock of ours uses


def add(tx: Tx, user: User) -> None:
    """Add a user."""
    tx.session.add(user)
    tx.session.flush()


def find(tx: Tx, reference: str) -> User | None:
    """Return the user of that id or name."""
    return tx.session.scalar(select(User).where(or_(User.id == reference, User.name == reference)))


def alike(tx: Tx, name: str) -> str | None:
    """Return the name of a user that is that one but for its letters' case; nobody else makes one meanwhile."""
    if tx.writes and tx.connection.dialect.name == "postgresql":
        tx.session.execute(select(func.pg_advisory_xact_lock(_CREATION_LOCK)))
    # In an order: of those that an earlier release let be, the same one is named each time.
    same = select(User.name).where(func.lower(User.name) == name.lower())
    return tx.session.scalar(same.order_by(User.name != name, User.id).limit(1))


def names(tx: Tx, user_ids: Collection[str]) -> dict[str, str]:
    """Return the names of users by id."""
    rows = tx.session.execute(select(User.id, User.name).where(User.id.in_(user_ids)))
    return {row.id: row.name for row in rows}


class HeldUser(NamedTuple):
    """What counts of a user who is to own devices."""

    name: str
    disabled: bool


def held(tx: Tx, user_ids: Collection[str]) -> dict[str, HeldUser]:
    """Return users by id as they are now, and stay until this transaction, if it writes, ends."""
    found: dict[str, HeldUser] = {}
    for chunk in chunked(sorted(user_ids)):  # by id, as `lock_all`
        query = select(User.id, User.name, User.disabled).where(User.id.in_(chunk)).order_by(User.id)
        for row in tx.session.execute(query.with_for_update(read=True) if tx.writes else query):
            found[row.id] = HeldUser(row.name, row.disabled)
    return found


def lock(tx: Tx, user_id: str) -> User | None:
    """Return a user as it is now, and keep others from changing it until this transaction ends."""
    query = select(User).where(User.id == user_id).with_for_update().execution_options(populate_existing=True)
    return tx.session.scalar(query)


def lock_all(tx: Tx) -> Sequence[User]:
    """Return all users and keep others from changing them until this transaction ends."""
    return tx.session.scalars(select(User).order_by(User.id).with_for_update()).all()


def has_enabled(tx: Tx, role: str) -> bool:
    """Say whether somebody with a role can sign in."""
    query = select(User.id).where(User.role == role, User.disabled.is_(False), User.password_hash.is_not(None))
    return tx.session.scalar(query.limit(1)) is not None


def page(tx: Tx, after: str | None, limit: int) -> Sequence[User]:
    """Return users in the order they were made, after the id `after`."""
    query = select(User).order_by(User.id).limit(limit)
    return tx.session.scalars(query.where(User.id > after) if after else query).all()


def remove(tx: Tx, user: User) -> None:
    """Delete a user, and with it the link, passkeys and sign-ins."""
    tx.session.execute(delete(Passkey).where(Passkey.user_id == user.id))
    tx.session.execute(delete(PasswordLink).where(PasswordLink.user_id == user.id))
    tx.session.execute(delete(SignIn).where(SignIn.user_id == user.id))
    tx.session.delete(user)
    tx.session.flush()


def replace_link(tx: Tx, link: PasswordLink) -> None:
    """Give a user a link; the one before is worth nothing."""
    tx.session.execute(delete(PasswordLink).where(PasswordLink.user_id == link.user_id))
    tx.session.add(link)
    tx.session.flush()


def user_of_link(tx: Tx, digest: str, now: float) -> User | None:
    """Return whose link has that digest, unless it has expired."""
    query = select(User).join(PasswordLink, PasswordLink.user_id == User.id)
    return tx.session.scalar(query.where(PasswordLink.digest == digest, PasswordLink.expires_at > now))


def use_link(tx: Tx, digest: str, now: float) -> str | None:
    """Delete an unexpired link and return its user's id: of any number at once, one gets it."""
    where = (PasswordLink.digest == digest, PasswordLink.expires_at > now)
    return tx.session.scalar(delete(PasswordLink).where(*where).returning(PasswordLink.user_id))


def link_expiry(tx: Tx, user_ids: Sequence[str]) -> dict[str, float]:
    """Return when the links of these users expire, of those that have one."""
    query = select(PasswordLink.user_id, PasswordLink.expires_at).where(PasswordLink.user_id.in_(user_ids))
    return dict(tx.session.execute(query).all())


def add_sign_in(tx: Tx, sign_in: SignIn, most: int) -> None:
    """Add a sign-in. The user's oldest go where there are more than `most`, and all that have expired."""
    tx.session.execute(delete(SignIn).where(SignIn.expires_at <= sign_in.created_at))
    newest = select(SignIn.id).where(SignIn.user_id == sign_in.user_id).order_by(SignIn.id.desc()).limit(most - 1)
    kept = list(tx.session.scalars(newest))
    tx.session.execute(delete(SignIn).where(SignIn.user_id == sign_in.user_id, SignIn.id.not_in(kept)))
    tx.session.add(sign_in)
    tx.session.flush()


class SignInRow(NamedTuple):
    """What each call asks of its sign-in; of columns, since every call does."""

    id: str
    user_id: str
    last_used_at: float
    expires_at: float
    name: str
    role: str
    disabled: bool
    limit_configs: list[str] | None
    limit_groups: list[str] | None


_BY_DIGEST = (
    select(
        *(getattr(SignIn, name) for name in ("id", "user_id", "last_used_at", "expires_at")),
        *(getattr(User, name) for name in ("name", "role", "disabled", "limit_configs", "limit_groups")),
    )
    .join(User, User.id == SignIn.user_id)
    .where(SignIn.digest == bindparam("digest"))
)


def sign_in_by_digest(tx: Tx, digest: str) -> SignInRow | None:
    """Return the sign-in whose token has that digest, and whose it is."""
    row = tx.connection.execute(_BY_DIGEST, {"digest": digest}).first()
    return None if row is None else SignInRow(*row)


def sign_in(tx: Tx, sign_in_id: str) -> SignIn | None:
    """Return a sign-in."""
    return tx.session.get(SignIn, sign_in_id)


def sign_ins(tx: Tx, user_id: str | None, after: str | None, limit: int, now: float) -> Sequence[tuple[SignIn, str]]:
    """Return the sign-ins that last, of a user or of all, in the order they were made, with their users' names."""
    query = select(SignIn, User.name).join(User, User.id == SignIn.user_id).where(SignIn.expires_at > now)
    if user_id is not None:
        query = query.where(SignIn.user_id == user_id)
    if after is not None:
        query = query.where(SignIn.id > after)
    return [(row, name) for row, name in tx.session.execute(query.order_by(SignIn.id).limit(limit))]


def count_sign_ins(tx: Tx, user_ids: Sequence[str], now: float) -> dict[str, int]:
    """Return how many sign-ins of these users last, of those that have any."""
    query = select(SignIn.user_id, func.count()).where(SignIn.user_id.in_(user_ids), SignIn.expires_at > now)
    return dict(tx.session.execute(query.group_by(SignIn.user_id)).all())


def sign_in_addresses(tx: Tx, user_id: str, now: float) -> set[str]:
    """Return where the sign-ins of a user that last came from."""
    return set(tx.session.scalars(select(SignIn.address).where(SignIn.user_id == user_id, SignIn.expires_at > now)))


def touch_sign_in(tx: Tx, sign_in_id: str, now: float, expires_at: float) -> None:
    """Note that a sign-in was used, and until when it lasts."""
    values = {"last_used_at": now, "expires_at": expires_at}
    tx.session.execute(update(SignIn).where(SignIn.id == sign_in_id).values(values))


def end_sign_ins(tx: Tx, user_id: str, *, but: str | None = None) -> int:
    """Delete a user's sign-ins, but for one; return how many."""
    query = delete(SignIn).where(SignIn.user_id == user_id)
    gone = tx.session.scalars((query if but is None else query.where(SignIn.id != but)).returning(SignIn.id))
    return len(gone.all())


def end_sign_in(tx: Tx, sign_in_id: str) -> bool:
    """Delete one; return whether it was there."""
    gone = delete(SignIn).where(SignIn.id == sign_in_id).returning(SignIn.id)
    return tx.session.scalar(gone) is not None
