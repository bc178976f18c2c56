"""The config's public face in the lab: its endpoint group, its floating addresses, and who holds them.

What holds an address is read from the nodes themselves (`ip addr`), and not from what the panel says.
"""

import json
from collections.abc import Sequence

from wgfleet.lab import fleet, nameserver
from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.state import Lab
from wgfleet.lab.topology import ALL_FLOATING_ADDRESSES, FLOATING_ADDRESSES, ROUTED6_ADDRESSES, ROUTED_ADDRESSES
from wgfleet.lab.waiting import wait_for

ON_LINK, ROUTED, DNS_PROVIDER = "l2", "bgp", "rfc2136"
ADDRESSES = {ON_LINK: FLOATING_ADDRESSES, ROUTED: ROUTED_ADDRESSES}  # by the provider that brings them to nodes

_HELD_S = 120.0
_PUBLISHED_S = 60.0


def set_endpoint_group(lab: Lab, panel: PanelClient, **values: object) -> None:
    """Give the config an endpoint group, or change some values of it."""
    known = lab.result.get("endpoint_group", {})
    body = {"domain": nameserver.ENDPOINT, "port": fleet.LISTEN_PORT, **known, **values}
    panel.call("POST", f"/api/configs/{fleet.CONFIG}/endpoint-group", body)
    lab.result["endpoint_group"] = body


def publish(lab: Lab, panel: PanelClient) -> None:
    """Have the panel publish the config's name, and wait until it lists every node."""
    set_endpoint_group(lab, panel, dns=_dns(lab))
    _wait_listed({host.address for host in fleet.hosts(lab, "node")})


def float_addresses(lab: Lab, panel: PanelClient, count: int, provider: str = ON_LINK, *, ipv6: bool = False) -> None:
    """Give the config that many floating addresses, and wait until each is held by one node and the name lists them."""
    known = ROUTED6_ADDRESSES if ipv6 else ADDRESSES[provider]
    if count > len(known):
        raise LabError(f"a lab has up to {len(known)} floating addresses, not {count}")
    addresses = list(known[:count])
    set_endpoint_group(lab, panel, floating_addresses=addresses, address_provider=provider, dns=_dns(lab))
    wait_held_once(lab)
    _wait_listed(set(addresses))


def wait_held_once(lab: Lab) -> dict[str, str]:
    """Wait until each floating address has exactly one holder, and return the name of that node."""

    def found() -> dict[str, str] | None:
        now = holders(lab)
        return {address: names[0] for address, names in now.items()} if not _doubts(now) else None

    return wait_for(found, lambda: f"still {'; '.join(not_held_once(lab))}", within_s=_HELD_S)


def _dns(lab: Lab) -> dict[str, object]:
    return {"provider": DNS_PROVIDER, "zone": nameserver.ZONE, "options": lab.result["dns"]}


def _wait_listed(addresses: set[str]) -> None:
    kinds = {":" in each for each in addresses}

    def listed() -> set[str] | None:
        answers = [nameserver.ask(nameserver.ENDPOINT, ipv6=ipv6) for ipv6 in kinds]
        return None if None in answers else {each for answer in answers if answer for each in answer.addresses}

    wait_for(
        lambda: listed() == addresses,
        lambda: f"{nameserver.ENDPOINT} lists {sorted(listed() or ())}, and not {sorted(addresses)} (see GET /api/dns)",
        within_s=_PUBLISHED_S,
    )


def floating(lab: Lab) -> list[str]:
    """Return the config's floating addresses."""
    group = lab.result.get("endpoint_group", {})
    return list(group.get("floating_addresses", []))


def holders(lab: Lab) -> dict[str, list[str]]:
    """Return for each floating address the names of the nodes that have it on an interface."""
    held = {host.name: _addresses(host) for host in fleet.hosts(lab, "node")} if floating(lab) else {}
    return {address: [name for name, mine in held.items() if address in mine] for address in floating(lab)}


def not_held_once(lab: Lab) -> list[str]:
    """Return a sentence for each floating address that does not have exactly one holder."""
    return _doubts(holders(lab))


def _doubts(held: dict[str, list[str]]) -> list[str]:
    return [
        f"{address} is held by {' and '.join(names) or 'nobody'}" for address, names in held.items() if len(names) != 1
    ]


def _addresses(host: Host) -> Sequence[str]:
    links = json.loads(host.run("ip", "-j", "addr", "show"))
    found = [info["local"] for link in links for info in link.get("addr_info", [])]
    return [address for address in found if address in ALL_FLOATING_ADDRESSES]
