"""The settings of an agent: what the command line may choose."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from wgfleet.agent.state.identity import DEFAULT_STATE_DIR

EVERYWHERE = "*"  # all addresses of the machine, of IPv4 and of IPv6


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """How to run. `port` None: the one of the enrollment. `interval_s`: least time between scans of an interface.

    `confirm_s`: the time in s within which the panel has to be heard after a change of addresses, routes or firewall,
    or it is taken back; 0: never. `down_after_days`: after so long without the panel the interfaces go down; 0: never.
    `witness`: without WireGuard and privileges, only to probe nodes.
    """

    state_dir: Path = DEFAULT_STATE_DIR
    listen: str = EVERYWHERE
    port: int | None = None
    interval_s: float = 1.0
    repair: bool = True
    confirm_s: float = 10.0
    down_after_days: float = 0.0
    witness: bool = False
    backend: Literal["auto", "kernel", "userspace"] = "auto"

    def to_json(self) -> str:
        """Serialize for another process of this program."""
        return msgspec.json.encode(self, enc_hook=str).decode()

    @classmethod
    def from_json(cls, text: str) -> "AgentSettings":
        """Read what `to_json` wrote."""
        return msgspec.json.decode(text, type=cls, dec_hook=lambda kind, value: kind(value))
