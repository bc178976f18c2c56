"""Provider `digitalocean`: reserved IPs (IPv4), assigned to droplets of the token's team.

An assignment is an action that runs on after the call; while it runs, the address is locked.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from wgfleet.panel import clock
from wgfleet.panel.address_providers import AddressNode
from wgfleet.panel.address_providers.cloud_api import (
    CloudApi,
    CloudModel,
    CloudRefused,
    CloudService,
    NotThere,
    parsed,
)
from wgfleet.panel.address_providers.cloud_client import LOOK_AGAIN_S, CloudClient, CloudOptions, until_over
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.plugin_fields import ApiUrl, IPv4Address, NumbersOfMachines
from wgfleet.protocol.reasons import Reason

PER_PAGE, MAX_PAGES = 200, 25
ACTION_S = 15.0
POLLS_S = (0.2, 0.3, 0.5, 1.0)


def _said(body: Mapping[str, Any]) -> tuple[str, str]:
    return str(body.get("id", "")), str(body.get("message", ""))


SERVICE = CloudService(
    name="digitalocean",
    url="https://api.digitalocean.com/v2",
    needs="the scopes reserved_ip:read and reserved_ip:update, and droplet:read where droplets are found by address",
    calls=75,  # published: 5,000 in an hour, which is 83 in a minute, and 250 in any minute
    window_s=60.0,
    said=_said,
)


class DropletAddress(CloudModel):
    ip_address: str


class DropletNetworks(CloudModel):
    model_config = ConfigDict(extra="ignore", strict=False)  # JSON has lists

    v4: tuple[DropletAddress, ...] = ()
    v6: tuple[DropletAddress, ...] = ()


class Droplet(CloudModel):
    id: int
    networks: DropletNetworks = DropletNetworks()


class ReservedIp(CloudModel):
    ip: str
    droplet: Droplet | None = None
    locked: bool = False


class DropletAction(CloudModel):
    id: int
    status: str


class DigitalOceanOptions(CloudOptions):
    """The API token. `droplets`: the ids of nodes' droplets, for those not known by their public address.

    `anchor_addresses`: by the node's name, the address that the cloud translates a reserved IP to.
    """

    droplets: NumbersOfMachines = Field(default_factory=dict)
    anchor_addresses: dict[str, IPv4Address] = Field(default_factory=dict, max_length=300)
    api_url: ApiUrl = SERVICE.url


class DigitalOcean(CloudClient[CloudApi]):
    """One team. May be used from several threads."""

    name: ClassVar[str] = "digitalocean"
    on_agent: ClassVar[bool] = False
    translated_to: ClassVar[str] = "anchor_addresses"
    by_node: ClassVar[frozenset[str]] = frozenset({"droplets", "anchor_addresses"})
    ipv4_only: ClassVar[bool] = True
    Options: ClassVar[type[BaseModel]] = DigitalOceanOptions

    def __init__(self, options: DigitalOceanOptions) -> None:
        self._droplets = options.droplets
        super().__init__(CloudApi(SERVICE, options.api_url, options.token, options.timeout_s))

    def holder(self, address: str, nodes: Sequence[AddressNode]) -> AddressNode | None:
        """Return the node whose droplet the reserved IP is assigned to."""
        droplet = self._reserved(address).droplet
        if droplet is None:
            return None
        for node in nodes:
            if self._droplets.get(node.name) == droplet.id:
                return node
        return next((node for node in nodes if node.name not in self._droplets and _is_at(node, droplet)), None)

    def assign(self, address: str, node: AddressNode) -> None:
        """Assign the reserved IP to the node's droplet, and wait for the action that does it."""
        droplet, reserved = self._droplet_of(node), self._reserved(address)
        if reserved.droplet is not None and reserved.droplet.id == droplet:
            return
        path = f"reserved_ips/{address}/actions"
        try:
            answer = self._api.call("POST", path, body={"type": "assign", "droplet_id": droplet})
        except CloudRefused as refusal:
            if self._reserved(address).locked:
                raise TransientError(str(refusal), retry_after_s=LOOK_AGAIN_S) from None
            raise
        action = until_over(
            parsed(DropletAction, answer.get("action")),
            lambda last: parsed(DropletAction, self._api.call("GET", f"{path}/{last.id}").get("action")),
            lambda last: last.status == "in-progress",
            until=clock.monotonic() + ACTION_S,
            pauses_s=POLLS_S,
            what=f"DigitalOcean is still at it: assign of {address}",
        )
        if action.status != "completed":
            raise TransientError(
                Reason(
                    "DigitalOcean failed at assign of {address}: {status}", address=address, status=action.status[:40]
                )
            )

    def _reserved(self, address: str) -> ReservedIp:
        if ":" in address:
            raise PermanentError(
                Reason("{address} is no IPv4 address, and this provider has only those", address=address)
            )
        try:
            return parsed(ReservedIp, self._api.call("GET", f"reserved_ips/{address}").get("reserved_ip"))
        except NotThere as error:
            raise NotThere(
                Reason(
                    "DigitalOcean has no reserved IP {address} in this token's team: {error}",
                    address=address,
                    error=error,
                )
            ) from None

    def _droplet_of(self, node: AddressNode) -> int:
        if (given := self._droplets.get(node.name)) is not None:
            return given
        for droplet in self._all_droplets():
            if _is_at(node, droplet):
                return droplet.id
        raise PermanentError(
            Reason(
                "no droplet of this token's team has an address of node {node!r}; add its id to "
                "address_options.droplets",
                node=node.name,
            )
        )

    def _all_droplets(self) -> Iterator[Droplet]:
        for page in range(1, MAX_PAGES + 1):
            answer = self._api.call("GET", "droplets", query={"per_page": str(PER_PAGE), "page": str(page)})
            found = answer.get("droplets")
            if not isinstance(found, list):
                raise TransientError(Reason("DigitalOcean gave an answer that is not in the API's format: no droplets"))
            yield from (parsed(Droplet, item) for item in found)
            if len(found) < PER_PAGE:
                return


def _is_at(node: AddressNode, droplet: Droplet) -> bool:
    known = {each.ip_address for each in (*droplet.networks.v4, *droplet.networks.v6)}
    return not known.isdisjoint(node.endpoint_addresses)
