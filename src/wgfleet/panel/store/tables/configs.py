"""Tables of configs, assignments, their health, and addresses."""

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, UniqueConstraint, false, true
from sqlalchemy.orm import Mapped, mapped_column

from wgfleet.panel.domain.first_look import FirstLook
from wgfleet.panel.domain.forwarding import ForwardingFound
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.domain.probe_keys import RotationStep
from wgfleet.panel.store.tables.base import Base, SaidJson, SaidText
from wgfleet.panel.store.tables.held_settings import HeldSettingsColumns


class Config(HeldSettingsColumns, Base):
    """A WireGuard network. `settings_generation`: the generation at which the interface itself last changed.

    `oldest_base`: a node that has an older generation gets the whole, since what left the config before is not known
    any more. The probe key is the panel's own, for its handshakes with the nodes; `probes_generation`: the generation
    at which the probe peers last changed.

    `disabled_generation`: that at which the config was disabled last; it counts while it is.
    `placement` is how new homes are chosen: `least_peers`, `least_load` or `nearest_group`.
    `node_ports`, `denied_networks` and `reachable_configs` (ids): what users reach through a node (`protocol.reach`).
    `client_to_client`: whether users reach each other; `backbone`: those of other nodes too, over links between nodes,
    which listen on `backbone_port` (None: `domain.backbone` chooses), all of them or those `backbone_within_groups`.
    `file_names`: template of what files for users are called (None: after the config, and the node if of one).
    `paused_since`: since when no node is taken out of use (None: not paused), and `paused_by` who wanted that.
    `private_key_sealed` and `public_key` are the cluster's; in mode `independent` each assignment has its own.
    """

    __tablename__ = "configs"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    mode: Mapped[str]
    placement: Mapped[str] = mapped_column(server_default="least_peers")
    listen_port: Mapped[int]
    mtu: Mapped[int | None]
    dns: Mapped[list[str]]
    client_allowed_ips: Mapped[list[str]]
    excluded_networks: Mapped[list[str]] = mapped_column(default=list)
    file_names: Mapped[str | None] = mapped_column(default=None)
    keepalive: Mapped[int]
    masquerade: Mapped[bool]
    node_ports: Mapped[list[str]] = mapped_column(default=list)
    denied_networks: Mapped[list[str]] = mapped_column(default=list)
    reachable_configs: Mapped[list[str]] = mapped_column(default=list)
    client_to_client: Mapped[bool] = mapped_column(default=True, server_default=true())
    backbone: Mapped[bool] = mapped_column(default=False, server_default=false())
    backbone_port: Mapped[int | None] = mapped_column(default=None)
    backbone_within_groups: Mapped[bool] = mapped_column(default=False, server_default=false())
    enabled: Mapped[bool]
    disabled_generation: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    paused_since: Mapped[float | None] = mapped_column(default=None)
    paused_by: Mapped[str | None] = mapped_column(default=None)
    private_key_sealed: Mapped[bytes | None]
    public_key: Mapped[str | None]
    generation: Mapped[int] = mapped_column(BigInteger)
    settings_generation: Mapped[int] = mapped_column(BigInteger)
    oldest_base: Mapped[int] = mapped_column(BigInteger)
    probe_private_key_sealed: Mapped[bytes]
    probe_public_key: Mapped[str]
    probes_generation: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[float]


class ProbeKeyRotation(Base):
    """The probe keys of a config are being replaced; its own next one is here, those of its nodes are with them.

    `known_from`: a node that has applied this generation knows the next keys. `generation`: that of the step, which
    nodes have to apply before the step after it; `step_since`: when it began.
    """

    __tablename__ = "probe_key_rotations"
    config_id: Mapped[str] = mapped_column(ForeignKey("configs.id", ondelete="CASCADE"), primary_key=True)
    private_key_sealed: Mapped[bytes]
    public_key: Mapped[str]
    step: Mapped[RotationStep]
    known_from: Mapped[int] = mapped_column(BigInteger)
    generation: Mapped[int] = mapped_column(BigInteger)
    step_since: Mapped[float]
    requested_by: Mapped[str]
    requested_at: Mapped[float]


class WitnessKey(Base):
    """The probe key with which a witness looks at the nodes of a config, and that by which a rotation replaces it.

    `unreached`: of how many of these it has no answer while others have, where it has none of any; else 0.
    """

    __tablename__ = "witness_keys"
    __table_args__ = (UniqueConstraint("config_id", "node_id"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    config_id: Mapped[str] = mapped_column(ForeignKey("configs.id", ondelete="CASCADE"), index=True)
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), index=True)
    probe_private_key_sealed: Mapped[bytes]
    probe_public_key: Mapped[str]
    next_probe_private_key_sealed: Mapped[bytes | None]
    next_probe_public_key: Mapped[str | None]
    unreached: Mapped[int] = mapped_column(default=0)


class ConfigHistory(Base):
    """Generations of a config from one on, up to the next row's, were made by an incarnation of the panel."""

    __tablename__ = "config_histories"
    config_id: Mapped[str] = mapped_column(ForeignKey("configs.id", ondelete="CASCADE"), primary_key=True)
    from_generation: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    incarnation_id: Mapped[str]


class Pool(Base):
    """A network that peers get addresses from. `assignment_id`: the node's slice of an independent config.

    `next_offset` is the first address never handed out; those given back wait in `free_offsets`. `server_address` is
    that of the nodes themselves (None: the first host's), which is never handed out.
    """

    __tablename__ = "pools"
    id: Mapped[str] = mapped_column(primary_key=True)
    config_id: Mapped[str] = mapped_column(ForeignKey("configs.id", ondelete="CASCADE"), index=True)
    assignment_id: Mapped[str | None] = mapped_column(ForeignKey("assignments.id", ondelete="CASCADE"), index=True)
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("pools.id", ondelete="CASCADE"), index=True)
    network: Mapped[str]
    next_offset: Mapped[int] = mapped_column(BigInteger)
    server_address: Mapped[str | None] = mapped_column(default=None)


class Address(Base):
    """An address in use: pool and offset from the network address. The primary key is what forbids a second use."""

    __tablename__ = "addresses"
    pool_id: Mapped[str] = mapped_column(ForeignKey("pools.id", ondelete="CASCADE"), primary_key=True)
    offset: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    peer_id: Mapped[str] = mapped_column(ForeignKey("peers.id", ondelete="CASCADE"), index=True)


class FreeOffset(Base):
    """An address below `next_offset` that was given back."""

    __tablename__ = "free_offsets"
    pool_id: Mapped[str] = mapped_column(ForeignKey("pools.id", ondelete="CASCADE"), primary_key=True)
    offset: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class Assignment(Base):
    """A config on a node. `applied_generation` is what the agent last confirmed (0: nothing yet).

    `flaps`: the times at which it went down lately. The probe key is for the node's handshakes with the others,
    the next one that by which a rotation replaces it.
    `oldest_base`: as that of a config. `behind_since`: since when it lacks generation `behind_generation`; None: it was
    not seen to lack one. `floating_held`: the floating addresses that its agent said it has, and `floating_rivals` the
    link addresses of other machines that have one too, by address. `first_look`: the result of probes before it served;
    None: nobody has looked. `number`: which one it is among all that there are; its address on the backbone follows
    from it. `public_port`: that at which clients and other nodes reach it, where a router in front of it has another
    than the config says; `next_public_port` takes its place once the node answers there (0: there shall be none).
    `public_backbone_port`: that at which other nodes reach its end of the backbone, likewise.
    `silent_addresses`: those of its node where clients get no answer while another one answers. `forwarding`:
    what its agent found out by packets of a user's address, for each IP version.
    """

    __tablename__ = "assignments"
    __table_args__ = (UniqueConstraint("config_id", "node_id"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    config_id: Mapped[str] = mapped_column(ForeignKey("configs.id"), index=True)
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.id"), index=True)
    number: Mapped[int] = mapped_column(default=0, server_default="0")
    phase: Mapped[Phase]
    private_key_sealed: Mapped[bytes | None]
    public_key: Mapped[str | None]
    applied_generation: Mapped[int] = mapped_column(BigInteger)
    applied_at: Mapped[float | None]
    summary: Mapped[str] = mapped_column(SaidText)
    drift: Mapped[list[str]] = mapped_column(SaidJson)
    floating_held: Mapped[list[str]] = mapped_column(default=list)
    floating_rivals: Mapped[dict[str, str]] = mapped_column(default=dict)
    forwarding: Mapped[list[ForwardingFound]] = mapped_column(default=list)
    health: Mapped[Health]
    health_since: Mapped[float]
    health_reason: Mapped[str] = mapped_column(SaidText)
    flaps: Mapped[list[float]]
    silent_addresses: Mapped[list[str]] = mapped_column(default=list)
    public_port: Mapped[int | None]
    next_public_port: Mapped[int | None]
    public_backbone_port: Mapped[int | None]
    probe_private_key_sealed: Mapped[bytes]
    probe_public_key: Mapped[str]
    next_probe_private_key_sealed: Mapped[bytes | None]
    next_probe_public_key: Mapped[str | None]
    oldest_base: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[float]
    behind_since: Mapped[float | None]
    behind_generation: Mapped[int | None] = mapped_column(BigInteger)
    first_look: Mapped[FirstLook | None]


class EntrustedNode(Base):
    """A node that was given the keys of a config, and may still have them."""

    __tablename__ = "entrusted_nodes"
    config_id: Mapped[str] = mapped_column(ForeignKey("configs.id", ondelete="CASCADE"), primary_key=True)
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True, index=True)


class HealthEvent(Base):
    """A change of an assignment's health, with the reason."""

    __tablename__ = "health_events"
    __table_args__ = (Index("ix_health_events_config_id_node_id_id", "config_id", "node_id", "id"),)
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    config_id: Mapped[str]
    node_id: Mapped[str]
    at: Mapped[float]
    before: Mapped[Health]
    after: Mapped[Health]
    reason: Mapped[str] = mapped_column(SaidText)


class HealthFreeze(Base):
    """Why no node is taken out of use, or which of them only a person may; at most one row.

    `nodes` do not answer. `approved_nodes` may be taken out until `approved_until`, once; `approved_by` is who said so.
    """

    __tablename__ = "health_freezes"
    id: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[float]
    reason: Mapped[str] = mapped_column(SaidText)
    nodes: Mapped[list[str]]
    approved_nodes: Mapped[list[str]]
    approved_by: Mapped[str | None]
    approved_until: Mapped[float | None]
