"""An nftables table of one interface that drops what peers send and get beyond their quotas. Decides nothing.

A peer's addresses lead to its quota by a map, so that a packet meets one rule whatever the number of peers. The quota
counts packets of both directions and both families as they are in the tunnel, and drops the one that goes beyond it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from wgfleet.agent.kernel import nft_tables, peer_maps
from wgfleet.agent.kernel.commands import KernelError, run
from wgfleet.protocol.ids import InterfaceName

_PREFIX = "wgfleetquota_"


@dataclass(frozen=True, slots=True)
class TableQuota:
    """A quota by its number, the networks of its peer, and what it lets through since it was made, in bytes."""

    number: int
    networks: tuple[str, ...]
    limit: int


class CountedBytes(msgspec.Struct, frozen=True):
    """What a quota has counted, and what it lets through; `used` is never shown as more than that."""

    used: int
    limit: int

    @property
    def is_over(self) -> bool:
        """Whether it drops: what it counted by then is not known."""
        return self.used >= self.limit


def table_of(name: InterfaceName) -> str:
    """Name the table."""
    return f"{_PREFIX}{nft_tables.word_of(name)}"


def rules(name: InterfaceName, quotas: Collection[TableQuota]) -> str:
    """Render the table."""
    lines = [f"\tquota q_{each.number} {{ over {each.limit} bytes }}\n" for each in quotas]
    elements: dict[str, list[str]] = {}
    for each in quotas:
        for where, network in peer_maps.places(each.networks):
            elements.setdefault(where, []).append(f'{network} : "q_{each.number}"')
    lines.append(peer_maps.maps("quota", elements))
    for chain, hook, link, side in (
        ("sent", "postrouting", "oifname", "daddr"),
        ("got", "prerouting", "iifname", "saddr"),
    ):
        lines.append(f"\tchain {chain} {{\n\t\ttype filter hook {hook} priority mangle; policy accept;\n")
        lines += [f'\t\t{link} "{name}" quota name {found} drop\n' for found in peer_maps.lookups(side)]
        lines.append("\t}\n")
    return f"table inet {table_of(name)} {{\n{''.join(lines)}}}\n"


async def replace(name: InterfaceName, quotas: Collection[TableQuota]) -> None:
    """Put a table with these quotas in the place of the one that is there, in one transaction; all count from 0."""
    await nft_tables.replace(table_of(name), rules(name, quotas))


async def remove(name: InterfaceName) -> None:
    """Remove the table; its absence is no error."""
    await nft_tables.remove(table_of(name))


async def counted(name: InterfaceName) -> dict[int, CountedBytes] | None:
    """Return what each quota has counted; None: there is no table."""
    try:
        text = await run("nft", "--json", "list", "quotas", "table", "inet", table_of(name))
    except KernelError:
        if table_of(name) in await nft_tables.names():
            raise
        return None
    return {
        int(each["quota"]["name"].removeprefix("q_")): CountedBytes(each["quota"]["used"], each["quota"]["bytes"])
        for each in msgspec.json.decode(text)["nftables"]
        if "quota" in each
    }


async def change(
    name: InterfaceName,
    limits: Mapping[int, int],
    added: Iterable[TableQuota] = (),
    removed: Iterable[TableQuota] = (),
) -> None:
    """Give quotas other limits, which leaves what they counted, add some, and remove some, in one transaction."""
    table = f"inet {table_of(name)}"
    lines = [f"add quota {table} q_{number} {{ over {limit} bytes }}" for number, limit in limits.items()]
    for each in removed:
        lines += [
            f"delete element {table} {where} {{ {network} }}" for where, network in peer_maps.places(each.networks)
        ]
        lines.append(f"delete quota {table} q_{each.number}")
    for each in added:
        lines.append(f"add quota {table} q_{each.number} {{ over {each.limit} bytes }}")
        lines += [
            f'add element {table} {where} {{ {network} : "q_{each.number}" }}'
            for where, network in peer_maps.places(each.networks)
        ]
    if lines:
        await run("nft", "-f", "-", stdin="\n".join((*lines, "")).encode())
