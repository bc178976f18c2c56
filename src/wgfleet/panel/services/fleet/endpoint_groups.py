"""The public face of a config: the name that the files of users carry, and how it is published."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from wgfleet.panel import clock
from wgfleet.panel.address_providers import NONE
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.domain.dns.listing import DnsMode, OnDrift
from wgfleet.panel.domain.dns.records import AUTOMATIC_TTL_S
from wgfleet.panel.domain.fields import check_range, is_address, parse_public_address
from wgfleet.panel.errors import Invalid, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, configs, tunnel_networks
from wgfleet.panel.services.dns import name_clashes, short_fields, syncs
from wgfleet.panel.services.dns import settings as dns_settings
from wgfleet.panel.services.dns.settings import DnsSpec
from wgfleet.panel.services.floating import addresses
from wgfleet.panel.services.floating import settings as floating_settings
from wgfleet.panel.services.floating.settings import NO_FLOATING, FloatingSpec
from wgfleet.panel.store import Tx, new_files
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store.tables import Config, EndpointGroup
from wgfleet.panel.store.wakes import Topic
from wgfleet.panel.vault import Vault
from wgfleet.protocol.addresses import parse_port
from wgfleet.protocol.domains import parse_domain, refuse_single_label
from wgfleet.protocol.reasons import Reason

NOWHERE = frozenset({"localhost", "invalid"})
"""Ends of names that are never those of a server."""
TTL_RANGE_S = (30, 86400)
MAX_MIN_NODES = 1000
NO_PROVIDERS = DnsPlugins({})


@dataclasses.dataclass(frozen=True, slots=True)
class EndpointGroupSpec:
    """An endpoint group as it shall be. `ttl` in s, `min_nodes`: a removal that leaves fewer is refused.

    `port` None: that of the config, whose changes it follows as long as they are the same.

    `cloudflare_zone_id` and `cloudflare_record_name` are short for a `dns` with that provider.
    """

    domain: str
    port: int | None = None
    ttl: int = 60
    auto_migrate: bool = True
    publish_only_healthy: bool = True
    min_nodes: int = 1
    cloudflare_zone_id: str | None = None
    cloudflare_record_name: str | None = None
    proxied: bool = False
    floating: FloatingSpec = NO_FLOATING
    dns: DnsSpec | None = None


def put(
    tx: Tx,
    vault: Vault,
    actor: str,
    config: Config,
    spec: EndpointGroupSpec,
    plugins: DnsPlugins = NO_PROVIDERS,
) -> tuple[EndpointGroup, bool]:
    """Make the config's endpoint group, or replace it; say whether it is new. `plugins`: the DNS providers."""
    group = endpoint_group_rows.get(tx, config.id)
    values = _checked(config, spec, group)
    created, before = group is None, _names_of(group)
    new_end = group is None or (group.domain, group.port) != (values["domain"], values["port"])
    if config.mode == configs.CLUSTER and (group is None or group.domain != values["domain"]):
        tunnel_networks.check_outside(tx, values["domain"], "domain")
    if group is None:
        group = _new(config, values)
        endpoint_group_rows.add(tx, group)
    else:
        for name, value in values.items():
            setattr(group, name, value)
    if new_end:
        new_files.of_config(tx, config.id)
    dns_settings.apply(vault, plugins, group, _dns_of(spec))
    _check_names(tx, config, group, before, _dns_of(spec))
    floating_settings.apply(tx, vault, group, spec.floating)
    action = "created" if created else "updated"
    floats = {"floating_addresses": list(spec.floating.addresses), "address_provider": spec.floating.provider}
    dns = {"dns_provider": group.dns_provider, "dns_zone": group.dns_zone, "dns_record_name": group.dns_record_name}
    audit.record(tx, actor, action, "endpoint_group", config.id, config=config.name, **values, **floats, **dns)
    syncs.follow(
        tx,
        vault,
        config.id,
        actor,
        Reason("the endpoint group was created") if created else Reason("the endpoint group was updated"),
    )
    tx.wake(Topic.CONFIG, config.id)
    return group, created


def changed(tx: Tx, group: EndpointGroup, changes: Mapping[str, Any]) -> EndpointGroupSpec:
    """Return a group as it shall be where some of it changes. `changes`: fields of the API's body, and of its `dns`.

    What is left out stays, secrets of providers too where their options stay.
    """
    values = dict(changes)
    floating = FloatingSpec(
        values.pop("floating_addresses", addresses.listed(tx, group.config_id)),
        values.pop("address_provider", group.address_provider),
        values.pop("address_options", None),
    )
    spec = EndpointGroupSpec(
        domain=group.domain,
        port=group.port,
        ttl=group.ttl,
        auto_migrate=group.auto_migrate,
        publish_only_healthy=group.publish_only_healthy,
        min_nodes=group.min_nodes,
        floating=floating,
        dns=_changed_dns(group, values),
    )
    return dataclasses.replace(spec, **values)


def _changed_dns(group: EndpointGroup, values: dict[str, Any]) -> DnsSpec | None:
    """Take what concerns DNS out of changes, and return it as it shall be; the short fields alone are left there."""
    present = None
    if group.dns_provider is not None:
        present = DnsSpec(
            group.dns_provider, group.dns_zone, group.dns_record_name, mode=group.dns_mode, drift=group.dns_drift
        )
    short = [name for name in (short_fields.ZONE, short_fields.RECORD_NAME) if name in values]
    if "dns" not in values:
        if short and present is not None and present.provider == short_fields.PROVIDER:
            values.setdefault(short_fields.ZONE, present.zone)
            values.setdefault(short_fields.RECORD_NAME, present.record_name)
        # With one of the short fields these say all of it; null for both means: no longer published.
        return None if short else present
    given = values.pop("dns")
    if given is None:
        return None
    if present is not None and given.get("provider", present.provider) == present.provider:
        return dataclasses.replace(present, **given)
    if "provider" not in given:
        raise Invalid(Reason("must be given: the name is not published yet"), field="dns.provider")
    return DnsSpec(**given)


def rehearsed(
    tx: Tx, vault: Vault, config: Config, spec: EndpointGroupSpec, plugins: DnsPlugins
) -> tuple[EndpointGroup, DnsSpec] | None:
    """Return the group as it would be, not yet in the database, where it is published; None where it is not."""
    dns = _dns_of(spec)
    if dns is None:
        return None
    present = endpoint_group_rows.get(tx, config.id)
    draft = _new(config, _checked(config, spec, present))
    if present is not None:
        draft.dns_provider, draft.dns_zone = present.dns_provider, present.dns_zone
        draft.dns_record_name = present.dns_record_name
        draft.dns_options_sealed = present.dns_options_sealed
    dns_settings.apply(vault, plugins, draft, dns)
    _check_names(tx, config, draft, _names_of(present), dns)
    return draft, dns


def _names_of(group: EndpointGroup | None) -> set[str | None]:
    return set() if group is None else {group.domain, group.dns_record_name}


def _check_names(
    tx: Tx, config: Config, group: EndpointGroup, before: Collection[str | None], dns: DnsSpec | None
) -> None:
    """Refuse names that another config has; what the group had `before` stays, so that all else can be changed."""
    names = {"domain": group.domain}
    if dns is not None and group.dns_record_name is not None:
        names[dns.path("record_name")] = group.dns_record_name
    if fresh := {field: name for field, name in names.items() if name not in before}:
        name_clashes.check_group(tx, config, fresh)


def _new(config: Config, values: dict[str, Any]) -> EndpointGroup:
    return EndpointGroup(
        config_id=config.id,
        created_at=clock.now(),
        address_provider=NONE,
        dns_provider=None,
        dns_zone=None,
        dns_record_name=None,
        dns_mode=DnsMode.SYNC,
        dns_drift=OnDrift.REPAIR,
        dns_options_sealed=None,
        **values,
    )


def _dns_of(spec: EndpointGroupSpec) -> DnsSpec | None:
    return short_fields.expand(spec.cloudflare_zone_id, spec.cloudflare_record_name, spec.dns)


def find(tx: Tx, config: Config) -> EndpointGroup | None:
    """Return the config's endpoint group, if it has one."""
    return endpoint_group_rows.get(tx, config.id)


def domains(tx: Tx, config_ids: Collection[str]) -> dict[str, str]:
    """Return the name in the files of each of some configs, by the config's id; those without a group are left out."""
    return endpoint_group_rows.domains_of(tx, config_ids)


def get(tx: Tx, config: Config) -> EndpointGroup:
    """Return the config's endpoint group."""
    group = endpoint_group_rows.get(tx, config.id)
    if group is None:
        raise NotFound(
            Reason("config {config!r} has no endpoint group", config=config.name),
            Hint(HintCode.MAKE_ENDPOINT_GROUP, config=config.name),
        )
    return group


def min_nodes_warning(tx: Tx, group: EndpointGroup) -> str | None:
    """Say what it means that a config is to have more nodes than it has."""
    nodes = len(assignment_rows.of_config(tx, group.config_id))
    if group.min_nodes <= max(nodes, 1):
        return None
    return Reason(
        "min_nodes is {least}, and the config has {nodes}: one that dies stays in use, and none is removed "
        "or drained without force",
        least=group.min_nodes,
        nodes=nodes,
    )


def delete(tx: Tx, vault: Vault, actor: str, config: Config) -> None:
    """Delete the config's endpoint group; files made from then on carry the address of a node.

    What was published under its name is withdrawn.
    """
    group = get(tx, config)
    addresses.put(tx, config.id, [], other_provider=False)
    endpoint_group_rows.delete(tx, group)
    new_files.of_config(tx, config.id)
    syncs.follow(tx, vault, config.id, actor, Reason("the endpoint group was deleted"))
    audit.record(tx, actor, "deleted", "endpoint_group", config.id, config=config.name)
    tx.wake(Topic.CONFIG, config.id)


def _domain(spec: EndpointGroupSpec, before: str | None) -> str:
    """Return the name in files, or, where nothing is published under it, an address: a floating one, or of a router.

    `before`: the name so far. Earlier releases took one of a single label: it stays, so that all else can be changed.
    """
    if not is_address(spec.domain):
        domain = parse_domain(spec.domain, "domain")
        if domain.rpartition(".")[2] in NOWHERE:
            raise Invalid(
                Reason("{domain} leads nowhere (RFC 6761): give the name that clients use", domain=domain),
                field="domain",
            )
        if domain != before:
            refuse_single_label(domain, "domain")
        return domain
    if _dns_of(spec) is not None:
        raise Invalid(
            Reason("an address cannot be published; give a name, or leave the DNS provider out"), field="domain"
        )
    return parse_public_address(spec.domain, "domain")


def _check_of_nodes(config: Config, spec: EndpointGroupSpec) -> None:
    """Refuse what a domain cannot have below which each node has its own name, NODE.DOMAIN."""
    dns = _dns_of(spec)
    said: str | None = None
    field = "domain"
    if is_address(spec.domain):
        said = Reason(
            "config {config!r} is independent: give a domain; each node has a name below it", config=config.name
        )
    elif spec.port not in {None, config.listen_port}:
        said, field = Reason("each node of an independent config has a port of its own; leave it out"), "port"
    elif spec.floating.addresses:
        said, field = Reason("only a cluster has floating addresses"), "floating_addresses"
    elif dns is not None and dns.record_name not in {None, spec.domain}:
        said, field = Reason("each node has a name of its own below the domain; leave it out"), dns.path("record_name")
    if said is not None:
        raise Invalid(said, field=field)


def _checked(config: Config, spec: EndpointGroupSpec, before: EndpointGroup | None) -> dict[str, Any]:
    if spec.proxied:
        raise Invalid(
            Reason(
                "must be false: a provider's proxy carries HTTP only and WireGuard is UDP, so no client would connect"
            ),
            field="proxied",
        )
    if spec.ttl != AUTOMATIC_TTL_S:
        low, high = TTL_RANGE_S
        if not low <= spec.ttl <= high:
            raise Invalid(
                Reason(
                    "must be {low} to {high} s, or 1 for the provider's default, not {ttl}",
                    low=low,
                    high=high,
                    ttl=spec.ttl,
                ),
                field="ttl",
            )
    check_range(spec.min_nodes, 1, MAX_MIN_NODES, "min_nodes", "nodes")
    if config.mode != configs.CLUSTER:
        _check_of_nodes(config, spec)
    return {
        "domain": _domain(spec, None if before is None else before.domain),
        "port": config.listen_port if spec.port is None else parse_port(spec.port, "port"),
        "ttl": spec.ttl,
        "auto_migrate": spec.auto_migrate,
        "publish_only_healthy": spec.publish_only_healthy,
        "min_nodes": spec.min_nodes,
    }
