"""The host names of agents, endpoint groups and the panel: which there are, and the addresses last found for them.

A name is looked up where it is set, and again every few minutes. One that is not found keeps the addresses it had.
"""

import contextlib
from collections.abc import Collection, Iterable, Mapping

from wgfleet.panel import clock
from wgfleet.panel.domain.fields import is_address, parse_host
from wgfleet.panel.domain.host_names import Lookup
from wgfleet.panel.services import audit, tunnel_networks
from wgfleet.panel.store import Tx
from wgfleet.panel.store import host_names as host_name_rows
from wgfleet.panel.store.tables import HostName
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.reasons import Reason


def in_use(tx: Tx, panel: Mapping[str, str] = tunnel_networks.NOTHING) -> set[str]:
    """Return all names that have to stay outside of the tunnel; `panel`: the panel's own, as `Panel.hosts` has them."""
    return set(tunnel_networks.named_hosts(tx, panel))


def names(hosts: Iterable[str | None]) -> set[str]:
    """Return those of the hosts that are names, in canonical form; what is neither is refused elsewhere."""
    found = set()
    for host in hosts:
        with contextlib.suppress(FieldError):
            if host is not None and not is_address(parsed := parse_host(host, "host")):
                found.add(parsed)
    return found


def last_found(tx: Tx) -> dict[str, list[str]]:
    """Return the addresses that each name was last found to have."""
    return {name: row.addresses for name, row in host_name_rows.everything(tx).items()}


def record(tx: Tx, found: Mapping[str, Lookup]) -> None:
    """Write down what lookups found, where that is news, and audit what has moved into the tunnel."""
    if not found:
        return
    rows = host_name_rows.by_names(tx, found)
    tunnels = tunnel_networks.Tunnels(tx)
    for name, lookup in found.items():
        row = rows.get(name)
        if row is None:
            row = HostName(name=name, addresses=[], found_at=None, error=None, inside=None)
            host_name_rows.add(tx, row)
        if lookup.addresses and list(lookup.addresses) != row.addresses:
            row.addresses, row.found_at = list(lookup.addresses), clock.now()
        error = lookup.error or None
        if row.error != error:
            row.error = error
        inside = next(filter(None, map(tunnels.around, row.addresses)), None)
        if row.inside != inside:
            row.inside = inside
            if inside is not None:
                audit.record(tx, audit.PANEL, "name_in_tunnel", "host_name", name, inside=inside)
    tx.flush()


def news(tx: Tx, found: Mapping[str, Lookup]) -> bool:
    """Tell whether `record` may have anything to write, so that names which stay as they are cost no write."""
    rows = host_name_rows.by_names(tx, found)
    return any(
        (row := rows.get(name)) is None
        or row.error != (lookup.error or None)
        or row.inside is not None
        or (lookup.addresses and list(lookup.addresses) != row.addresses)
        for name, lookup in found.items()
    )


def in_order(tx: Tx, used: Collection[str], turn: int) -> list[str]:
    """Return names in the order to look them up: those that were found last time before those that may hang.

    Of the latter each `turn` begins with another, so that none is for ever behind those that hang.
    """
    rows = host_name_rows.by_names(tx, used)
    failed = sorted(name for name in used if name in rows and rows[name].error is not None)
    first = turn % len(failed) if failed else 0
    return [*sorted({*used} - {*failed}), *failed[first:], *failed[:first]]


def unused(tx: Tx, used: Collection[str]) -> set[str]:
    """Return the names of which something is kept though nothing has them any more."""
    return host_name_rows.everything(tx).keys() - set(used)


def forget(tx: Tx, names: Collection[str]) -> None:
    """Forget names."""
    host_name_rows.forget(tx, names)


def leads_inside(tx: Tx, name: str) -> bool:
    """Tell whether an address of a name is in a pool or a network behind a peer, as far as it is known."""
    row = host_name_rows.get(tx, name)
    return row is not None and row.inside is not None


def warnings(tx: Tx, hosts: Collection[str]) -> dict[str, str]:
    """Return what is wrong with those hosts that are names, in words, by name."""
    rows = host_name_rows.by_names(tx, [host for host in hosts if not is_address(host)])
    return {name: text for name, row in rows.items() if (text := _warning(row)) is not None}


def _warning(row: HostName) -> str | None:
    if row.inside is not None:
        return Reason("{row} leads into the tunnel: {inside}; nodes cannot reach it", row=row.name, inside=row.inside)
    if row.error is None:
        return None
    if row.addresses:
        return Reason(
            "{row} is not found just now ({error}); networks are checked against the addresses that it had: "
            "{addresses}",
            row=row.name,
            error=row.error,
            addresses=", ".join(row.addresses),
        )
    return Reason(
        "{row} is not found ({error}), so nobody can check whether a pool or a network of a peer contains "
        "its address, which would cut it off; it is looked up again every few minutes",
        row=row.name,
        error=row.error,
    )
