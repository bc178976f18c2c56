from structlog.testing import capture_logs

from wgfleet.panel.dns.providers.null import Null, NullOptions
from wgfleet.panel.domain.dns.records import Changes, mark
from wgfleet.testing.dns_provider import ours

NAME = "vpn.zone.example"
WANTED = ours("A", "192.0.2.1", mark("panel1", "config1"))


def test_it_says_what_it_would_do_and_nothing_is_there_afterwards() -> None:
    provider = Null("zone.example", NullOptions())
    with capture_logs() as logs:
        assert provider.apply(NAME, Changes(creates=(WANTED,))) == 0
    assert [(entry["name"], entry["creates"]) for entry in logs] == [(NAME, ["A 192.0.2.1"])]
    assert provider.read(NAME) == ()


def test_it_declares_that_nothing_is_published() -> None:
    provider = Null("zone.example", NullOptions())
    assert not provider.capabilities.publishes
    assert all(finding.ok for finding in provider.check(NAME))
