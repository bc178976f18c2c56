"""Tables of the installation, of API keys, of users who sign in, and of the audit log."""

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from wgfleet.panel.domain.authorities import AuthorityStep
from wgfleet.panel.domain.certificates import CertificateKind
from wgfleet.panel.store.tables.base import Base, SaidJson


class CertificateAuthority(Base):
    """The private CA; one row. `panel_id` names this installation in certificates and ownership marks."""

    __tablename__ = "authority"
    id: Mapped[int] = mapped_column(primary_key=True)
    panel_id: Mapped[str]
    certificate: Mapped[str]
    key_sealed: Mapped[bytes]
    created_at: Mapped[float]


class AuthorityRotation(Base):
    """The CA that is to replace the present one; no row, or one.

    `id` tells rotations apart, and `name` is the CA's in certificates. `step_since` and `requested_at` in s since the
    epoch.
    """

    __tablename__ = "authority_rotation"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    certificate: Mapped[str]
    key_sealed: Mapped[bytes]
    step: Mapped[AuthorityStep]
    step_since: Mapped[float]
    requested_by: Mapped[str]
    requested_at: Mapped[float]


class Incarnation(Base):
    """A start of this panel. The number only grows; the id tells apart those of two copies of one database.

    `refused`: why this panel decides nothing, if most nodes obey a newer one.
    """

    __tablename__ = "incarnations"
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[str]
    started_at: Mapped[float]
    refused: Mapped[str | None]


class RenderedSetting(Base):
    """A panel setting that is part of nodes' desired state: the value last rendered."""

    __tablename__ = "told_settings"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[float]


class IssuedCertificate(Base):
    """A certificate of our CA. `serial` and `key_digest` as in `Issued`; the node is named as it was at the time.

    `panel_start` is the number of the incarnation that calls with it. `revocation` numbers those that agents are to be
    told of, in the order in which they were revoked. `issuer` is the CA's name, None: not known.
    """

    __tablename__ = "certificates"
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[CertificateKind]
    serial: Mapped[str | None] = mapped_column(unique=True)
    key_digest: Mapped[str] = mapped_column(index=True)
    node_id: Mapped[str | None] = mapped_column(index=True)
    node_name: Mapped[str | None]
    panel_start: Mapped[int | None] = mapped_column(BigInteger)
    issuer: Mapped[str | None]
    issued_by: Mapped[str]
    issued_at: Mapped[float]
    expires_at: Mapped[float] = mapped_column(index=True)
    revoked_at: Mapped[float | None]
    revoked_by: Mapped[str | None]
    revocation: Mapped[int | None] = mapped_column(BigInteger, unique=True)


class ApiKey(Base):
    """A credential of the API; only its SHA-256 is kept (the key has 256 random bits).

    `limit_configs`, `limit_groups`: see `domain.limits`; both None: it has no limit.
    """

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    digest: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    last_used_at: Mapped[float | None]
    limit_configs: Mapped[list[str] | None]
    limit_groups: Mapped[list[str] | None]


class User(Base):
    """A person who signs in. `password_hash` is argon2's text; None: nobody has set one yet, so nobody gets in.

    `totp_sealed` is the secret of the second factor, which counts once `totp_since` is set; `totp_step` is the last
    time step whose code was used. `recovery_digests` are those of the codes that are left. Limits as in `ApiKey`;
    `device_limit`: how many devices of its own the user may make, None: as many as the panel's setting says.
    `provider_id`, `subject`: who vouches for the user, and what it calls the user; None: nobody but the password here.
    """

    __tablename__ = "users"
    __table_args__ = (Index("ix_users_provider_id_subject", "provider_id", "subject", unique=True),)
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    disabled: Mapped[bool]
    password_hash: Mapped[str | None]
    totp_sealed: Mapped[bytes | None]
    totp_since: Mapped[float | None]
    totp_step: Mapped[int | None] = mapped_column(BigInteger)
    recovery_digests: Mapped[list[str]]
    created_at: Mapped[float]
    signed_in_at: Mapped[float | None]
    limit_configs: Mapped[list[str] | None]
    limit_groups: Mapped[list[str] | None]
    device_limit: Mapped[int | None]
    provider_id: Mapped[str | None]
    subject: Mapped[str | None]


class PasswordLink(Base):
    """A one-time right to set a user's password; one for each user at most. Only its SHA-256 is kept."""

    __tablename__ = "password_links"
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True)
    expires_at: Mapped[float]


class SignIn(Base):
    """A user who is signed in, and from where. Only the SHA-256 of its token is kept.

    `address` is the client's, `program` what it calls itself.
    """

    __tablename__ = "sign_ins"
    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    digest: Mapped[str] = mapped_column(unique=True)
    address: Mapped[str]
    program: Mapped[str]
    created_at: Mapped[float]
    last_used_at: Mapped[float]
    expires_at: Mapped[float] = mapped_column(index=True)


class AuditEntry(Base):
    """Who did what to what, and when. Never changed after it was written."""

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("ix_audit_log_entity_type_entity_id_id", "entity_type", "entity_id", "id"),
        Index("ix_audit_log_address_key_id", "address_key", "id"),
    )
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    at: Mapped[float]
    actor: Mapped[str]
    address: Mapped[str | None]
    """From where the caller came; None: what the panel does by itself, and what was written before there was this."""
    address_key: Mapped[str | None]
    """The same, so that the addresses of a network stand one after another (`origin.key`)."""
    action: Mapped[str] = mapped_column(index=True)
    entity_type: Mapped[str]
    entity_id: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column(SaidJson)
