import pytest

from wgfleet.lab import nameserver, state
from wgfleet.lab.hosts import Host
from wgfleet.lab.topology import ROUTER
from wgfleet.lab.waiting import wait_for
from wgfleet.panel.dns.providers.rfc2136 import Rfc2136, Rfc2136Options
from wgfleet.panel.domain.dns.records import Changes, Record

pytestmark = pytest.mark.lab


def found(host: Host) -> set[str]:
    lines = host.run("getent", "ahostsv4", nameserver.ENDPOINT, check=False).splitlines()
    return {line.split()[0] for line in lines}


@pytest.mark.parametrize("nat", [False, True], ids=["at once", "behind NAT"])
def test_what_is_published_in_the_router_is_what_a_device_finds(*, nat: bool) -> None:
    with state.temporary("pytestnames", nodes=1, clients=1, nat=nat) as lab:
        provider = Rfc2136(nameserver.ZONE, Rfc2136Options.model_validate(nameserver.start(lab.host(ROUTER))))
        places = [lab.host("panel"), lab.host("node-1"), lab.host("client-1")]
        assert [found(host) for host in places] == [set(), set(), set()]
        wanted = {"198.18.16.11", "198.18.16.12"}
        records = tuple(Record("A", address, 60, "wgfleet panel/config") for address in wanted)
        provider.apply(nameserver.ENDPOINT, Changes(creates=records))
        assert [found(host) for host in places] == [wanted, wanted, wanted]
        answer = wait_for(lambda: nameserver.ask(nameserver.ENDPOINT), "no answer", within_s=30)
        assert answer.addresses == wanted
        assert lab.host("client-1").succeeds("getent", "hosts", "panel")
