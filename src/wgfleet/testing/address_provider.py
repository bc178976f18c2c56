"""Contract of address providers: each says where an address is, brings it to a node, and fails well.

Subclass `AddressProviderContract` in a test module, set `plugin`, and override the fixture `environment`. A provider
whose addresses are carried by the agents, or that has none, is tested by `UncalledAddressProviderContract`.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import ClassVar, Protocol

import pytest

from wgfleet.panel.address_providers import ENTRY_POINTS, AddressNode, AddressProvider, plugins
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.testing.failures import check_entry_point, check_failures, check_options

STRANGER = AddressNode("node-of-somebody-else", "stranger", ("198.51.100.99",))


class AddressEnvironment(Protocol):
    """A cloud with one account. It looks up and moves addresses itself, not through the provider that is tested."""

    @property
    def secret(self) -> str:
        """The credential, which no error, log or representation may hold."""

    @property
    def addresses(self) -> Sequence[str]:
        """Two addresses of the account or more; in the beginning no node has one."""

    @property
    def nodes(self) -> Sequence[AddressNode]:
        """Two nodes or more that the provider knows."""

    def provider(self) -> AddressProvider:
        """Make a provider that works."""

    def refused(self) -> AddressProvider:
        """Make a provider whose credential the cloud refuses; `secret` is part of it all the same."""

    def unreachable(self) -> AddressProvider:
        """Make a provider whose cloud does not answer; `secret` is its credential."""

    def place(self, address: str, node: AddressNode | None) -> None:
        """Give the address to the node; None: to a machine that is no node of ours."""

    def holder(self, address: str) -> AddressNode | None:
        """Return which of `nodes` has the address."""


class _AnyAddressProviderContract:
    plugin: ClassVar[str]

    def test_it_is_installed_under_its_own_name(self) -> None:
        check_entry_point(ENTRY_POINTS, self.plugin)

    def test_its_options_refuse_what_they_do_not_know(self) -> None:
        check_options(plugins.installed().find(self.plugin).Options)


class UncalledAddressProviderContract(_AnyAddressProviderContract):
    """What the panel relies on where it has nothing to ask: no holder, and no address that is taken without effect."""

    @pytest.fixture
    def provider(self) -> Iterator[AddressProvider]:
        found = plugins.installed().find(self.plugin)
        made = found(found.Options())
        yield made
        made.close()

    def test_it_knows_of_no_holder(self, provider: AddressProvider) -> None:
        assert provider.holder("203.0.113.10", [STRANGER]) is None

    def test_it_refuses_to_bring_an_address(self, provider: AddressProvider) -> None:
        with pytest.raises(PermanentError) as failure:
            provider.assign("203.0.113.10", STRANGER)
        assert "203.0.113.10" in str(failure.value)
        assert STRANGER.name in str(failure.value)


class AddressProviderContract(_AnyAddressProviderContract):
    """What the panel relies on. `plugin` is the name of the entry point."""

    @pytest.fixture
    def environment(self) -> Iterator[AddressEnvironment]:
        raise NotImplementedError("override this fixture with one that yields an AddressEnvironment")

    @pytest.fixture
    def provider(self, environment: AddressEnvironment) -> Iterator[AddressProvider]:
        made = environment.provider()
        yield made
        made.close()

    def test_the_panel_calls_it(self) -> None:
        assert plugins.installed().find(self.plugin).on_agent is False

    def test_an_address_that_no_node_has_is_with_none(
        self, environment: AddressEnvironment, provider: AddressProvider
    ) -> None:
        assert provider.holder(environment.addresses[0], environment.nodes) is None

    def test_an_address_goes_to_the_node_that_is_named(
        self, environment: AddressEnvironment, provider: AddressProvider
    ) -> None:
        address, node = environment.addresses[0], environment.nodes[0]
        provider.assign(address, node)
        assert environment.holder(address) == node
        assert provider.holder(address, environment.nodes) == node

    def test_an_address_moves_from_one_node_to_another(
        self, environment: AddressEnvironment, provider: AddressProvider
    ) -> None:
        address, (first, second, *_) = environment.addresses[0], environment.nodes
        provider.assign(address, first)
        provider.assign(address, second)
        assert environment.holder(address) == second
        assert provider.holder(address, environment.nodes) == second

    def test_assigning_it_again_changes_nothing(
        self, environment: AddressEnvironment, provider: AddressProvider
    ) -> None:
        address, node = environment.addresses[0], environment.nodes[0]
        provider.assign(address, node)
        provider.assign(address, node)
        assert environment.holder(address) == node

    def test_an_address_is_taken_from_a_machine_that_is_no_node(
        self, environment: AddressEnvironment, provider: AddressProvider
    ) -> None:
        address, node = environment.addresses[0], environment.nodes[0]
        environment.place(address, None)
        assert provider.holder(address, environment.nodes) is None
        provider.assign(address, node)
        assert environment.holder(address) == node

    def test_what_somebody_moved_by_hand_is_seen(
        self, environment: AddressEnvironment, provider: AddressProvider
    ) -> None:
        address, (first, second, *_) = environment.addresses[0], environment.nodes
        provider.assign(address, first)
        environment.place(address, second)
        assert provider.holder(address, environment.nodes) == second

    def test_asking_changes_nothing(self, environment: AddressEnvironment, provider: AddressProvider) -> None:
        address, node = environment.addresses[0], environment.nodes[0]
        environment.place(address, node)
        assert [provider.holder(address, environment.nodes) for _ in range(2)] == [node, node]
        assert environment.holder(address) == node

    def test_only_nodes_that_are_asked_about_are_holders(
        self, environment: AddressEnvironment, provider: AddressProvider
    ) -> None:
        address, (first, *others) = environment.addresses[0], environment.nodes
        environment.place(address, first)
        assert provider.holder(address, others) is None
        assert provider.holder(address, []) is None

    def test_one_address_leaves_another_alone(self, environment: AddressEnvironment, provider: AddressProvider) -> None:
        (one, other, *_), (first, second, *_) = environment.addresses, environment.nodes
        provider.assign(one, first)
        provider.assign(other, second)
        provider.assign(one, second)
        assert [environment.holder(address) for address in (one, other)] == [second, second]
        provider.assign(one, first)
        assert [environment.holder(address) for address in (one, other)] == [first, second]

    def test_a_second_object_sees_the_same(self, environment: AddressEnvironment, provider: AddressProvider) -> None:
        address, node = environment.addresses[0], environment.nodes[0]
        provider.assign(address, node)
        second = environment.provider()
        try:
            assert second.holder(address, environment.nodes) == node
        finally:
            second.close()

    def test_a_node_that_it_does_not_know_is_refused_by_name(
        self, environment: AddressEnvironment, provider: AddressProvider
    ) -> None:
        address, node = environment.addresses[0], environment.nodes[0]
        provider.assign(address, node)
        with pytest.raises(PermanentError) as failure:
            provider.assign(address, STRANGER)
        assert STRANGER.name in str(failure.value)
        assert environment.holder(address) == node

    def test_a_cloud_that_does_not_answer_is_a_transient_error(
        self, environment: AddressEnvironment, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG):
            _check_both_calls(environment, environment.unreachable(), TransientError)
        assert environment.secret not in caplog.text

    def test_a_refused_credential_is_a_permanent_error(
        self, environment: AddressEnvironment, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG):
            _check_both_calls(environment, environment.refused(), PermanentError)
        assert environment.secret not in caplog.text

    def test_an_object_does_not_show_the_secret(
        self, environment: AddressEnvironment, provider: AddressProvider
    ) -> None:
        assert environment.secret not in f"{provider} {provider!r}"


def _check_both_calls(environment: AddressEnvironment, provider: AddressProvider, expected: type[Exception]) -> None:
    address, node = environment.addresses[0], environment.nodes[0]
    try:
        calls = (lambda: provider.holder(address, environment.nodes), lambda: provider.assign(address, node))
        check_failures(calls, expected, environment.secret)
    finally:
        provider.close()
