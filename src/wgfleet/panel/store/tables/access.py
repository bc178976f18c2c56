"""Tables of the installation, of API keys and of the audit log."""

from typing import Any

from sqlalchemy import BigInteger, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from wgfleet.panel.domain.authorities import AuthorityStep
from wgfleet.panel.domain.certificates import CertificateKind
from wgfleet.panel.store.tables.base import Base


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
    """A credential of the API; only its SHA-256 is kept (the key has 256 random bits)."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    digest: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    last_used_at: Mapped[float | None]


class AuditEntry(Base):
    """Who did what to what, and when. Never changed after it was written."""

    __tablename__ = "audit_log"
    __table_args__ = (Index("ix_audit_log_entity_type_entity_id_id", "entity_type", "entity_id", "id"),)
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    at: Mapped[float]
    actor: Mapped[str]
    action: Mapped[str] = mapped_column(index=True)
    entity_type: Mapped[str]
    entity_id: Mapped[str]
    details: Mapped[dict[str, Any]]
