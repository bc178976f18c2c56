"""Moto's server in place of AWS: instances and Elastic IPs of its EC2, keys and rights checked by its IAM."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # of moto
import httpx
from pydantic import SecretStr

from wgfleet.panel.address_providers import AddressNode
from wgfleet.panel.address_providers.aws import Aws, AwsOptions

REGION = "eu-central-1"
# What docs/floating.md asks for, and no more.
RIGHTS = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["ec2:DescribeAddresses", "ec2:AssociateAddress"], "Resource": "*"},
    ],
}
ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


class AwsEnvironment:
    """Three Elastic IPs, two instances of nodes, one of somebody else, and a key that may do just what is needed."""

    nodes = (AddressNode("n1", "fra1", ("192.0.2.1",)), AddressNode("n2", "ams1", ("192.0.2.2",)))

    def __init__(self, url: str) -> None:
        self.url = url
        iam = self._client("iam", "testing0testing0", "testing")
        admin, self.key = self._user(iam, "admin", ALL), self._user(iam, "wgfleet", RIGHTS)
        self.secret: str = self.key["SecretAccessKey"]
        self.ec2 = self._client("ec2", admin["AccessKeyId"], admin["SecretAccessKey"])
        image = self.ec2.describe_images()["Images"][0]["ImageId"]
        made = self.ec2.run_instances(ImageId=image, MinCount=3, MaxCount=3)["Instances"]
        self.others, *ours = (each["InstanceId"] for each in made)
        self.instances = dict(zip(("fra1", "ams1"), ours, strict=True))
        self.private: dict[str, list[str]] = {}
        self.addresses: list[str] = []
        self._allocations: dict[str, str] = {}
        httpx.post(f"{url}/moto-api/reset-auth", content=b"0", trust_env=False)  # from here on each call needs rights

    def begin_anew(self) -> None:
        """Get other addresses, which no instance has."""
        found = [self.ec2.allocate_address(Domain="vpc") for _ in range(3)]
        self.addresses = [each["PublicIp"] for each in found]
        self._allocations = {each["PublicIp"]: each["AllocationId"] for each in found}
        self.private = {"fra1": ["10.0.0.11", "10.0.0.21"], "ams1": ["10.0.0.12", "10.0.0.22"]}

    def _client(self, service: str, key_id: str, secret: str) -> Any:
        return boto3.client(
            service, endpoint_url=self.url, region_name=REGION, aws_access_key_id=key_id, aws_secret_access_key=secret
        )

    def _user(self, iam: Any, name: str, rights: dict[str, Any]) -> dict[str, str]:
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=json.dumps(rights))
        key: dict[str, str] = iam.create_access_key(UserName=name)["AccessKey"]
        return key

    def provider(self, token: str | None = None, url: str | None = None, timeout_s: float = 20.0) -> Aws:
        options = AwsOptions(
            access_key_id=self.key["AccessKeyId"], token=SecretStr(token or self.secret), region=REGION,
            instances=self.instances, private_addresses=self.private, api_url=url or self.url, timeout_s=timeout_s,
        )  # fmt: skip
        return Aws(options)

    def refused(self) -> Aws:
        return self.provider(token=f"{self.secret}-revoked")

    def unreachable(self) -> Aws:
        return self.provider(url="http://127.0.0.1:9")

    def place(self, address: str, node: AddressNode | None) -> None:
        instance = self.others if node is None else self.instances[node.name]
        self.ec2.associate_address(
            AllocationId=self._allocations[address], InstanceId=instance, AllowReassociation=True
        )

    def holder(self, address: str) -> AddressNode | None:
        (found,) = self.ec2.describe_addresses(PublicIps=[address])["Addresses"]
        return next((node for node in self.nodes if self.instances[node.name] == found.get("InstanceId")), None)


@contextmanager
def moto() -> Iterator[str]:
    """Run moto's server; return its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).parent / "moto_server"
    process = subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "1000"},
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            with suppress(httpx.TransportError):
                if httpx.get(f"{url}/moto-api/", trust_env=False).is_success:
                    break
            time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()
