"""`/api/configs/{config}/endpoint-group`: the public face of a config."""

from datetime import datetime
from typing import Any

from fastapi import Response, status
from pydantic import Field

from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.models import UNCHANGED, Body, PatchBody, Port, Reference, Said, View
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.dns.listing import DnsMode, OnDrift
from wgfleet.panel.errors import Invalid
from wgfleet.panel.services import configs, host_names
from wgfleet.panel.services.dns import published_names, short_fields
from wgfleet.panel.services.dns import settings as dns_settings
from wgfleet.panel.services.dns.settings import DnsSpec
from wgfleet.panel.services.fleet import endpoint_groups
from wgfleet.panel.services.fleet.endpoint_groups import MAX_MIN_NODES, TTL_RANGE_S, EndpointGroupSpec
from wgfleet.panel.services.floating import addresses
from wgfleet.panel.services.floating import settings as floating_settings
from wgfleet.panel.services.floating.settings import FloatingSpec
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import EndpointGroup
from wgfleet.protocol.reasons import Reason, joined

router = subject_router("endpoint groups")


class DnsBody(Body):
    """How a name is published."""

    provider: str = Field(
        max_length=64, examples=[short_fields.PROVIDER], description="Name of an installed DNS provider."
    )
    zone: str | None = Field(default=None, max_length=253, description="The provider's name or id of the zone.")
    record_name: str | None = Field(default=None, max_length=253, description="Default: the group's domain.")
    mode: DnsMode = Field(
        default=DnsMode.SYNC, strict=False, description="`upsert_only` deletes nothing, `dry_run` changes nothing."
    )
    drift: OnDrift = Field(
        default=OnDrift.REPAIR, strict=False, description="What to do when somebody else changes our records."
    )
    options: dict[str, Any] | None = Field(
        default=None,
        description="The provider's own options. Secrets are never shown; one that is left out or `(set)` is kept if "
        "provider, zone and all other options are unchanged.",
    )


class DnsSettingsView(View):
    """How a name is published."""

    provider: str
    zone: str | None
    record_name: str
    mode: DnsMode
    drift: OnDrift
    options: dict[str, Any] = Field(description="Secrets are shown as `(set)`.")


class EndpointGroupBody(Body):
    """The whole endpoint group."""

    domain: str = Field(description="The name in the users' files.", max_length=253, examples=["vpn.example.com"])
    port: Port | None = Field(
        default=None,
        description="The UDP port in the users' files; null: the config's own, and it follows changes of that.",
    )
    ttl: int = Field(
        default=60,
        ge=1,
        le=TTL_RANGE_S[1],
        description="TTL of the records in seconds: 30 to 86400, or 1 for the provider's default.",
    )
    auto_migrate: bool = Field(default=True, description="Move peers automatically when a node fails.")
    publish_only_healthy: bool = Field(default=True, description="Publish only nodes that are serving.")
    min_nodes: int = Field(
        default=1,
        ge=1,
        le=MAX_MIN_NODES,
        description="Removals that would leave fewer nodes are refused unless forced.",
    )
    cloudflare_zone_id: str | None = Field(
        default=None,
        max_length=32,
        description=f"The zone's id; shorthand for `dns` with the provider `{short_fields.PROVIDER}`.",
    )
    cloudflare_record_name: str | None = Field(default=None, max_length=253, description="Default: the domain.")
    dns: DnsBody | None = Field(default=None, description="How the name is published; left out: not at all.")
    proxied: bool = Field(default=False, description="Must be false: a provider's proxy does not carry WireGuard.")
    floating_addresses: list[str] = Field(
        default=[], description="Public addresses that one node holds at a time; they move when it fails."
    )
    address_provider: str = Field(
        default="none",
        max_length=64,
        description="Name of an installed address provider, which moves them between nodes.",
    )
    address_options: dict[str, Any] | None = Field(
        default=None,
        description="The provider's own options; left out: unchanged. Secrets are never shown; one that is left out or "
        "`(set)` is kept if provider and all other options are unchanged.",
    )


class ChangedDns(PatchBody):
    """What changes in how a name is published."""

    provider: str = Field(default=UNCHANGED, max_length=64, description="Another one has nothing of the one before.")
    zone: str | None = Field(default=UNCHANGED, max_length=253)
    record_name: str | None = Field(default=UNCHANGED, max_length=253, description="null: the group's domain.")
    mode: DnsMode = Field(default=UNCHANGED, strict=False)
    drift: OnDrift = Field(default=UNCHANGED, strict=False)
    options: dict[str, Any] | None = Field(
        default=UNCHANGED, description="All options of the provider; secrets are kept as on creation."
    )


class ChangedEndpointGroup(PatchBody):
    """The fields to change; a field that is left out keeps its value."""

    domain: str = Field(default=UNCHANGED, max_length=253, description="The name in the users' files.")
    port: Port | None = Field(default=UNCHANGED, description="The UDP port in the users' files; null: the config's.")
    ttl: int = Field(default=UNCHANGED, ge=1, le=TTL_RANGE_S[1], description="TTL of the records in seconds.")
    auto_migrate: bool = Field(default=UNCHANGED, description="Move peers automatically when a node fails.")
    publish_only_healthy: bool = Field(default=UNCHANGED, description="Publish only nodes that are serving.")
    min_nodes: int = Field(default=UNCHANGED, ge=1, le=MAX_MIN_NODES)
    cloudflare_zone_id: str | None = Field(default=UNCHANGED, max_length=32)
    cloudflare_record_name: str | None = Field(default=UNCHANGED, max_length=253)
    dns: ChangedDns | None = Field(default=UNCHANGED, description="null: the name is published no more.")
    floating_addresses: list[str] = Field(default=UNCHANGED, description="All of them; an empty list: none.")
    address_provider: str = Field(default=UNCHANGED, max_length=64)
    address_options: dict[str, Any] | None = Field(default=UNCHANGED, description="All options of the provider.")


class EndpointGroupView(View):
    """An endpoint group."""

    config_id: str
    domain: str
    domain_warning: Said | None = Field(
        default=None, description="null: the name's addresses are outside of the tunnel, or it is published and new."
    )
    port: int
    ttl: int
    auto_migrate: bool
    publish_only_healthy: bool
    min_nodes: int
    min_nodes_warning: Said | None = Field(default=None, description="null: the config has that many nodes.")
    cloudflare_zone_id: str | None = Field(
        default=None, description=f"Set if the provider is `{short_fields.PROVIDER}`."
    )
    cloudflare_record_name: str | None = Field(
        default=None, description=f"Set if the provider is `{short_fields.PROVIDER}`."
    )
    dns: DnsSettingsView | None = Field(default=None, description="How the name is published; null: not at all.")
    proxied: bool = Field(default=False, description="Always false: a provider's proxy does not carry WireGuard.")
    floating_addresses: list[str] = Field(default=[])
    address_provider: str
    address_options: dict[str, Any] = Field(default={}, description="Secrets are shown as `(set)`.")
    created_at: datetime


def _view(tx: Tx, panel: Panel, row: EndpointGroup) -> EndpointGroupView:
    view = EndpointGroupView.model_validate(row, from_attributes=True)
    dns = dns_settings.shown(panel.vault, panel.publisher.plugins, row)
    warning = host_names.warnings(tx, [row.domain]).get(row.domain)
    shown: dict[str, Any] = {
        # One that the panel publishes is found when it has done so.
        "domain_warning": warning if dns is None or host_names.leads_inside(tx, row.domain) else None,
        "min_nodes_warning": endpoint_groups.min_nodes_warning(tx, row),
        "floating_addresses": addresses.listed(tx, row.config_id),
        "address_options": floating_settings.shown(panel.vault, row),
        "dns": None if dns is None else DnsSettingsView.model_validate(dns),
    }
    return view.model_copy(update=shown | short_fields.shown(row))


def _spec(body: EndpointGroupBody) -> EndpointGroupSpec:
    values = body.model_dump()
    floats = FloatingSpec(
        values.pop("floating_addresses"), values.pop("address_provider"), values.pop("address_options")
    )
    dns = values.pop("dns")
    if dns is not None:
        dns = DnsSpec(**dns)
    return EndpointGroupSpec(**values, floating=floats, dns=dns)


def _check(panel: Panel, config: str, spec: EndpointGroupSpec) -> None:
    """Ask the provider whether it would publish the name; answers that come too late show up when it is published."""
    seconds = panel.settings.dns.save_check_s
    with panel.store.read() as tx:
        found = endpoint_groups.rehearsed(tx, panel.vault, configs.get(tx, config), spec, panel.publisher.plugins)
    if found is None or not seconds:
        return
    group, dns = found
    options = dns_settings.options(panel.vault, group)
    kind, zone, name = dns.provider, group.dns_zone or "", published_names.name_of(group)
    refused = panel.publisher.refusals(kind, zone, name, options, seconds)
    if refused:
        detail = joined(Reason("{what}: {why}", what=finding.subject, why=finding.detail) for finding in refused)
        raise Invalid(
            Reason("{provider} refuses: {detail}", provider=dns.provider, detail=detail),
            field=dns.path("zone") if dns.fields else "dns",
        )


@router.get("/api/configs/{config}/endpoint-group", summary="Show the endpoint group")
def show_endpoint_group(panel: ThePanel, _caller: Reader, config: Reference) -> EndpointGroupView:
    with panel.store.read() as tx:
        return _view(tx, panel, endpoint_groups.get(tx, configs.get(tx, config)))


@router.post(
    "/api/configs/{config}/endpoint-group",
    status_code=status.HTTP_201_CREATED,
    summary="Create or replace the endpoint group",
    responses={200: {"model": EndpointGroupView, "description": "The group existed and was replaced."}},
)
def put_endpoint_group(
    panel: ThePanel, caller: Writer, config: Reference, body: EndpointGroupBody, response: Response
) -> EndpointGroupView:
    """Only a cluster has one. Fields that are left out are reset to their defaults."""
    spec = _spec(body)
    _check(panel, config, spec)
    plugins = panel.publisher.plugins
    with panel.write_with_names(caller, spec.domain) as tx:
        row, created = endpoint_groups.put(tx, panel.vault, caller.actor, configs.get(tx, config), spec, plugins)
        if not created:
            response.status_code = status.HTTP_200_OK
        return _view(tx, panel, row)


@router.patch("/api/configs/{config}/endpoint-group", summary="Change the endpoint group")
def update_endpoint_group(
    panel: ThePanel, caller: Writer, config: Reference, body: ChangedEndpointGroup
) -> EndpointGroupView:
    """Files that users already have are not changed."""
    with panel.store.read() as tx:
        group = endpoint_groups.get(tx, configs.get(tx, config))
        if not body.given():
            return _view(tx, panel, group)
        spec = endpoint_groups.changed(tx, group, body.given())
    _check(panel, config, spec)
    with panel.write_with_names(caller, body.given().get("domain")) as tx:
        row = configs.get(tx, config)
        spec = endpoint_groups.changed(tx, endpoint_groups.get(tx, row), body.given())
        group, _ = endpoint_groups.put(tx, panel.vault, caller.actor, row, spec, panel.publisher.plugins)
        return _view(tx, panel, group)


@router.delete(
    "/api/configs/{config}/endpoint-group", status_code=status.HTTP_204_NO_CONTENT, summary="Delete the endpoint group"
)
def delete_endpoint_group(panel: ThePanel, caller: Writer, config: Reference) -> None:
    """Our records at its name are withdrawn; `GET /api/dns/{config}` shows the progress."""
    with panel.store.write() as tx:
        endpoint_groups.delete(tx, panel.vault, caller.actor, configs.get(tx, config))
