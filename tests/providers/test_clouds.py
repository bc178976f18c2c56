"""Address providers of clouds: the contract on a strict stand-in, and each way in which the API can fail."""

from collections.abc import Callable, Iterator
from typing import Protocol

import pytest

from tests.providers.clouds.digitalocean import DigitalOceanEnvironment, DigitalOceanRules
from tests.providers.clouds.faults import CHANGED, FAILURES
from tests.providers.clouds.hetzner import HetznerEnvironment, HetznerRules
from tests.providers.clouds.server import CloudStandIn, standing_in
from tests.providers.clouds.vultr import VultrEnvironment, VultrRules
from wgfleet.panel.address_providers import AddressNode, MeteredAddressProvider
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.testing.address_provider import STRANGER, AddressEnvironment, AddressProviderContract


class CloudEnvironment(AddressEnvironment, Protocol):
    stand_in: CloudStandIn
    writes_left: int | None  # after a change that was made and not answered; None: it is seen some calls later

    def provider(self, token: str = ..., url: str | None = ..., timeout_s: float = ...) -> MeteredAddressProvider: ...


def hetzner() -> CloudEnvironment:
    return HetznerEnvironment(HetznerRules())


AT_ONCE = "-at-once"
CLOUDS: dict[str, Callable[[], CloudEnvironment]] = {
    "hetzner": hetzner,
    "hetzner-at-once": lambda: HetznerEnvironment(HetznerRules(reads=0)),
    "digitalocean": lambda: DigitalOceanEnvironment(DigitalOceanRules()),
    "digitalocean-at-once": lambda: DigitalOceanEnvironment(DigitalOceanRules(reads=0)),
    "vultr": lambda: VultrEnvironment(VultrRules()),
    "vultr-at-once": lambda: VultrEnvironment(VultrRules(reads=0)),
}


@pytest.fixture(params=CLOUDS)
def cloud(request: pytest.FixtureRequest) -> Iterator[CloudEnvironment]:
    made = CLOUDS[request.param]()
    with standing_in(made.stand_in):
        yield made


class TestHetzner(AddressProviderContract):
    plugin = "hetzner"

    @pytest.fixture
    def environment(self) -> Iterator[AddressEnvironment]:
        made = hetzner()
        with standing_in(made.stand_in):
            yield made


class TestDigitalOcean(AddressProviderContract):
    plugin = "digitalocean"

    @pytest.fixture
    def environment(self) -> Iterator[AddressEnvironment]:
        made = CLOUDS["digitalocean"]()
        with standing_in(made.stand_in):
            yield made


class TestVultr(AddressProviderContract):
    plugin = "vultr"

    @pytest.fixture
    def environment(self) -> Iterator[AddressEnvironment]:
        made = CLOUDS["vultr"]()
        with standing_in(made.stand_in):
            yield made


def bring(provider: MeteredAddressProvider, address: str, node: AddressNode, nodes: list[AddressNode]) -> None:
    """Do what the panel does with an address: look, then assign it if it is not where it is to be."""
    if provider.holder(address, nodes) != node:
        provider.assign(address, node)


# Where a change takes time, only those failures that leave something under way differ.
CELLS = [
    (kind, name)
    for kind in CLOUDS
    for name in FAILURES
    if kind.endswith(AT_ONCE) or name in CHANGED or name == "423, locked"
]


@pytest.mark.slow
@pytest.mark.parametrize(("cloud", "name"), CELLS, indirect=["cloud"])
def test_a_failure_is_said_rightly_and_leaves_nothing_wrong(cloud: CloudEnvironment, name: str) -> None:
    failure, nodes = FAILURES[name], list(cloud.nodes)
    address, other, (first, second) = cloud.addresses[0], cloud.addresses[1], nodes[:2]
    cloud.place(address, first)
    cloud.place(other, first)
    provider = cloud.provider(timeout_s=failure.timeout_s)
    cloud.stand_in.faults.add(*failure.at)
    if failure.error is None:
        bring(provider, address, second, nodes)
    else:
        said = failed(cloud, failure.error, lambda: bring(provider, address, second, nodes))
        assert getattr(said, "retry_after_s", None) == failure.wait_s
        assert cloud.secret not in f"{said!r} {vars(said)}"
    cloud.stand_in.faults.clear()
    made = settle(cloud, provider, address, second)
    assert cloud.holder(address) == second
    assert cloud.holder(other) == first, "another address of the account is left alone"
    if name in CHANGED and cloud.writes_left is not None:
        assert made == cloud.writes_left, "what was done is read, and not done again"
    provider.close()


def failed(cloud: CloudEnvironment, error: type[Exception], call: Callable[[], None]) -> Exception:
    """Return how a call fails by the stand-in's fault: on a machine that stood still one can be late before that."""
    while True:
        with pytest.raises(error) as said:
            call()
        if cloud.stand_in.faults.struck.wait(2.0):
            return said.value


def settle(cloud: CloudEnvironment, provider: MeteredAddressProvider, address: str, node: AddressNode) -> int:
    """Try again until all is well, as the panel does; return how many changes that took."""
    before = len(cloud.stand_in.writes)
    for _ in range(6):
        try:
            bring(provider, address, node, list(cloud.nodes))
        except TransientError:
            continue
        if cloud.holder(address) == node:
            break
    return len(cloud.stand_in.writes) - before


def test_calls_are_counted_as_they_go_out(cloud: CloudEnvironment) -> None:
    provider, address, node = cloud.provider(), cloud.addresses[0], cloud.nodes[0]
    bring(provider, address, node, list(cloud.nodes))
    assert provider.calls == len(cloud.stand_in.calls) > 1
    before = provider.calls
    provider.holder(address, cloud.nodes)
    assert provider.calls - before <= 2, "a look that changes nothing costs little"
    assert provider.account.calls > 0
    assert cloud.secret not in provider.account.id
    provider.close()


def test_an_address_that_the_account_does_not_have_is_refused(cloud: CloudEnvironment) -> None:
    provider = cloud.provider()
    with pytest.raises(PermanentError, match=r"198\.51\.100\.7"):
        provider.holder("198.51.100.7", cloud.nodes)
    with pytest.raises(PermanentError, match=r"198\.51\.100\.7"):
        provider.assign("198.51.100.7", cloud.nodes[0])
    assert cloud.stand_in.writes == []
    provider.close()


def test_a_node_that_the_account_does_not_have_costs_no_change(cloud: CloudEnvironment) -> None:
    provider = cloud.provider()
    with pytest.raises(PermanentError, match=STRANGER.name):
        provider.assign(cloud.addresses[0], STRANGER)
    assert cloud.stand_in.writes == []
    provider.close()


def test_hetzner_unassigns_first_where_the_cloud_asks_for_it() -> None:
    rules = HetznerRules(strays=True)
    cloud = HetznerEnvironment(rules)
    with standing_in(cloud.stand_in):
        provider = cloud.provider()
        cloud.place(cloud.addresses[0], None)
        provider.assign(cloud.addresses[0], cloud.nodes[1])
        assert cloud.holder(cloud.addresses[0]) == cloud.nodes[1]
        assert [call.path.rpartition("/")[2] for call in cloud.stand_in.writes] == ["assign", "unassign", "assign"]
        provider.close()


def test_hetzner_says_why_an_action_failed() -> None:
    rules = HetznerRules(fails="action_failed")
    cloud = HetznerEnvironment(rules)
    with standing_in(cloud.stand_in):
        provider = cloud.provider()
        with pytest.raises(TransientError, match="Action failed \\(action_failed\\)"):
            provider.assign(cloud.addresses[0], cloud.nodes[1])
        assert cloud.holder(cloud.addresses[0]) is None
        provider.close()


def test_digitalocean_waits_for_an_action_that_somebody_began() -> None:
    cloud = DigitalOceanEnvironment(DigitalOceanRules(reads=50))
    with standing_in(cloud.stand_in):
        provider = cloud.provider()
        begun = {"id": 1, "status": "in-progress", "_ip": cloud.addresses[0], "_droplet": 42, "_reads": 50}
        cloud.rules.actions[1] = begun
        with pytest.raises(TransientError, match="pending event") as said:
            provider.assign(cloud.addresses[0], cloud.nodes[1])
        assert said.value.retry_after_s is not None
        provider.close()


def test_vultr_is_asked_again_while_it_detaches() -> None:
    cloud = VultrEnvironment(VultrRules())
    address = cloud.addresses[0]
    with standing_in(cloud.stand_in):
        provider = cloud.provider()
        cloud.place(address, None)
        provider.assign(address, cloud.nodes[1])
        assert cloud.holder(address) == cloud.nodes[1]
        assert [call.path.rpartition("/")[2] for call in cloud.stand_in.writes] == ["detach", "attach"]
        provider.close()
