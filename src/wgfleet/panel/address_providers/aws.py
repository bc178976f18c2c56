"""Provider `aws`: Elastic IPs, associated with instances of the key's account in one region.

The cloud translates an Elastic IP to a private address of the instance. That should be a secondary one: on the primary
one it takes the place of the node's own public address.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from wgfleet.panel.address_providers import AddressNode
from wgfleet.panel.address_providers.aws_api import Ec2Api
from wgfleet.panel.address_providers.cloud_api import NotThere
from wgfleet.panel.address_providers.cloud_client import CloudClient, CloudOptions
from wgfleet.panel.errors import PermanentError
from wgfleet.panel.plugin_fields import IPv4Address, checked_api_url, each_its_own, of_form
from wgfleet.protocol.reasons import Reason


def _checked_or_regional(value: str) -> str:
    return checked_api_url(value) if value else value


AccessKeyId = Annotated[
    str,
    AfterValidator(of_form("[A-Z0-9]{16,128}", Reason("must be 16 to 128 characters, capital letters and digits"))),
]
Region = Annotated[
    str, AfterValidator(of_form(r"[a-z]{2}(-[a-z]+)+-\d", Reason("must be a region, such as eu-central-1")))
]
InstanceId = Annotated[
    str,
    AfterValidator(
        of_form("i-([0-9a-f]{8}|[0-9a-f]{17})", Reason("must be an instance's id, such as i-0123456789abcdef0"))
    ),
]


class AwsOptions(CloudOptions):
    """An access key; by the node's name, `instances` and the `private_addresses` that Elastic IPs are translated to."""

    access_key_id: AccessKeyId
    token: SecretStr = Field(min_length=1, description="The secret access key.")
    region: Region
    instances: Annotated[dict[str, InstanceId], AfterValidator(each_its_own)] = Field(min_length=1, max_length=300)
    private_addresses: dict[str, list[IPv4Address]] = Field(min_length=1, max_length=300)
    api_url: Annotated[str, AfterValidator(_checked_or_regional)] = ""


class Aws(CloudClient[Ec2Api]):
    """One access key in one region. May be used from several threads."""

    name: ClassVar[str] = "aws"
    on_agent: ClassVar[bool] = False
    translated_to: ClassVar[str] = "private_addresses"
    ipv4_only: ClassVar[bool] = True
    by_node: ClassVar[frozenset[str]] = frozenset({"instances", "private_addresses"})
    Options: ClassVar[type[BaseModel]] = AwsOptions

    def __init__(self, options: AwsOptions) -> None:
        self._instances, self._private = options.instances, options.private_addresses
        url = options.api_url or f"https://ec2.{options.region}.amazonaws.com"
        super().__init__(Ec2Api(url, options.region, options.access_key_id, options.token, options.timeout_s))

    def holder(self, address: str, nodes: Sequence[AddressNode]) -> AddressNode | None:
        """Return the node whose instance the Elastic IP is associated with."""
        _, instance = self._elastic(address)
        return next((node for node in nodes if instance and self._instances.get(node.name) == instance), None)

    def assign(self, address: str, node: AddressNode) -> None:
        """Associate the Elastic IP with the node's private address, from wherever it is; that is one step."""
        instance, private = self._instances.get(node.name), self._private.get(node.name)
        if instance is None or not private:
            raise PermanentError(
                Reason(
                    "address_options has no entry for node {node!r} in instances and private_addresses; add both",
                    node=node.name,
                )
            )
        allocation, _ = self._elastic(address)
        used = self._used(address, instance)
        free = next((each for each in private if each not in used), None)
        if free is None:
            raise PermanentError(
                Reason(
                    "all private addresses of node {node!r} have an Elastic IP already; add one to it, and to "
                    "address_options.private_addresses",
                    node=node.name,
                )
            )
        self._api.call(
            "AssociateAddress",
            {
                "AllocationId": allocation, "InstanceId": instance, "PrivateIpAddress": free,
                "AllowReassociation": "true",
            },
        )  # fmt: skip

    def _used(self, address: str, instance: str) -> set[str]:
        """Return the private addresses of an instance that other Elastic IPs are translated to: it would lose those."""
        answer = self._api.call("DescribeAddresses", {"Filter.1.Name": "instance-id", "Filter.1.Value.1": instance})
        return {
            item.findtext("privateIpAddress", "")
            for item in answer.iterfind("addressesSet/item")
            if item.findtext("publicIp") != address
        }

    def _elastic(self, address: str) -> tuple[str, str]:
        """Return the allocation of an Elastic IP, and the instance that it is associated with."""
        answer = self._api.call("DescribeAddresses", {"Filter.1.Name": "public-ip", "Filter.1.Value.1": address})
        for item in answer.iterfind("addressesSet/item"):
            if item.findtext("publicIp") == address:
                return item.findtext("allocationId", ""), item.findtext("instanceId", "")
        raise NotThere(Reason("this key's account has no Elastic IP {address} in the region", address=address))
