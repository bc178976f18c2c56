"""A user's device: WireGuard as distributed, with a file. Nothing of ours runs in it."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host

INTERFACE = "wg0"
# One thread for each wireguard-go: dozens of them share a few cores here. The path is wg-quick's own fallback.
ENVIRONMENT = {"GOMAXPROCS": "1", "WG_QUICK_USERSPACE_IMPLEMENTATION": "wireguard-go"}
_AT_ONCE = 4


def write_file(host: Host, text: str, interface: str = INTERFACE) -> None:
    """Put a WireGuard file where the user would put it."""
    path = host.directory / "wireguard" / f"{interface}.conf"
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def up(host: Host, interface: str = INTERFACE) -> None:
    """Bring the tunnel up as the user would: `wg-quick up wg0`."""
    settings = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
    host.run("env", *settings, "wg-quick", "up", interface)


def down(host: Host, interface: str = INTERFACE) -> None:
    """Take the tunnel down."""
    host.run("wg-quick", "down", interface)


def connect(
    files: Sequence[tuple[Host, str]],
    target: str,
    connected: Callable[[], None] = lambda: None,
    *,
    timeout_s: float = 30,
) -> None:
    """Bring many clients up and see that each reaches `target` inside the tunnel; `connected` is called for each."""

    def one(entry: tuple[Host, str]) -> None:
        host, text = entry
        write_file(host, text)
        up(host)
        host.favour("wireguard-go")
        wait_reply(host, target, timeout_s=timeout_s)
        connected()

    with ThreadPoolExecutor(min(_AT_ONCE, (os.cpu_count() or 1) * 2)) as pool:
        list(pool.map(one, files))


def wait_reply(host: Host, target: str, *, timeout_s: float) -> None:
    """Wait until `target` answers a ping from the host."""
    seconds = str(max(1, round(timeout_s)))
    if not host.succeeds("ping", "-n", "-q", "-c", "1", "-w", seconds, "-i", "0.2", target):
        raise LabError(f"{host.name} gets no reply from {target} within {seconds} s; see `wg show` in it")
