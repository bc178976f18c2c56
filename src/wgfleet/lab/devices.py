"""Devices of users that differ from stock.py's: apps that never learn endpoints, and the helper for Linux."""

import io
import tarfile
from collections.abc import Sequence

from wgfleet.lab import nameserver, stock
from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host
from wgfleet.protocol.addresses import split_endpoint

# What the bundle's timer does.
_EVERY_SECOND = 'while sleep 1; do "$0" "$1" || :; done'
_HELPER = "wgfleet-reresolve"
_MOBILE = """
table {ip} mobile {{
  chain out {{
    type filter hook output priority raw
    oifname "eth0" udp dport {port} notrack {ip} daddr set {address}
  }}
}}
"""


def make_mobile(host: Host) -> None:
    """Have a connected device send to the address that its file names, no matter who calls it.

    This models the Android and iOS apps, whose WireGuard takes handshakes from anywhere and still sends to where it was
    told to. wireguard-go as distributed always learns, so a rule rewrites the destination of what it sends. It must
    not be NAT: conntrack would rewrite the answers too, and leaves alone what belongs to a flow that it knows.
    """
    endpoint = host.run("wg", "show", stock.INTERFACE, "endpoints").split()[1]
    host.run("nft", "-f", "-", stdin=mobile_rules(endpoint))


def mobile_rules(endpoint: str) -> str:
    """Return the rules for a device that sends to an endpoint (pure)."""
    address, port = split_endpoint(endpoint)
    return _MOBILE.format(ip="ip6" if ":" in address else "ip", port=port, address=address)


def name_in_hosts_file(host: Host, addresses: Sequence[str], first: int) -> None:
    """Have the endpoint's name mean `addresses` on a device, beginning with another one for each `first`."""
    turn = first % len(addresses)
    with (host.directory / "hosts").open("a", encoding="ascii") as file:
        file.writelines(f"{address} {nameserver.ENDPOINT}\n" for address in (*addresses[turn:], *addresses[:turn]))


def start_helper(host: Host, bundle: bytes) -> None:
    """Unpack the script of a peer's bundle (tar, gzip) and run it once a second; stock.py has put the file in place."""
    with tarfile.open(fileobj=io.BytesIO(bundle), mode="r:gz") as archive:
        member = archive.extractfile(f"{stock.INTERFACE}/{_HELPER}")
        if member is None:
            raise LabError(f"the bundle of {host.name} has no {_HELPER}")
        script = host.directory / _HELPER
        script.write_bytes(member.read())
    script.chmod(0o755)
    host.start(["sh", "-c", _EVERY_SECOND, str(script), stock.INTERFACE], "helper")
