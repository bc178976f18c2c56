"""The address providers of the product, and a small one in memory, pass the contract suite."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr

from wgfleet.panel.address_providers import ENTRY_POINTS, AddressNode, AddressProvider, plugins
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.testing.address_provider import AddressProviderContract, UncalledAddressProviderContract

SECRET = "token-of-the-stand-in"  # noqa: S105 - opens nothing


class TestNone(UncalledAddressProviderContract):
    plugin = "none"

    def test_it_carries_nothing(self) -> None:
        assert plugins.installed().find(self.plugin).on_agent is False


class TestLayer2(UncalledAddressProviderContract):
    plugin = "l2"

    def test_the_agents_carry_the_addresses(self) -> None:
        assert plugins.installed().find(self.plugin).on_agent is True


class TestRouted(UncalledAddressProviderContract):
    plugin = "bgp"

    def test_the_agents_carry_the_addresses(self) -> None:
        assert plugins.installed().find(self.plugin).on_agent is True


@dataclass
class Cloud:
    """Addresses and the names of their holders."""

    token: str = SECRET
    answers: bool = True
    holders: dict[str, str] = field(default_factory=dict)


class StandInOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")
    token: SecretStr


class StandIn:
    """A provider of the cloud that is in memory."""

    name: ClassVar[str] = "stand-in"
    on_agent: ClassVar[bool] = False
    Options: ClassVar[type[BaseModel]] = StandInOptions
    nodes: ClassVar[tuple[str, ...]] = ("fra1", "ams1")

    def __init__(self, options: StandInOptions, cloud: Cloud) -> None:
        self._options = options
        self._cloud = cloud

    def holder(self, address: str, nodes: Sequence[AddressNode]) -> AddressNode | None:
        self._enter()
        return next((node for node in nodes if node.name == self._cloud.holders.get(address)), None)

    def assign(self, address: str, node: AddressNode) -> None:
        self._enter()
        if node.name not in self.nodes:
            raise PermanentError(f"there is no machine for node {node.name!r}")
        self._cloud.holders[address] = node.name

    def _enter(self) -> None:
        if not self._cloud.answers:
            raise TransientError("the cloud does not answer")
        if self._options.token.get_secret_value() != self._cloud.token:
            raise PermanentError("the cloud refuses the token")

    def close(self) -> None:
        """Nothing is open."""


class StandInEnvironment:
    secret = SECRET
    addresses = ("203.0.113.10", "2001:db8::10")
    nodes = (AddressNode("n1", "fra1", ("192.0.2.1",)), AddressNode("n2", "ams1", ("192.0.2.2",)))

    def __init__(self) -> None:
        self.cloud = Cloud()

    def provider(self) -> AddressProvider:
        return StandIn(StandInOptions(token=SecretStr(SECRET)), self.cloud)

    def refused(self) -> AddressProvider:
        self.cloud.token = "another"  # noqa: S105 - opens nothing
        return self.provider()

    def unreachable(self) -> AddressProvider:
        self.cloud.answers = False
        return self.provider()

    def place(self, address: str, node: AddressNode | None) -> None:
        self.cloud.holders[address] = "somebody else's" if node is None else node.name

    def holder(self, address: str) -> AddressNode | None:
        return next((node for node in self.nodes if node.name == self.cloud.holders.get(address)), None)


class TestStandIn(AddressProviderContract):
    plugin = "stand-in"

    @pytest.fixture(autouse=True)
    def installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        info = tmp_path / "stand_in-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stand-in\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\nstand-in = {__name__}:StandIn\n")
        monkeypatch.syspath_prepend(tmp_path)
        plugins.installed.cache_clear()
        yield
        plugins.installed.cache_clear()

    @pytest.fixture
    def environment(self) -> StandInEnvironment:
        return StandInEnvironment()
