"""Masquerading and forwarding of one interface: its own nftables table, removed with the interface."""

import ipaddress
import shutil

from wgfleet.agent.kernel import forwarding
from wgfleet.agent.kernel.commands import run
from wgfleet.protocol.ids import InterfaceName


def table_of(name: InterfaceName) -> str:
    """Name the table; characters that nftables refuses in a name are written as their number."""
    return "wgfleet_" + "".join(c if c.isalnum() else f"_{ord(c):02x}" for c in name)


def rules(name: InterfaceName, addresses: tuple[str, ...]) -> str:
    """Render the table: packets from the addresses' networks that leave by another link get that link's address."""
    networks = sorted({ipaddress.ip_interface(address).network for address in addresses}, key=str)
    lines = [
        f'\t\t{"ip" if network.version == 4 else "ip6"} saddr {network} oifname != "{name}" masquerade'  # noqa: PLR2004 - IPv4
        for network in networks
    ]
    head = f"table inet {table_of(name)} {{\n\tchain postrouting {{\n"
    return head + "\n".join(["\t\ttype nat hook postrouting priority srcnat; policy accept;", *lines]) + "\n\t}\n}\n"


def _possible(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out IPv6 where the kernel has none."""
    return tuple(each for each in addresses if ":" not in each or forwarding.is_possible(6))


def _families(addresses: tuple[str, ...]) -> set[int]:
    return {ipaddress.ip_interface(address).version for address in addresses}


async def observe(name: InterfaceName, addresses: tuple[str, ...]) -> bool | None:
    """Read back: True if the rules are exactly those wanted, False if there is no table, None if it is another one."""
    if shutil.which("nft") is None:
        return False
    addresses = _possible(addresses)
    if not any(
        line.endswith(f" {table_of(name)}") for line in (await run("nft", "list", "tables")).decode().splitlines()
    ):
        return False
    have = (await run("nft", "list", "table", "inet", table_of(name))).decode()
    if _words(have) != _words(rules(name, addresses)):
        return None
    return True if forwarding.is_on(_families(addresses)) else None


def _words(text: str) -> list[str]:
    # A host network is printed without its prefix length.
    return [word.removesuffix("/32").removesuffix("/128") for word in text.split()]


async def set_masquerade(name: InterfaceName, addresses: tuple[str, ...], *, on: bool) -> None:
    """Replace the table in one transaction, or remove it. Forwarding is turned on, never off: others may need it."""
    if not on and shutil.which("nft") is None:
        return
    table, addresses = table_of(name), _possible(addresses)
    # Declaring the table first makes its deletion valid when there is none.
    text = f"table inet {table}\ndelete table inet {table}\n"
    if on:
        text += rules(name, addresses)
        await forwarding.turn_on(_families(addresses))
    await run("nft", "-f", "-", stdin=text.encode())
