"""Provider `aws`: the contract on moto's server, its signature beside the official library's, and what errors mean."""

from collections.abc import Iterator

import httpx
import pytest
from botocore.auth import SigV4Auth  # type: ignore[import-untyped]  # of moto
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]
from botocore.credentials import Credentials  # type: ignore[import-untyped]

from tests.providers.clouds.aws import REGION, AwsEnvironment, moto
from wgfleet.panel.address_providers import AddressNode, Blocked
from wgfleet.panel.address_providers.aws_api import read_answer, signed_headers
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.testing.address_provider import AddressProviderContract

pytestmark = pytest.mark.slow
SECRET = "s3/cr+t"  # noqa: S105 - opens nothing


@pytest.fixture(scope="module")
def account() -> Iterator[AwsEnvironment]:
    with moto() as url:
        made = AwsEnvironment(url)
        yield made
        made.ec2.close()


@pytest.fixture
def environment(account: AwsEnvironment) -> AwsEnvironment:
    account.begin_anew()
    return account


class TestAws(AddressProviderContract):
    plugin = "aws"

    @pytest.fixture
    def environment(self, environment: AwsEnvironment) -> AwsEnvironment:
        return environment


def test_a_node_without_an_own_private_address_is_refused(environment: AwsEnvironment) -> None:
    environment.private = {"ams1": ["10.0.0.12"]}
    provider = environment.provider()
    with pytest.raises(PermanentError, match="'fra1' in instances and private_addresses"):
        provider.assign(environment.addresses[0], environment.nodes[0])
    provider.close()


def test_an_elastic_ip_takes_no_private_address_from_another(environment: AwsEnvironment) -> None:
    first, second, _ = environment.addresses
    environment.place(first, environment.nodes[0])
    (found,) = environment.ec2.describe_addresses(PublicIps=[first])["Addresses"]
    environment.private = {"fra1": [found["PrivateIpAddress"]]}  # moto knows one for each instance
    provider = environment.provider()
    with pytest.raises(PermanentError, match="all private addresses of node 'fra1' have an Elastic IP"):
        provider.assign(second, environment.nodes[0])
    assert environment.holder(first) == environment.nodes[0]
    provider.close()


def test_an_address_of_somebody_else_is_refused(environment: AwsEnvironment) -> None:
    provider = environment.provider()
    with pytest.raises(PermanentError, match=r"no Elastic IP 198\.51\.100\.7"):
        provider.holder("198.51.100.7", [AddressNode("n1", "fra1", ())])
    provider.close()


def test_the_signature_is_the_official_library_s() -> None:
    body = "Action=DescribeAddresses&Version=2016-11-15&Filter.1.Value.1=203.0.113.10"
    ours = signed_headers("ec2.example.com", body, 1_790_000_000.0, region=REGION, key_id="AKIDEXAMPLE", secret=SECRET)
    request = AWSRequest("POST", "https://ec2.example.com/", data=body, headers={"content-type": ours["content-type"]})
    request.context["timestamp"] = ours["x-amz-date"]
    signer = SigV4Auth(Credentials("AKIDEXAMPLE", SECRET), "ec2", REGION)
    request.headers["x-amz-date"] = ours["x-amz-date"]
    request.headers["host"] = "ec2.example.com"
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    assert ours["authorization"].endswith(f"Signature={signature}")


def _error(status: int, code: str, headers: dict[str, str] | None = None) -> httpx.Response:
    content = f"<Response><Errors><Error><Code>{code}</Code><Message>no</Message></Error></Errors></Response>"
    return httpx.Response(status, content=content, headers=headers)


@pytest.mark.parametrize(
    ("response", "error", "wait_s"),
    [
        (_error(503, "RequestLimitExceeded"), Blocked, 5),
        (_error(503, "RequestLimitExceeded", {"retry-after": "17"}), Blocked, 17),
        (_error(503, "Unavailable"), TransientError, None),
        (_error(500, "InternalError"), TransientError, None),
        (_error(400, "RequestExpired"), TransientError, None),
        (_error(401, "AuthFailure"), PermanentError, None),
        (_error(403, "UnauthorizedOperation"), PermanentError, None),
        (_error(400, "InvalidInstanceID.NotFound"), PermanentError, None),
        (httpx.Response(200, content=b"<html><body>502</body></html>"), TransientError, None),
        (httpx.Response(200, content=b"not XML"), TransientError, None),
        (httpx.Response(200, content=b"<OtherResponse/>"), TransientError, None),
        (httpx.Response(200, content=b'<?xml version="1.0" encoding="no-such"?><a/>'), TransientError, None),
        (httpx.Response(200, content=b'<?xml version="1.0" encoding="utf-7"?><a/>'), TransientError, None),
        (httpx.Response(502, content=b""), TransientError, None),
    ],
)
def test_failures_mean_what_they_say(response: httpx.Response, error: type[Exception], wait_s: float | None) -> None:
    with pytest.raises(error) as said:
        read_answer("ec2.example.com", "DescribeAddresses", response, response.content)
    assert getattr(said.value, "retry_after_s", None) == wait_s
