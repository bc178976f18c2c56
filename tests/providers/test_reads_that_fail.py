"""An answer that is none: of a read nobody says that it may have changed something; of a change, that it may have."""

import httpx
import pytest
from pydantic import SecretStr

from wgfleet.panel.address_providers import hetzner
from wgfleet.panel.address_providers.aws_api import read_answer
from wgfleet.panel.address_providers.cloud_api import CloudApi
from wgfleet.panel.dns.providers.cloudflare_api import Api
from wgfleet.panel.errors import TransientError

FAILED = {
    "html": httpx.Response(200, content=b"<html><body>hello</body></html>"),
    "500": httpx.Response(500, content=b'{"error": {"code": "server_error", "message": "oops"}}'),
}
TOKEN = SecretStr("t" * 20)


def answered(monkeypatch: pytest.MonkeyPatch, failed: httpx.Response) -> None:
    """Have every call of a client answered like this."""

    def handle(_self: httpx.Client, request: httpx.Request, **_given: object) -> httpx.Response:
        return httpx.Response(failed.status_code, content=failed.content, request=request)

    monkeypatch.setattr(httpx.Client, "send", handle)


@pytest.mark.parametrize("failed", FAILED.values(), ids=FAILED)
@pytest.mark.parametrize(("method", "may"), [("GET", False), ("POST", True)])
def test_only_of_a_change_it_is_said_that_it_may_have_been_made(
    monkeypatch: pytest.MonkeyPatch, failed: httpx.Response, method: str, may: bool
) -> None:
    answered(monkeypatch, failed)
    said = []
    action = "AssociateAddress" if may else "DescribeAddresses"
    with pytest.raises(TransientError) as failure:
        CloudApi(hetzner.SERVICE, "https://api.example", TOKEN, 1).call(method, "floating_ips")
    said.append(str(failure.value))
    with pytest.raises(TransientError) as failure:
        Api("https://api.example", TOKEN, 1).call(method, "zones", "Zone / DNS / Edit")
    said.append(str(failure.value))
    with pytest.raises(TransientError) as failure:
        read_answer("ec2.example", action, failed, failed.content)
    said.append(str(failure.value))
    assert ["whether it changed anything is not known" in each for each in said] == [may] * 3
    assert all("answers: " in each for each in said)
