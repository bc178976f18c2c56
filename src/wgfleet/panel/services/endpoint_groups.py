"""The public face of a cluster config: the name that the files of users carry, and how it is published."""

import dataclasses
import re

from wgfleet.panel import clock
from wgfleet.panel.addresses import NONE
from wgfleet.panel.errors import Invalid, NotFound
from wgfleet.panel.services import address_providers, audit, configs, floating
from wgfleet.panel.services.address_providers import NO_FLOATING, FloatingSpec
from wgfleet.panel.services.values import check_range
from wgfleet.panel.store import Tx
from wgfleet.panel.store import endpoint_groups as rows
from wgfleet.panel.store.tables import Config, EndpointGroup
from wgfleet.panel.vault import Vault
from wgfleet.protocol.addresses import parse_domain, parse_port

AUTOMATIC_TTL_S = 1  # Cloudflare's way to say "you choose"
TTL_RANGE_S = (30, 86400)
MAX_MIN_NODES = 1000
_ZONE_ID = re.compile(r"[0-9A-Za-z]{1,32}")  # published schema: an identifier of at most 32 characters


@dataclasses.dataclass(frozen=True, slots=True)
class EndpointGroupSpec:
    """An endpoint group as it shall be. `ttl` in s, `min_nodes`: a removal that leaves fewer is refused."""

    domain: str
    port: int = 51820
    ttl: int = 60
    auto_migrate: bool = True
    publish_only_healthy: bool = True
    min_nodes: int = 1
    cloudflare_zone_id: str | None = None
    cloudflare_record_name: str | None = None
    proxied: bool = False
    floating: FloatingSpec = NO_FLOATING


def put(tx: Tx, vault: Vault, actor: str, config: Config, spec: EndpointGroupSpec) -> tuple[EndpointGroup, bool]:
    """Make the config's endpoint group, or replace it; say whether it is new."""
    if config.mode != configs.CLUSTER:
        raise Invalid(
            f"config {config.name!r} is {config.mode}: each of its nodes has its own endpoint; "
            "only a cluster has an endpoint group"
        )
    values = _checked(spec)
    group = rows.get(tx, config.id)
    created = group is None
    if group is None:
        group = EndpointGroup(config_id=config.id, created_at=clock.now(), address_provider=NONE, **values)
        rows.add(tx, group)
    else:
        for name, value in values.items():
            setattr(group, name, value)
    address_providers.apply(tx, vault, group, spec.floating)
    action = "created" if created else "updated"
    floats = {"floating_addresses": list(spec.floating.addresses), "address_provider": spec.floating.provider}
    audit.record(tx, actor, action, "endpoint_group", config.id, config=config.name, **values, **floats)
    tx.wake("config", config.id)
    return group, created


def find(tx: Tx, config: Config) -> EndpointGroup | None:
    """Return the config's endpoint group, if it has one."""
    return rows.get(tx, config.id)


def get(tx: Tx, config: Config) -> EndpointGroup:
    """Return the config's endpoint group."""
    group = rows.get(tx, config.id)
    if group is None:
        raise NotFound(
            f"config {config.name!r} has no endpoint group; "
            f"make one with POST /api/configs/{config.name}/endpoint-group"
        )
    return group


def delete(tx: Tx, actor: str, config: Config) -> None:
    """Delete the config's endpoint group; files made from then on carry the address of a node."""
    group = get(tx, config)
    floating.put(tx, config.id, [], other_provider=False)
    rows.delete(tx, group)
    audit.record(tx, actor, "deleted", "endpoint_group", config.id, config=config.name)
    tx.wake("config", config.id)


def _checked(spec: EndpointGroupSpec) -> dict[str, str | int | bool | None]:
    if spec.proxied:
        raise Invalid(
            "must be false: Cloudflare's proxy carries HTTP only and WireGuard is UDP, so no client would connect",
            field="proxied",
        )
    parse_port(spec.port, "port")
    if spec.ttl != AUTOMATIC_TTL_S:
        low, high = TTL_RANGE_S
        if not low <= spec.ttl <= high:
            raise Invalid(f"must be {low} to {high} s, or 1 for the provider's choice, not {spec.ttl}", field="ttl")
    check_range(spec.min_nodes, 1, MAX_MIN_NODES, "min_nodes", "nodes")
    if spec.cloudflare_zone_id is not None and not _ZONE_ID.fullmatch(spec.cloudflare_zone_id):
        raise Invalid(
            "must be the zone's id as its overview shows it, up to 32 letters and digits", field="cloudflare_zone_id"
        )
    values = dataclasses.asdict(spec)
    del values["proxied"], values["floating"]
    zone, record_name = values.pop("cloudflare_zone_id"), values.pop("cloudflare_record_name")
    values |= {"dns_provider": "cloudflare" if zone else None, "dns_zone": zone, "dns_record_name": record_name}
    values["domain"] = parse_domain(spec.domain, "domain")
    if spec.cloudflare_record_name is not None:
        values["dns_record_name"] = parse_domain(spec.cloudflare_record_name, "cloudflare_record_name")
    return values
