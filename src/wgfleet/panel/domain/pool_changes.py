"""Changes of a config's pools: which stay, which become larger or smaller, which are new, and which go. Pure."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from wgfleet.panel.domain.addressing import contains
from wgfleet.panel.errors import Conflict
from wgfleet.protocol.reasons import Reason


@dataclass(frozen=True, slots=True)
class PoolChange:
    """What becomes of pools. `resized`: (before, after). `served`: in which nodes get another address, and that."""

    added: tuple[str, ...] = ()
    resized: tuple[tuple[str, str], ...] = ()
    removed: tuple[str, ...] = ()
    served: tuple[tuple[str, str | None], ...] = ()

    def __bool__(self) -> bool:
        """Tell whether anything changes."""
        return bool(self.added or self.resized or self.removed or self.served)


def change(before: Sequence[str], wanted: Sequence[str]) -> PoolChange:
    """Compare; raise `Conflict` where a pool cannot become what is wanted."""
    added, resized = [], []
    kept: set[str] = set()
    for i, network in enumerate(wanted):
        of = [each for each in before if contains(network, each) or contains(each, network)]
        if not of:
            added.append(network)
            continue
        if len(of) > 1:
            raise Conflict(
                Reason(
                    "{network} contains {of}: pools cannot be made one; add a network beside them",
                    network=network,
                    of=" and ".join(of),
                ),
                field=f"pools[{i}]",
            )
        if of[0] in kept:
            raise Conflict(Reason("{of} cannot become two pools", of=of[0]), field=f"pools[{i}]")
        kept.add(of[0])
        if network != of[0]:
            _check_begins_alike(of[0], network, f"pools[{i}]")
            resized.append((of[0], network))
    return PoolChange(tuple(added), tuple(resized), tuple(each for each in before if each not in kept))


def _check_begins_alike(before: str, after: str, field: str) -> None:
    """Raise unless the first address stays, from which addresses are counted."""
    one, other = ipaddress.ip_network(before), ipaddress.ip_network(after)
    if one.network_address != other.network_address:
        raise Conflict(
            Reason(
                "{after} begins at another address than {before}, from which those of the nodes and peers are counted: "
                "choose a network that begins at {network_address}, or add one beside it",
                after=after,
                before=before,
                network_address=one.network_address,
            ),
            field=field,
        )
