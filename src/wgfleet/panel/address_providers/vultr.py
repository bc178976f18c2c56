"""Provider `vultr`: reserved IPs, attached to instances of the key's account.

An address that is attached has to be detached first, and that goes on after the call: until it is over, the cloud
refuses to attach the address elsewhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BaseModel, Field

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
from wgfleet.panel.plugin_fields import ApiUrl, each_its_own, of_form
from wgfleet.protocol.reasons import Reason

PER_PAGE, MAX_PAGES = 500, 20
DETACH_S = 10.0
POLLS_S = (0.3, 0.5, 1.0)


def _said(body: Mapping[str, Any]) -> tuple[str, str]:
    return "", str(body.get("error", ""))


SERVICE = CloudService(
    name="vultr",
    url="https://api.vultr.com/v2",
    needs="to be enabled, with this machine's address in its access control",
    calls=300,  # published: 30 in a second from one address; this is 5
    window_s=60.0,
    said=_said,
)


class VultrAddress(CloudModel):
    id: str
    subnet: str
    instance_id: str | None = None


class VultrInstance(CloudModel):
    id: str
    main_ip: str = ""
    v6_main_ip: str = ""


class VultrLinks(CloudModel):
    next: str = ""


class VultrMeta(CloudModel):
    links: VultrLinks = VultrLinks()


VultrId = Annotated[
    str,
    AfterValidator(
        of_form(
            "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
            Reason("must be an instance's id as Vultr shows it, such as 4f0f12e5-1f84-404f-aa84-85f431ea5ec2"),
        )
    ),
    AfterValidator(str.lower),
]


class VultrOptions(CloudOptions):
    """The API key. `instances`: the ids of nodes' instances, for those not known by their main address."""

    instances: Annotated[dict[str, VultrId], AfterValidator(each_its_own)] = Field(default_factory=dict, max_length=300)
    api_url: ApiUrl = SERVICE.url


class Vultr(CloudClient[CloudApi]):
    """One account. May be used from several threads."""

    name: ClassVar[str] = "vultr"
    on_agent: ClassVar[bool] = False
    bound: ClassVar[bool] = True
    by_node: ClassVar[frozenset[str]] = frozenset({"instances"})
    Options: ClassVar[type[BaseModel]] = VultrOptions

    def __init__(self, options: VultrOptions) -> None:
        self._instances = options.instances
        super().__init__(CloudApi(SERVICE, options.api_url, options.token, options.timeout_s))
        self._ids: dict[str, str] = {}  # of reserved IPs, by address
        self._known: dict[str, VultrInstance] = {}  # by id

    def holder(self, address: str, nodes: Sequence[AddressNode]) -> AddressNode | None:
        """Return the node whose instance the reserved IP is attached to."""
        instance = self._reserved(address).instance_id
        if not instance:
            return None
        for node in nodes:
            if self._instances.get(node.name) == instance:
                return node
        others = [node for node in nodes if node.name not in self._instances]
        found = self._instance(instance) if others else None
        return next((node for node in others if found is not None and _is_at(node, found)), None)

    def assign(self, address: str, node: AddressNode) -> None:
        """Detach the reserved IP from what has it, and attach it to the node's instance."""
        instance, reserved = self._instance_of(node), self._reserved(address)
        if reserved.instance_id == instance:
            return
        if reserved.instance_id:
            self._api.call("POST", f"reserved-ips/{reserved.id}/detach")
            self._wait_detached(address)
        try:
            self._api.call("POST", f"reserved-ips/{reserved.id}/attach", body={"instance_id": instance})
        except CloudRefused as refusal:
            if "already attached" in str(refusal):
                raise TransientError(str(refusal), retry_after_s=LOOK_AGAIN_S) from None
            raise

    def _wait_detached(self, address: str) -> None:
        until = clock.monotonic() + DETACH_S
        until_over(
            self._reserved(address),
            lambda _: self._reserved(address),
            lambda reserved: bool(reserved.instance_id),
            until=until,
            pauses_s=POLLS_S,
            what=f"Vultr is still at it: detach of {address}",
        )

    def _reserved(self, address: str) -> VultrAddress:
        """Read a reserved IP; its id is looked up once."""
        if (found := self._ids.get(address)) is not None:
            try:
                reserved = parsed(VultrAddress, self._api.call("GET", f"reserved-ips/{found}").get("reserved_ip"))
            except NotThere:
                del self._ids[address]
            else:
                if reserved.subnet == address:
                    return reserved
        for item in self._pages("reserved-ips", "reserved_ips"):
            reserved = parsed(VultrAddress, item)
            if reserved.subnet == address:
                self._ids[address] = reserved.id
                return reserved
        raise NotThere(Reason("Vultr has no reserved IP {address} in this key's account", address=address))

    def _instance_of(self, node: AddressNode) -> str:
        if (given := self._instances.get(node.name)) is not None:
            return given
        for item in self._pages("instances", "instances"):
            instance = parsed(VultrInstance, item)
            if _is_at(node, instance):
                return instance.id
        raise PermanentError(
            Reason(
                "no instance of this key's account has an address of node {node!r}; add its id to "
                "address_options.instances",
                node=node.name,
            )
        )

    def _instance(self, identifier: str) -> VultrInstance | None:
        if identifier not in self._known:
            try:
                answer = self._api.call("GET", f"instances/{identifier}")
            except NotThere:
                return None
            self._known[identifier] = parsed(VultrInstance, answer.get("instance"))
        return self._known[identifier]

    def _pages(self, path: str, key: str) -> Iterator[object]:
        query = {"per_page": str(PER_PAGE)}
        for _ in range(MAX_PAGES):
            answer = self._api.call("GET", path, query=query)
            found = answer.get(key)
            if not isinstance(found, list):
                raise TransientError(Reason("Vultr gave an answer that is not in the API's format: no {key}", key=key))
            yield from found
            cursor = parsed(VultrMeta, answer.get("meta", {})).links.next
            if not cursor:
                return
            # Published as a cursor; some answers have had a whole address with it.
            query["cursor"] = parse_qs(urlsplit(cursor).query).get("cursor", [cursor])[0]


def _is_at(node: AddressNode, instance: VultrInstance) -> bool:
    return bool({instance.main_ip, instance.v6_main_ip} & set(node.endpoint_addresses))
