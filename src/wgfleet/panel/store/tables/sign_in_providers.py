"""Tables of other ways to sign in: providers that vouch for people, and passkeys."""

from typing import Any

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from wgfleet.panel.domain.identities import ProviderKind
from wgfleet.panel.store.tables.base import Base, SaidText


class SignInProvider(Base):
    """A system that vouches for people. `options` are without its secret; `roles`: from its groups to ours.

    `default_role`: of who is in no such group, None: not let in. `makes_users`: whether the first sign-in makes the
    user. `synced_at`, `sync_error`: of the last look at who is still there.
    """

    __tablename__ = "sign_in_providers"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[ProviderKind]
    enabled: Mapped[bool]
    options: Mapped[dict[str, Any]]
    secret_sealed: Mapped[bytes | None]
    roles: Mapped[dict[str, str]]
    default_role: Mapped[str | None]
    makes_users: Mapped[bool]
    created_at: Mapped[float]
    synced_at: Mapped[float | None]
    sync_error: Mapped[str | None] = mapped_column(SaidText)


class Passkey(Base):
    """A key of a user's authenticator (WebAuthn). `uses` is its own counter, 0 where it counts none.

    `challenged_at`: when the last challenge was made that it answered; no older one counts again.
    """

    __tablename__ = "passkeys"
    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    credential_id: Mapped[str] = mapped_column(unique=True)
    public_key: Mapped[bytes]
    uses: Mapped[int] = mapped_column(BigInteger)
    challenged_at: Mapped[float]
    created_at: Mapped[float]
    last_used_at: Mapped[float | None]
