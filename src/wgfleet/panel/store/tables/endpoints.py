"""Tables of endpoint groups, floating addresses and DNS names."""

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Integer, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from wgfleet.panel.domain.dns.listing import DnsMode, OnDrift
from wgfleet.panel.domain.dns.states import ErrorClass, SyncState
from wgfleet.panel.store.tables.base import Base, SaidJson, SaidText


class EndpointGroup(Base):
    """The public face of a config: the name of a cluster, or the domain that the names of its nodes are below.

    `dns_provider` is None where nothing is published. `dns_zone` is the provider's name or id of the zone,
    `dns_record_name` the name that is published (None: the domain). Options are JSON objects of the
    plugin's own fields.
    """

    __tablename__ = "endpoint_groups"
    config_id: Mapped[str] = mapped_column(ForeignKey("configs.id", ondelete="CASCADE"), primary_key=True)
    domain: Mapped[str]
    port: Mapped[int]
    ttl: Mapped[int]
    auto_migrate: Mapped[bool]
    publish_only_healthy: Mapped[bool]
    min_nodes: Mapped[int]
    dns_provider: Mapped[str | None]
    dns_zone: Mapped[str | None]
    dns_record_name: Mapped[str | None]
    dns_mode: Mapped[DnsMode] = mapped_column(server_default="sync")
    dns_drift: Mapped[OnDrift] = mapped_column(server_default="repair")
    dns_options_sealed: Mapped[bytes | None]
    address_provider: Mapped[str] = mapped_column(server_default="none")
    address_options_sealed: Mapped[bytes | None]
    created_at: Mapped[float]


class FloatingAddress(Base):
    """A public address that belongs to one node of a config at a time, or to none.

    `holder_node_id` is to have it. `leaving_node_id` still may: nobody gets the address before that node has applied
    `generation`, or cannot be asked (`contested`). Where nobody is leaving, the holder has it from `generation` on.
    `former_node_id` is the one that had it last, from `former_since` on. `contested`: somebody may have it whom the
    panel cannot ask, so the holder takes it only when nobody on its link answers for it. `still_at_node_id`: of a
    provider that brings it, the node in use that it has yet to bring it from. `withdrawn`: not wanted any more; the row
    goes when nobody has it.

    Of a provider that does not bring it to its holder: `error` is what it said last, at `tried_at`, after `attempts` in
    a row, the first of which was at `failing_since`; it is asked again at `next_try_at`. None where all is well.
    """

    __tablename__ = "floating_addresses"
    address: Mapped[str] = mapped_column(primary_key=True)
    config_id: Mapped[str] = mapped_column(ForeignKey("configs.id", ondelete="CASCADE"), index=True)
    holder_node_id: Mapped[str | None] = mapped_column(ForeignKey("nodes.id", ondelete="SET NULL"), index=True)
    leaving_node_id: Mapped[str | None] = mapped_column(ForeignKey("nodes.id", ondelete="SET NULL"))
    former_node_id: Mapped[str | None] = mapped_column(ForeignKey("nodes.id", ondelete="SET NULL"))
    former_since: Mapped[float | None]
    still_at_node_id: Mapped[str | None] = mapped_column(ForeignKey("nodes.id", ondelete="SET NULL"))
    generation: Mapped[int] = mapped_column(BigInteger)
    contested: Mapped[bool] = mapped_column(server_default=false())
    withdrawn: Mapped[bool]
    since: Mapped[float]
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    error: Mapped[str | None] = mapped_column(SaidText)
    failing_since: Mapped[float | None]
    tried_at: Mapped[float | None]
    next_try_at: Mapped[float | None]


class DnsSync(Base):
    """A published name and where it stands; outlives its endpoint group until our records are gone.

    `withdrawn`: all our records at the name are to be deleted. `options_sealed` is a copy of the group's. `plan` is
    what the last sync left to be done, and `approved_plan_id` the plan that an administrator approved. `published` are
    the addresses at the name that are ours. `decided_at`: when the desired records last changed, `published_at`: when
    the name was first seen to have them.
    """

    __tablename__ = "dns_syncs"
    __table_args__ = (UniqueConstraint("config_id", "provider", "zone", "name"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    config_id: Mapped[str] = mapped_column(index=True)
    provider: Mapped[str]
    zone: Mapped[str]
    name: Mapped[str]
    options_sealed: Mapped[bytes | None]
    withdrawn: Mapped[bool]
    state: Mapped[SyncState]
    reason: Mapped[str] = mapped_column(SaidText)
    requested_by: Mapped[str]
    attempts: Mapped[int] = mapped_column(Integer)
    error: Mapped[str | None] = mapped_column(SaidText)
    error_class: Mapped[ErrorClass | None]
    next_try_at: Mapped[float | None] = mapped_column(index=True)
    plan_id: Mapped[str | None]
    plan: Mapped[dict[str, Any]] = mapped_column(SaidJson)
    approved_plan_id: Mapped[str | None]
    published: Mapped[list[str]]
    decided_at: Mapped[float]
    checked_at: Mapped[float | None]
    published_at: Mapped[float | None]
    created_at: Mapped[float]


class DnsAccount(Base):
    """What is left of a provider account's rate limit. `account`: an alias (`Vault.aliases`) of the provider's id.

    `key_id`: the master key that the alias was made with. None: it is the id itself, from which a credential may be
    guessed, and which the next start of a panel replaces.
    """

    __tablename__ = "dns_accounts"
    account: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[str | None]
    tokens: Mapped[float]
    updated_at: Mapped[float]
    blocked_until: Mapped[float]


class HostName(Base):
    """A host name that has to stay outside of the tunnel, and the addresses that it was last found to have.

    `error`: why the latest look found nothing; the addresses stay. `inside`: in which tunnel one of them is, in words.
    """

    __tablename__ = "host_names"
    name: Mapped[str] = mapped_column(primary_key=True)
    addresses: Mapped[list[str]]
    found_at: Mapped[float | None]
    error: Mapped[str | None]
    inside: Mapped[str | None]
