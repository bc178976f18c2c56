"""FRR's bgpd, the routing daemon of this machine, asked over its vty socket: its sessions, and what it announces.

Read only: a connection begins in a mode that knows `show` and cannot configure, and the agent never leaves it. FRR
announces an address because it is on the loopback link, and bgpd redistributes connected networks.
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.control_sockets import conversation, parts
from wgfleet.protocol.quotes import quoted

_MOST = 1024 * 1024  # bytes of an answer: half a kilobyte for each session
_END = b"\0\0\0"  # of an answer; one more byte says how it went
_DONE = 0
_NEIGHBORS = "show bgp neighbors json"
_SUMMARY = "show bgp summary json"
_FAMILIES = ("ipv4Unicast", "ipv6Unicast")


class Frr:
    """FRR, at its usual socket below `root`."""

    name = "FRR"
    see = "vtysh -c 'show bgp summary'"
    to_announce = "let bgpd redistribute what is connected to lo, and let its route maps pass it"

    def __init__(self, root: Path = Path("/")) -> None:
        self.socket = root / "run/frr/bgpd.vty"

    async def sessions(self) -> list[str]:
        """Return the neighbors with which a session is up; raise `KernelError` if bgpd does not answer."""
        (summary,) = await self._ask([_SUMMARY])
        return sorted(_established(summary))

    async def announced(self, addresses: Collection[str], sessions: Collection[str]) -> set[str]:
        """Return the addresses of which bgpd has told one of these neighbors as its own."""
        routes = await self._ask([_route(address) for address in addresses])
        return {address for address, route in zip(addresses, routes, strict=True) if _is_told(route, sessions)}

    async def unguarded(self, sessions: Collection[str]) -> set[str]:
        """Return those of these neighbors that no BFD watches."""
        (neighbors,) = await self._ask([_NEIGHBORS])
        watched = {name: (neighbors.get(name) or {}).get("peerBfdInfo") or {} for name in sessions}
        return {name for name, bfd in watched.items() if bfd.get("status") != "Up"}

    async def claimant(self, address: str) -> str | None:
        """Return which neighbor says that another machine has an address; None if none does."""
        summary, route = await self._ask([_SUMMARY, _route(address)])
        up = _established(summary)
        found = [str((path.get("peer") or {}).get("peerId")) for path in _paths(route) if not path.get("sourced")]
        return next((f"neighbor {peer}" for peer in found if peer in up), None)

    async def _ask(self, commands: Sequence[str]) -> list[dict[str, Any]]:
        answers = []
        for some in parts(commands):
            async with conversation(self.name, self.socket, _MOST) as (reader, writer):
                for command in some:
                    writer.write(f"{command}\0".encode())
                    said = (await reader.readuntil(_END))[: -len(_END)]
                    (code,) = await reader.readexactly(1)
                    answers.append(_read(command, said, code))
        return answers


def _read(command: str, said: bytes, code: int) -> dict[str, Any]:
    try:
        answer = json.loads(said or b"{}")
    except ValueError:
        answer = None
    if code != _DONE or not isinstance(answer, dict):
        text = said.decode(errors="replace").strip()
        raise KernelError(f"FRR does not understand {quoted(command)}: {text[:200]}")
    return answer


def _route(address: str) -> str:
    return f"show bgp ipv6 unicast {address}/128 json" if ":" in address else f"show bgp ipv4 unicast {address}/32 json"


def _established(summary: dict[str, Any]) -> set[str]:
    found = [(summary.get(family) or {}).get("peers") or {} for family in _FAMILIES]
    return {name for peers in found for name, peer in peers.items() if peer.get("state") == "Established"}


def _is_told(route: dict[str, Any], sessions: Collection[str]) -> bool:
    told = set(route.get("advertisedTo") or {}) & set(sessions)
    chosen = [path for path in _paths(route) if (path.get("bestpath") or {}).get("overall")]
    return bool(told) and any(path.get("sourced") for path in chosen)


def _paths(route: dict[str, Any]) -> list[dict[str, Any]]:
    return list(route.get("paths") or ())
