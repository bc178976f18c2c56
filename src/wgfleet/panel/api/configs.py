"""`/api/configs`: WireGuard networks."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, cast

from fastapi import APIRouter, status
from pydantic import Field

from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.models import UNCHANGED, After, Body, Changes, Limit, Page, Port, Reference, View, page, utc
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.domain.fields import MAX_LIST
from wgfleet.panel.services import configs
from wgfleet.panel.services.configs import MAX_KEEPALIVE_S, MAX_POOLS, ConfigChanges, ConfigSpec
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Config
from wgfleet.protocol.desired import MAX_MTU, MIN_MTU

router = APIRouter(tags=["configs"])

Mtu = Annotated[int, Field(ge=MIN_MTU, le=MAX_MTU)]
Keepalive = Annotated[int, Field(ge=0, le=MAX_KEEPALIVE_S)]
Networks = Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=MAX_LIST)]
DnsEntries = Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=MAX_LIST)]
Placement = Literal["least_peers", "least_load", "nearest_group"]
PLACEMENT = (
    "How new homes are chosen, after the peer's own group. `least_peers`: by peers for the node's weight; "
    "`least_load`: the least busy node; `nearest_group`: groups of the same region before others."
)


class NewConfig(Body):
    """A network to be made."""

    name: str = Field(description="Its interface on each node.", max_length=15, examples=["wg0"])
    mode: Literal["cluster", "independent"] = Field(
        default="cluster",
        description="`cluster`: one key and one name, every peer on every node. `independent`: a key, an endpoint and "
        "a slice of the pools for each node.",
    )
    pools: list[Annotated[str, Field(max_length=64)]] = Field(
        description="Networks that peers get addresses from; the first host of each is the node's own.",
        min_length=1,
        max_length=MAX_POOLS,
        examples=[["10.8.0.0/16", "fd00:8::/64"]],
    )
    listen_port: Port | None = Field(
        default=None, description="UDP port on each node; null: the first free from 51820."
    )
    mtu: Mtu | None = Field(default=None, description="In bytes; null: the driver's own choice.")
    dns: DnsEntries = Field(default=[], description="DNS servers and search domains for clients.")
    client_allowed_ips: Networks = Field(
        default=["0.0.0.0/0", "::/0"], description="What clients send through the tunnel."
    )
    keepalive: Keepalive = Field(default=25, description="Seconds between keepalives of clients; 0: none.")
    masquerade: bool = Field(default=True, description="Nodes forward, and hide clients behind their own address.")
    enabled: bool = Field(default=True, description="false: nodes keep the interface, but down.")
    placement: Placement = Field(default="least_peers", description=PLACEMENT)


class ChangedConfig(Changes):
    """The fields to change; a field that is left out keeps its value."""

    listen_port: Port = Field(default=UNCHANGED, description="UDP port on each node. Files of users change with it.")
    mtu: Mtu | None = Field(default=UNCHANGED, description="In bytes; null: the driver's own choice.")
    dns: DnsEntries = Field(default=UNCHANGED, description="DNS servers and search domains for clients.")
    client_allowed_ips: Networks = Field(default=UNCHANGED, description="What clients send through the tunnel.")
    keepalive: Keepalive = Field(default=UNCHANGED, description="For peers made from now on, in s; 0: none.")
    masquerade: bool = Field(default=UNCHANGED, description="Nodes forward, and hide clients behind their own address.")
    enabled: bool = Field(default=UNCHANGED, description="false: nodes keep the interface, but down.")
    placement: Placement = Field(default=UNCHANGED, description=PLACEMENT)


class ConfigView(View):
    """A network."""

    id: str
    name: str
    mode: str
    pools: list[str]
    listen_port: int
    mtu: int | None
    dns: list[str]
    client_allowed_ips: list[str]
    keepalive: int
    masquerade: bool
    enabled: bool
    placement: str
    public_key: str | None = Field(description="The cluster's; null for an independent config.")
    generation: int = Field(description="Counts what its nodes must have; grows with every change of that.")
    nodes: int = Field(description="How many nodes it is assigned to.")
    peers: int = Field(description="How many peers it has.")
    created_at: datetime


def views(tx: Tx, rows: Sequence[Config]) -> list[ConfigView]:
    """Show configs with their pools and counts."""
    ids = [config.id for config in rows]
    networks, counts = configs.networks(tx, ids), configs.counts(tx, ids)
    return [
        ConfigView(
            id=config.id,
            name=config.name,
            mode=config.mode,
            pools=networks[config.id],
            listen_port=config.listen_port,
            mtu=config.mtu,
            dns=config.dns,
            client_allowed_ips=config.client_allowed_ips,
            keepalive=config.keepalive,
            masquerade=config.masquerade,
            enabled=config.enabled,
            placement=config.placement,
            public_key=config.public_key,
            generation=config.generation,
            nodes=counts[config.id][0],
            peers=counts[config.id][1],
            created_at=utc(config.created_at),
        )
        for config in rows
    ]


@router.get("/api/configs", summary="List configs")
def list_configs(panel: ThePanel, _caller: Reader, after: After = None, limit: Limit = 100) -> Page[ConfigView]:
    with panel.store.read() as tx:
        return page(configs.page(tx, after, limit + 1), limit, lambda rows: views(tx, rows))


@router.post("/api/configs", status_code=status.HTTP_201_CREATED, summary="Make a config")
def create_config(panel: ThePanel, caller: Writer, body: NewConfig) -> ConfigView:
    """No node carries it before it is assigned to one. Its pools and port must be free of other configs."""
    with panel.store.write() as tx:
        config = configs.create(tx, panel.vault, caller.actor, ConfigSpec(**body.model_dump()))
        return views(tx, [config])[0]


@router.get("/api/configs/{config}", summary="Show a config")
def show_config(panel: ThePanel, _caller: Reader, config: Reference) -> ConfigView:
    with panel.store.read() as tx:
        return views(tx, [configs.get(tx, config)])[0]


@router.patch("/api/configs/{config}", summary="Change a config")
def update_config(panel: ThePanel, caller: Writer, config: Reference, body: ChangedConfig) -> ConfigView:
    """Nodes hear of it at once, where it concerns them; files that users have already stay as they are."""
    with panel.store.write() as tx:
        changes = cast("ConfigChanges", body.given())
        row = configs.update(tx, caller.actor, configs.get(tx, config), changes)
        return views(tx, [row])[0]


@router.delete("/api/configs/{config}", status_code=status.HTTP_204_NO_CONTENT, summary="Delete a config")
def delete_config(panel: ThePanel, caller: Writer, config: Reference) -> None:
    """Its peers go with it. Refused (409) while it is assigned to a node."""
    with panel.store.write() as tx:
        configs.delete(tx, caller.actor, configs.get(tx, config))
