"""Tables of nftables that are ours: how one is named, listed, replaced and removed. Must not know what is in them."""

import shutil

from wgfleet.agent.kernel.commands import run
from wgfleet.protocol.ids import InterfaceName


def available() -> bool:
    """Whether the machine has nftables."""
    return shutil.which("nft") is not None


def word_of(name: InterfaceName) -> str:
    """Return an interface's name as a part of a table's; characters that nftables refuses there as their number."""
    return "".join(c if c.isalnum() else f"_{ord(c):02x}" for c in name)


async def names() -> list[str]:
    """Return the names of all tables of the machine."""
    return [line.split()[-1] for line in (await run("nft", "list", "tables")).decode().splitlines() if line.strip()]


async def replace(table: str, text: str) -> None:
    """Put a table, rendered as `text`, in the place of the one of that name, if there is one, in one transaction."""
    # Declaring the table first makes its deletion valid when there is none.
    await run("nft", "-f", "-", stdin=f"table inet {table}\ndelete table inet {table}\n{text}".encode())


async def remove(table: str) -> None:
    """Remove a table; its absence, or that of nftables, is no error."""
    if available():
        await replace(table, "")
