"""Commands of the `wg` tool: many peers a process, configuration by stdin, never `setconf` on a live interface."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from wgfleet.agent.kernel.commands import KernelError, output_of, run
from wgfleet.agent.kernel.device_formats import DumpForm, Reading, read
from wgfleet.protocol.desired import DesiredPeer
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PrivateKey, PublicKey

_NO_PSK = "A" * 43 + "="  # 32 zero bytes: what clears a preshared key (wg(8))
_TAKEN = "Address already in use"  # strerror(EADDRINUSE), as wg prints it
_KEYS_PER_CALL = 5_000  # up to 152 bytes each in the argument list, which may hold 2 MB


@asynccontextmanager
async def reading(name: InterfaceName) -> AsyncIterator[Reading]:
    """Read the whole device."""
    try:
        async with output_of("wg", "show", name, "dump") as chunks:
            yield await read(DumpForm(), chunks)
    except ValueError as error:
        raise KernelError(f"`wg show {name} dump`: {error}") from None


async def configure(
    name: InterfaceName,
    *,
    device: tuple[PrivateKey, int] | None,
    peers: Mapping[PublicKey, DesiredPeer],
    call: Mapping[PublicKey, str] | None = None,
    at_once: bool = True,
) -> None:
    """Set the device's key and port if given, and create or overwrite `peers`; all others stay as they are.

    `wg addconf` replaces a peer's allowed IPs and leaves its endpoint and session alone. `call`: endpoints to start a
    handshake with at once, which turning on the persistent keepalive does, or else with the first packet.
    """
    text = []
    if device is not None:
        text.append(f"[Interface]\nPrivateKey = {device[0]}\nListenPort = {device[1]}\n")
    for key, peer in peers.items():
        text.append(f"[Peer]\nPublicKey = {key}\nPresharedKey = {peer.preshared_key or _NO_PSK}\n")
        if peer.allowed_ips:  # the section alone empties them; `wg` refuses an empty value
            text.append(f"AllowedIPs = {', '.join(peer.allowed_ips)}\n")
        if call is not None:
            text.append(f"Endpoint = {call[key]}\nPersistentKeepalive = {1 if at_once else 'off'}\n")
        else:
            text.append(f"PersistentKeepalive = {peer.persistent_keepalive or 'off'}\n")
    await _add(name, text, device)


async def configure_links(
    name: InterfaceName, device: tuple[PrivateKey, int], peers: Mapping[PublicKey, tuple[str, str]]
) -> None:
    """Set the device's key and port, and peers with an allowed IP and an endpoint; all others stay as they are."""
    text = [f"[Interface]\nPrivateKey = {device[0]}\nListenPort = {device[1]}\n"]
    for key, (allowed_ip, endpoint) in peers.items():
        text.append(f"[Peer]\nPublicKey = {key}\nAllowedIPs = {allowed_ip}\nEndpoint = {endpoint}\n")
    await _add(name, text, device)


async def _add(name: InterfaceName, text: Sequence[str], device: tuple[PrivateKey, int] | None) -> None:
    port = None if device is None else device[1]
    try:
        await run("wg", "addconf", name, "/dev/stdin", stdin="".join(text).encode())
    except KernelError as error:
        if device is not None and len(text) > 1 and str(error).endswith("failed: "):
            # wireguard-go hangs up after a port that it refuses, and `wg`, with many peers still to send, then dies of
            # SIGPIPE without a word. The section of the device alone gets an answer.
            await _add(name, text[:1], device)
        raise KernelError(refusal(name, str(error), port)) from None


def refusal(name: InterfaceName, said: str, port: int | None) -> str:
    """Return why `wg` refused to configure an interface, with the way out where it is a port that somebody has."""
    if port is None or _TAKEN not in said:
        return said
    return (
        f"UDP port {port} of this machine is in use, so {name} cannot listen there: `ss -lunp 'sport = :{port}'` shows "
        "by which program; end that, or give the config another listen_port"
    )


async def set_keepalives(name: InterfaceName, keepalives: Mapping[PublicKey, int]) -> None:
    """Set the persistent keepalive (s, 0: off) of existing peers."""
    for batch in _batches(list(keepalives)):
        command = ["wg", "set", name]
        for key in batch:
            command += ["peer", key, "persistent-keepalive", str(keepalives[key])]
        await run(*command)


async def send_keepalives(name: InterfaceName, keys: Iterable[PublicKey]) -> None:
    """Send a keepalive to each existing peer now, by turning its persistent keepalive off and on; it stays on."""
    for batch in _batches(list(keys)):
        command = ["wg", "set", name]
        for key in batch:
            command += ["peer", key, "persistent-keepalive", "off", "peer", key, "persistent-keepalive", "1"]
        await run(*command)


async def remove_peers(name: InterfaceName, keys: Iterable[PublicKey]) -> None:
    """Remove peers; absent ones are no error."""
    for batch in _batches(list(keys)):
        command = ["wg", "set", name]
        for key in batch:
            command += ["peer", key, "remove"]
        await run(*command)


def _batches(keys: Sequence[PublicKey]) -> Iterable[Sequence[PublicKey]]:
    return (keys[start : start + _KEYS_PER_CALL] for start in range(0, len(keys), _KEYS_PER_CALL))
