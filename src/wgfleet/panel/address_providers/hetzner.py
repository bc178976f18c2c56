"""Provider `hetzner`: floating IPs of Hetzner Cloud, assigned to servers of the token's project.

An assignment is an action that runs on after the call. While it runs, the address is locked for another.
"""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, Field

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
from wgfleet.panel.address_providers.cloud_client import CloudClient, CloudOptions, until_over
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.plugin_fields import ApiUrl, NumbersOfMachines
from wgfleet.protocol.reasons import Reason

ASSIGNED_ELSEWHERE = "floating_ip_assigned"
PER_PAGE, MAX_PAGES = 50, 40
ACTION_S = 15.0  # that an action is waited for; one that takes longer is looked at again later
POLLS_S = (0.2, 0.3, 0.5, 1.0)


def _said(body: Mapping[str, Any]) -> tuple[str, str]:
    error = body.get("error")
    return (str(error.get("code", "")), str(error.get("message", ""))) if isinstance(error, dict) else ("", "")


SERVICE = CloudService(
    name="hetzner",
    url="https://api.hetzner.cloud/v1",
    needs="Read & Write, in the project that has the floating IPs",
    calls=3000,  # published: 3,600 in an hour for a project, one more each second; some are left for people
    window_s=3600.0,
    said=_said,
    busy=frozenset({"locked", "conflict", "maintenance", "service_error", "server_error", "unavailable", "timeout"}),
)


class FloatingIp(CloudModel):
    id: int
    ip: str
    server: int | None


class HetznerAddress(CloudModel):
    ip: str


class HetznerPublicNet(CloudModel):
    ipv4: HetznerAddress | None = None
    ipv6: HetznerAddress | None = None


class HetznerServer(CloudModel):
    id: int
    public_net: HetznerPublicNet


class HetznerActionError(CloudModel):
    code: str
    message: str


class HetznerAction(CloudModel):
    id: int
    status: str
    error: HetznerActionError | None = None


class HetznerOptions(CloudOptions):
    """The project's API token. `servers`: the ids of nodes' servers, for those not known by their public address."""

    servers: NumbersOfMachines = Field(default_factory=dict)
    api_url: ApiUrl = SERVICE.url


class Hetzner(CloudClient[CloudApi]):
    """One project. May be used from several threads."""

    name: ClassVar[str] = "hetzner"
    on_agent: ClassVar[bool] = False
    by_node: ClassVar[frozenset[str]] = frozenset({"servers"})
    bound: ClassVar[bool] = True
    Options: ClassVar[type[BaseModel]] = HetznerOptions

    def __init__(self, options: HetznerOptions) -> None:
        self._servers = options.servers
        super().__init__(CloudApi(SERVICE, options.api_url, options.token, options.timeout_s))
        self._ids: dict[str, int] = {}  # of floating IPs, by address
        self._public: dict[int, HetznerPublicNet] = {}  # of servers, by id

    def holder(self, address: str, nodes: Sequence[AddressNode]) -> AddressNode | None:
        """Return the node whose server the floating IP is assigned to."""
        server = self._floating(address).server
        if server is None:
            return None
        for node in nodes:
            if self._servers.get(node.name) == server:
                return node
        others = [node for node in nodes if node.name not in self._servers]
        if not others:
            return None
        public = self._public_net(server)
        return next((node for node in others if public is not None and _is_at(node, public)), None)

    def assign(self, address: str, node: AddressNode) -> None:
        """Assign the floating IP to the node's server, and wait for the action that does it."""
        server, floating = self._server_of(node), self._floating(address)
        if floating.server == server:
            return
        try:
            self._act(floating, "assign", {"server": server})
        except CloudRefused as refusal:
            if refusal.code != ASSIGNED_ELSEWHERE:
                raise
            if self._floating(address).server == server:
                return
            self._act(floating, "unassign", None)
            self._act(floating, "assign", {"server": server})

    def _act(self, floating: FloatingIp, what: str, body: dict[str, int] | None) -> None:
        answer = self._api.call("POST", f"floating_ips/{floating.id}/actions/{what}", body=body)
        action = until_over(
            parsed(HetznerAction, answer.get("action")),
            lambda last: parsed(HetznerAction, self._api.call("GET", f"actions/{last.id}").get("action")),
            lambda last: last.status == "running",
            until=clock.monotonic() + ACTION_S,
            pauses_s=POLLS_S,
            what=f"Hetzner is still at it: {what} of {floating.ip}",
        )
        if action.status != "success":
            error = action.error
            said = self._api.shown(f"{error.message} ({error.code})") if error else action.status
            raise TransientError(
                Reason("Hetzner failed at {what} of {ip}: {said}", what=what, ip=floating.ip, said=said)
            )

    def _floating(self, address: str) -> FloatingIp:
        """Read a floating IP; its id is looked up once."""
        if (found := self._ids.get(address)) is not None:
            try:
                floating = parsed(FloatingIp, self._api.call("GET", f"floating_ips/{found}").get("floating_ip"))
            except NotThere:
                del self._ids[address]
            else:
                if _stands_for(floating.ip, address):
                    return floating
        for item in self._pages("floating_ips"):
            floating = parsed(FloatingIp, item)
            if _stands_for(floating.ip, address):
                self._ids[address] = floating.id
                return floating
        raise NotThere(Reason("Hetzner has no floating IP {address} in this token's project", address=address))

    def _server_of(self, node: AddressNode) -> int:
        if (given := self._servers.get(node.name)) is not None:
            return given
        for item in self._pages("servers"):
            server = parsed(HetznerServer, item)
            if _is_at(node, server.public_net):
                return server.id
        raise PermanentError(
            Reason(
                "no server of this token's project has an address of node {node!r}; add its id to "
                "address_options.servers",
                node=node.name,
            )
        )

    def _public_net(self, server: int) -> HetznerPublicNet | None:
        if server not in self._public:
            try:
                answer = self._api.call("GET", f"servers/{server}")
            except NotThere:
                return None
            self._public[server] = parsed(HetznerServer, answer.get("server")).public_net
        return self._public[server]

    def _pages(self, what: str) -> Iterator[object]:
        for page in range(1, MAX_PAGES + 1):
            answer = self._api.call("GET", what, query={"per_page": str(PER_PAGE), "page": str(page)})
            found = answer.get(what)
            if not isinstance(found, list):
                raise TransientError(
                    Reason("Hetzner gave an answer that is not in the API's format: no list of {what}", what=what)
                )
            yield from found
            if len(found) < PER_PAGE:
                return


def _stands_for(ip: str, address: str) -> bool:
    """Tell whether a floating IP, an IPv4 address or an IPv6 network, holds an address."""
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(ip, strict=False)
    except ValueError:
        return False


def _is_at(node: AddressNode, public: HetznerPublicNet) -> bool:
    known = [each.ip for each in (public.ipv4, public.ipv6) if each is not None]
    return any(_stands_for(ip, address) for ip in known for address in node.endpoint_addresses)
