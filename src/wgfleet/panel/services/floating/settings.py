"""The floating addresses and address provider of an endpoint group: checked, sealed, and rendered for the provider."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wgfleet.panel.address_providers import NONE, AddressNode, AddressProvider, plugins
from wgfleet.panel.domain.fields import check_list, parse_public_address
from wgfleet.panel.errors import Conflict, Invalid
from wgfleet.panel.services import tunnel_networks
from wgfleet.panel.services.floating import addresses as address_list
from wgfleet.panel.services.floating import translations
from wgfleet.panel.store import Tx, sealed
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.tables import EndpointGroup
from wgfleet.panel.vault import Vault
from wgfleet.protocol.reasons import Reason


@dataclass(frozen=True, slots=True)
class FloatingSpec:
    """What an endpoint group says of floating addresses. `options` None: those of before, if the provider stays."""

    addresses: Sequence[str] = ()
    provider: str = NONE
    options: Mapping[str, Any] | None = None


NO_FLOATING = FloatingSpec()


@dataclass(frozen=True, slots=True)
class Task:
    """What a provider is to make true: each node of `holders` has its address. `nodes` are all there are."""

    provider: str
    options: Mapping[str, Any]
    nodes: tuple[AddressNode, ...]
    holders: Mapping[str, AddressNode]

    def __repr__(self) -> str:
        """Say what is to be, without the options."""
        return f"Task({self.provider!r}, {[(address, node.name) for address, node in self.holders.items()]!r})"

    def connect(self) -> AddressProvider:
        """Make the provider."""
        return plugins.installed().open(self.provider, self.options)


def apply(tx: Tx, vault: Vault, group: EndpointGroup, spec: FloatingSpec) -> None:
    """Make the group's floating addresses and their provider what they shall be."""
    addresses, providers = _checked(tx, group.config_id, spec.addresses), plugins.installed()
    if addresses and spec.provider == NONE:
        raise Invalid(
            Reason(
                "floating addresses need a provider: {names}",
                names=", ".join(name for name in providers.names if name != NONE),
            ),
            field=providers.name_field,
        )
    other = spec.provider != group.address_provider
    if getattr(providers.require(spec.provider), "ipv4_only", False):
        before = () if other else address_list.listed(tx, group.config_id)
        _check_ipv4(addresses, before, spec.provider)
    elsewhere = False
    if other or spec.options is not None:
        kept = {} if other else _options(vault, group)
        given = providers.canonical(spec.provider, providers.with_kept(spec.provider, spec.options, kept))
        _check_names(tx, spec.provider, given, kept)
        column = EndpointGroup.address_options_sealed
        group.address_options_sealed = sealed.seal_options(vault, column, group.config_id, given)
        elsewhere = not other and translations.changed(kept, given, spec.provider)
    group.address_provider = spec.provider
    address_list.put(tx, group.config_id, addresses, other_provider=other, elsewhere=elsewhere)


def _checked(tx: Tx, config_id: str, texts: Sequence[str]) -> list[str]:
    """Return the addresses in canonical form, or name the first that cannot float."""
    check_list(texts, "floating_addresses")
    nodes = {host: name for name, host in node_rows.agent_hosts(tx)} | node_rows.endpoint_addresses(tx)
    found: list[str] = []
    for i, text in enumerate(texts):
        field = f"floating_addresses[{i}]"
        address = parse_public_address(text, field)
        row = floating_rows.find(tx, address)
        if address in found:
            raise Invalid(Reason("{address} is in the list twice", address=address), field=field)
        if address in nodes:
            raise Conflict(
                Reason(
                    "{address} is an address of node {node!r} itself and cannot move",
                    address=address,
                    node=nodes[address],
                ),
                field=field,
            )
        if row is not None and row.config_id != config_id:
            raise Conflict(
                Reason(
                    "{address} is used by config {config!r}, or has not been released by one of its nodes yet",
                    address=address,
                    config=_name(tx, row.config_id),
                ),
                field=field,
            )
        tunnel_networks.check_outside(tx, address, field)
        found.append(address)
    return found


def _check_ipv4(addresses: Sequence[str], before: Collection[str], provider: str) -> None:
    """Refuse what a provider cannot bring to a node, but not what it was given in an earlier release."""
    for i, address in enumerate(addresses):
        if ":" in address and address not in before:
            raise Invalid(
                Reason(
                    "{address} is an IPv6 address, and provider {provider!r} has only IPv4: leave it out, or choose "
                    "another address_provider",
                    address=address,
                    provider=provider,
                ),
                field=f"floating_addresses[{i}]",
            )


def _check_names(tx: Tx, provider: str, given: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
    """Refuse what is given for nodes that there are not; those of before may have been deleted meanwhile."""
    options: Collection[str] = getattr(plugins.installed().find(provider), "by_node", frozenset())
    for option in sorted(options):
        found = given.get(option)
        if not isinstance(found, Mapping):
            continue
        for name in sorted(found.keys() - (kept.get(option) or {}).keys()):
            node = node_rows.find(tx, name)
            if node is None or node.name != name or node.witness:
                raise Invalid(
                    Reason(
                        "there is no node {name!r} that serves users: give the name of one, or leave it out",
                        name=name,
                    ),
                    field=f"{plugins.installed().options_field}.{option}",
                )


def _name(tx: Tx, config_id: str) -> str:
    config = config_rows.find(tx, config_id)
    return config.name if config else config_id


def shown(vault: Vault, group: EndpointGroup) -> dict[str, Any]:
    """Return a group's options as they may be shown: of a secret, only that it is set."""
    return plugins.installed().shown(group.address_provider, _options(vault, group))


def task(tx: Tx, vault: Vault, config_id: str) -> Task | None:
    """Return what a config's provider is to make true; None where agents do it, or there are no addresses."""
    group = endpoint_group_rows.get(tx, config_id)
    if group is None or group.address_provider == NONE:
        return None
    kind = plugins.installed().find(group.address_provider)
    nodes = {
        node.id: AddressNode(node.id, node.name, tuple(node.endpoint_addresses))
        for _, node in assignment_rows.of_config(tx, config_id)
    }
    holders = {
        row.address: nodes[row.holder_node_id]
        for row in floating_rows.of_config(tx, config_id)
        if row.holder_node_id in nodes and not row.withdrawn
    }
    if kind.on_agent or not holders:
        return None
    return Task(group.address_provider, _options(vault, group), tuple(nodes.values()), holders)


def _options(vault: Vault, group: EndpointGroup) -> dict[str, Any]:
    return sealed.unseal_options(vault, EndpointGroup.address_options_sealed, group)
