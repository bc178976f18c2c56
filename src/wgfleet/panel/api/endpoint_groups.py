"""`/api/configs/{config}/endpoint-group`: the public face of a cluster."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Response, status
from pydantic import Field

from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.models import Body, Port, Reference, View
from wgfleet.panel.api.state import ThePanel
from wgfleet.panel.services import address_providers, configs, endpoint_groups, floating
from wgfleet.panel.services.address_providers import FloatingSpec
from wgfleet.panel.services.endpoint_groups import MAX_MIN_NODES, TTL_RANGE_S, EndpointGroupSpec
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import EndpointGroup
from wgfleet.panel.vault import Vault

router = APIRouter(tags=["endpoint groups"])


class EndpointGroupBody(Body):
    """The endpoint group as it shall be."""

    domain: str = Field(description="The name in the files of users.", max_length=253, examples=["vpn.example.com"])
    port: Port = Field(default=51820, description="The UDP port in the files of users.")
    ttl: int = Field(
        default=60, ge=1, le=TTL_RANGE_S[1], description="Of the records, in s: 30 to 86400, or 1 for the provider's."
    )
    auto_migrate: bool = Field(default=True, description="Move peers by itself when a node fails.")
    publish_only_healthy: bool = Field(default=True, description="Publish only nodes that serve.")
    min_nodes: int = Field(
        default=1, ge=1, le=MAX_MIN_NODES, description="A removal that leaves fewer is refused, unless forced."
    )
    cloudflare_zone_id: str | None = Field(default=None, max_length=32, description="The zone's id.")
    cloudflare_record_name: str | None = Field(default=None, max_length=253, description="Default: the domain.")
    proxied: bool = Field(default=False, description="Must be false: Cloudflare's proxy does not carry WireGuard.")
    floating_addresses: list[str] = Field(
        default=[], description="Public addresses that one node at a time holds; they move when it fails."
    )
    address_provider: str = Field(
        default="none", max_length=64, description="What brings them to their nodes: `l2`, or a plugin."
    )
    address_options: dict[str, Any] | None = Field(
        default=None, description="The provider's own; left out, those of before."
    )


class EndpointGroupView(View):
    """An endpoint group."""

    config_id: str
    domain: str
    port: int
    ttl: int
    auto_migrate: bool
    publish_only_healthy: bool
    min_nodes: int
    cloudflare_zone_id: str | None = Field(validation_alias="dns_zone")
    cloudflare_record_name: str | None = Field(validation_alias="dns_record_name")
    proxied: bool = Field(default=False, description="Always false: Cloudflare's proxy does not carry WireGuard.")
    floating_addresses: list[str] = Field(default=[])
    address_provider: str
    address_options: dict[str, Any] = Field(default={}, description="Of secrets only that they are set.")
    created_at: datetime


def _view(tx: Tx, vault: Vault, row: EndpointGroup) -> EndpointGroupView:
    view = EndpointGroupView.model_validate(row, from_attributes=True)
    options = address_providers.shown(vault, row)
    return view.model_copy(
        update={"floating_addresses": floating.listed(tx, row.config_id), "address_options": options}
    )


@router.get("/api/configs/{config}/endpoint-group", summary="Show the endpoint group")
def show_endpoint_group(panel: ThePanel, _caller: Reader, config: Reference) -> EndpointGroupView:
    with panel.store.read() as tx:
        return _view(tx, panel.vault, endpoint_groups.get(tx, configs.get(tx, config)))


@router.post(
    "/api/configs/{config}/endpoint-group",
    status_code=status.HTTP_201_CREATED,
    summary="Make or replace the endpoint group",
    responses={200: {"model": EndpointGroupView, "description": "It was there and is replaced."}},
)
def put_endpoint_group(
    panel: ThePanel, caller: Writer, config: Reference, body: EndpointGroupBody, response: Response
) -> EndpointGroupView:
    """Only a cluster has one. What the body leaves out gets its default, also where there was another value."""
    with panel.store.write() as tx:
        values = body.model_dump()
        floats = FloatingSpec(
            values.pop("floating_addresses"), values.pop("address_provider"), values.pop("address_options")
        )
        spec = EndpointGroupSpec(**values, floating=floats)
        row, created = endpoint_groups.put(tx, panel.vault, caller.actor, configs.get(tx, config), spec)
        if not created:
            response.status_code = status.HTTP_200_OK
        return _view(tx, panel.vault, row)


@router.delete(
    "/api/configs/{config}/endpoint-group", status_code=status.HTTP_204_NO_CONTENT, summary="Delete the endpoint group"
)
def delete_endpoint_group(panel: ThePanel, caller: Writer, config: Reference) -> None:
    with panel.store.write() as tx:
        endpoint_groups.delete(tx, caller.actor, configs.get(tx, config))
