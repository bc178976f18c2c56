"""Asking the agent to take over a link that another program made on this machine, with all its sessions.

For a person on the machine. The agent does it when its panel has a config for that link with the same key.
"""

from msgspec import Struct

from wgfleet.agent import overview
from wgfleet.agent.kernel.machine import Machine, check_root
from wgfleet.agent.state.adoptions import Adoptions
from wgfleet.agent.state.identity import StateDirectory
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PublicKey, public_key_of


class AdoptableLink(Struct, frozen=True):
    """A link that can be taken over. `live`: tunnel addresses of peers that used it just now."""

    name: InterfaceName
    public_key: PublicKey
    listen_port: int
    peers: int
    live: tuple[str, ...]


async def candidate(state: StateDirectory, name: InterfaceName) -> AdoptableLink:
    """Look at a link; raise ValueError, saying why, if it cannot be taken over."""
    check_root()
    if state.read_agent().witness:
        raise ValueError("a witness has no interfaces; enroll the machine as a node")
    if name in overview.interfaces_of(state):
        raise ValueError(f"{name} is the agent's own; wgfleet agent status shows it")
    machine = Machine(overview.backend_of(name), state.root)
    if await machine.link(name) is None:
        raise ValueError(f"there is no link {name} on this machine; the agent makes it when its panel wants it")
    found = await machine.members(name)
    if found is None:
        raise ValueError(f"link {name} is no WireGuard interface")
    if found.private_key is None:
        raise ValueError(f"{name} has no private key, so no config can have the same")
    live = await overview.live_peers(machine, name)
    return AdoptableLink(name, public_key_of(found.private_key), found.listen_port, len(found.peers), live)


def ask(state: StateDirectory, name: InterfaceName, *, remove_others: bool) -> None:
    """Ask for it; raise OSError if that cannot be written."""
    Adoptions(state.adoptions).ask(name, remove_others=remove_others)
