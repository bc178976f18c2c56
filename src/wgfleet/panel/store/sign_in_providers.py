"""Rows of sign-in providers, and of the users that they vouch for."""

from collections.abc import Sequence

from sqlalchemy import delete, or_, select

from wgfleet.panel.domain.identities import ProviderKind
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import SignInProvider, User


def add(tx: Tx, provider: SignInProvider) -> None:
    """Add a provider."""
    tx.session.add(provider)
    tx.session.flush()


def find(tx: Tx, reference: str) -> SignInProvider | None:
    """Return the provider of that id or name."""
    where = or_(SignInProvider.id == reference, SignInProvider.name == reference)
    return tx.session.scalar(select(SignInProvider).where(where))


def all_of(tx: Tx, kind: ProviderKind | None = None, *, enabled: bool | None = None) -> Sequence[SignInProvider]:
    """Return providers in the order they were made."""
    query = select(SignInProvider).order_by(SignInProvider.id)
    if kind is not None:
        query = query.where(SignInProvider.kind == kind)
    if enabled is not None:
        query = query.where(SignInProvider.enabled == enabled)
    return tx.session.scalars(query).all()


def remove(tx: Tx, provider_id: str) -> None:
    """Delete a provider."""
    tx.session.execute(delete(SignInProvider).where(SignInProvider.id == provider_id))


def lock_user(tx: Tx, provider_id: str, subject: str) -> User | None:
    """Return the user that a provider vouches for, and keep others from changing it until this transaction ends."""
    query = select(User).where(User.provider_id == provider_id, User.subject == subject).with_for_update()
    return tx.session.scalar(query.execution_options(populate_existing=True))


def users(tx: Tx, provider_id: str) -> Sequence[User]:
    """Return the users that a provider vouches for, in the order they were made."""
    return tx.session.scalars(select(User).where(User.provider_id == provider_id).order_by(User.id)).all()
