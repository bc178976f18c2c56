"""An nftables table of one interface that drops what peers send and get faster than they may. Decides nothing.

Each limit is a bucket of bytes that fills at its speed; what it does not hold is dropped, and TCP sends slower.
It counts packets as they are in the tunnel, of both families. The kernel gives a bucket room for one second more than
its `burst`, so who was silent gets that much at once.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from wgfleet.agent.kernel import nft_tables, peer_maps
from wgfleet.agent.kernel.commands import KernelError, run
from wgfleet.protocol.ids import InterfaceName

_PREFIX = "wgfleetspeed_"
DOWN, UP = "down_", "up_"
_BURST = 1 << 16  # bytes: the largest that a card or WireGuard puts together of packets
_BURST_S = 0.05
_WHAT = {"bytes": 1, "kbytes": 1 << 10, "mbytes": 1 << 20}


@dataclass(frozen=True, slots=True)
class TableSpeed:
    """The limits of a peer in bits per second, 0: none. `word`: its own part of names, `networks`: its addresses."""

    word: str
    networks: tuple[str, ...]
    download: int
    upload: int

    def limits(self) -> list[tuple[str, int]]:
        """Return the prefix of each limit, and its speed."""
        return [(prefix, speed) for prefix, speed in ((DOWN, self.download), (UP, self.upload)) if speed]


@dataclass(frozen=True, slots=True)
class SpeedContents:
    """What is in a table: bytes per second of each limit by name, limits by map and element, and how many rules."""

    limits: Mapping[str, int]
    elements: Mapping[tuple[str, str], str]
    rules: int


def table_of(name: InterfaceName) -> str:
    """Name the table."""
    return f"{_PREFIX}{nft_tables.word_of(name)}"


def contents(speeds: Iterable[TableSpeed]) -> SpeedContents:
    """Return what is to be in a table."""
    limits: dict[str, int] = {}
    elements: dict[tuple[str, str], str] = {}
    for each in speeds:
        for prefix, speed in each.limits():
            limits[f"{prefix}{each.word}"] = speed // 8
            elements |= dict.fromkeys(peer_maps.places(each.networks, prefix), f"{prefix}{each.word}")
    return SpeedContents(limits, elements, len(_rules(InterfaceName("any"))))


def rules(name: InterfaceName, speeds: Collection[TableSpeed]) -> str:
    """Render the table."""
    wanted = contents(speeds)
    lines = [f"\tlimit {limit} {{ {_rate(speed)} }}\n" for limit, speed in wanted.limits.items()]
    of_map: dict[str, list[str]] = {}
    for (where, element), limit in wanted.elements.items():
        of_map.setdefault(where, []).append(f'{element} : "{limit}"')
    lines += [peer_maps.maps("limit", of_map, prefix) for prefix in (DOWN, UP)]
    for hook in ("postrouting", "prerouting"):
        lines.append(f"\tchain {hook} {{\n\t\ttype filter hook {hook} priority mangle; policy accept;\n")
        lines += [f"\t\t{rule}\n" for at, rule in _rules(name) if at == hook]
        lines.append("\t}\n")
    return f"table inet {table_of(name)} {{\n{''.join(lines)}}}\n"


def _rules(name: InterfaceName) -> list[tuple[str, str]]:
    """Return the rules, each with its chain."""
    return [
        (hook, f'{link} "{name}" limit name {found} drop')
        for hook, link, side, prefix in (
            ("postrouting", "oifname", "daddr", DOWN),
            ("prerouting", "iifname", "saddr", UP),
        )
        for found in peer_maps.lookups(side, prefix)
    ]


def _rate(speed: int) -> str:
    return f"rate over {speed} bytes/second burst {_BURST + int(speed * _BURST_S)} bytes"


async def replace(name: InterfaceName, speeds: Collection[TableSpeed]) -> None:
    """Put a table with these limits in the place of the one that is there, in one transaction."""
    await nft_tables.replace(table_of(name), rules(name, speeds))


async def remove(name: InterfaceName) -> None:
    """Remove the table; its absence is no error."""
    await nft_tables.remove(table_of(name))


async def change(name: InterfaceName, removed: Iterable[TableSpeed], added: Iterable[TableSpeed]) -> None:
    """Take limits away and add others, in one transaction: nobody is without one in between."""
    table, lines = f"inet {table_of(name)}", []
    for each in removed:
        for prefix, _ in each.limits():
            lines += [
                f"delete element {table} {where} {{ {element} }}"
                for where, element in peer_maps.places(each.networks, prefix)
            ]
            lines.append(f"delete limit {table} {prefix}{each.word}")
    for each in added:
        for prefix, speed in each.limits():
            lines.append(f"add limit {table} {prefix}{each.word} {{ {_rate(speed // 8)} }}")
            lines += [
                f'add element {table} {where} {{ {element} : "{prefix}{each.word}" }}'
                for where, element in peer_maps.places(each.networks, prefix)
            ]
    if lines:
        await run("nft", "-f", "-", stdin="\n".join((*lines, "")).encode())


async def is_there(name: InterfaceName) -> bool:
    """Whether there is a table, of whatever is in it."""
    return table_of(name) in await nft_tables.names()


async def observe(name: InterfaceName) -> SpeedContents | None:
    """Read the table; None: there is none."""
    try:
        text = await run("nft", "--json", "list", "table", "inet", table_of(name))
    except KernelError:
        if await is_there(name):
            raise
        return None
    limits: dict[str, int] = {}
    elements: dict[tuple[str, str], str] = {}
    count = 0
    for each in msgspec.json.decode(text)["nftables"]:
        if "limit" in each:
            limits[each["limit"]["name"]] = each["limit"]["rate"] * _WHAT[each["limit"]["rate_unit"]]
        elif "map" in each:
            where = each["map"]["name"]
            elements |= {(where, peer_maps.element(element)): limit for element, limit in each["map"].get("elem", ())}
        count += "rule" in each
    return SpeedContents(limits, elements, count)
