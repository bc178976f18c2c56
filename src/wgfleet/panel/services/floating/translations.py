"""Private addresses of nodes to which a cloud translates floating ones: clients are called from those."""

from collections.abc import Mapping, Sequence

from wgfleet.panel.address_providers import plugins
from wgfleet.panel.errors import PermanentError
from wgfleet.panel.store import Tx, sealed
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store.tables import EndpointGroup
from wgfleet.panel.vault import Vault
from wgfleet.protocol.features import Feature


def of_config(tx: Tx, vault: Vault, config_id: str) -> dict[str, tuple[str, ...]]:
    """Return them by node id; nothing of nodes whose agents do not know of it, or of which the options say nothing."""
    group = endpoint_group_rows.get(tx, config_id)
    if group is None:
        return {}
    try:
        option = getattr(plugins.installed().find(group.address_provider), "translated_to", None)
    except PermanentError:
        return {}  # plugin not installed; the floating worker reports it
    if option is None:
        return {}
    by_name = sealed.unseal_options(vault, EndpointGroup.address_options_sealed, group).get(option) or {}
    return {
        node.id: _listed(by_name[node.name])
        for _, node in assignment_rows.of_config(tx, config_id)
        if node.name in by_name and Feature.TRANSLATED_ADDRESSES in node.agent_features
    }


def in_turn(addresses: Sequence[str], held: int) -> list[str]:
    """Return in which order a node calls from its addresses, of which `held` have a floating one: the newest first.

    Which of them the cloud took for which floating one is not known; providers take the first that is free.
    """
    first = max(0, min(held, len(addresses)) - 1)
    return [*addresses[first:], *addresses[:first]]


def _listed(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def changed(before: Mapping[str, object], after: Mapping[str, object], provider: str) -> bool:
    """Tell whether options of a provider, which is installed, say other addresses than before."""
    option = getattr(plugins.installed().find(provider), "translated_to", None)
    return option is not None and before.get(option) != after.get(option)
