"""The DNS providers of the product pass the contract suite, each on a real server or on the stand-in."""

from collections.abc import Iterator

import pytest

from tests.providers.cloudflare.environment import CloudflareEnvironment, cloudflare
from tests.providers.knot import Knot, knot
from tests.providers.powerdns import PowerDns, powerdns
from wgfleet.testing.dns_provider import DnsProviderContract


class TestCloudflare(DnsProviderContract):
    plugin = "cloudflare"

    @pytest.fixture
    def environment(self) -> Iterator[CloudflareEnvironment]:
        with cloudflare() as opened:
            yield opened


@pytest.mark.servers
class TestLexicon(DnsProviderContract):
    plugin = "lexicon"

    @pytest.fixture
    def environment(self) -> Iterator[PowerDns]:
        with powerdns() as opened:
            yield opened


@pytest.mark.servers
class TestRfc2136(DnsProviderContract):
    plugin = "rfc2136"

    @pytest.fixture
    def environment(self) -> Iterator[Knot]:
        with knot() as opened:
            yield opened
