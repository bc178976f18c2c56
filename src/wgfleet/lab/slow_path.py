"""The program that makes the lab's router slow: `python -m wgfleet.lab.slow_path DELAY_S JITTER_S`, in the router.

What the router gets from a segment goes through a tun device, stays here for `DELAY_S` and up to `JITTER_S` more, and
is then routed on. Packets that are late may overtake each other. Until it is ended with SIGTERM, which takes the device
away and with it the detour. Kernels without netem are why it exists.
"""

import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import sys
import time
from pathlib import Path

from wgfleet.lab import processes
from wgfleet.lab.topology import SEGMENTS

LINK = "slow"
TABLE = "77"
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
_IFREQ = struct.Struct("16sH22x")
_LONGEST = 65536
_AT_ONCE = 64
_FOR_EVER_S = 3600.0


def main() -> None:
    delay_s, jitter_s = (float(word) for word in sys.argv[1:])
    device = _open()
    chance = random.Random()  # noqa: S311 - how late, not a secret
    waiting: list[tuple[float, int, bytes]] = []
    numbers = itertools.count()
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            os.write(device, heapq.heappop(waiting)[2])
        left_s = waiting[0][0] - now if waiting else _FOR_EVER_S
        select.select([device], [], [], left_s)
        now = time.monotonic()
        for _ in range(_AT_ONCE):
            try:
                packet = os.read(device, _LONGEST)
            except BlockingIOError:
                break
            heapq.heappush(waiting, (now + delay_s + chance.random() * jitter_s, next(numbers), packet))


def _open() -> int:
    """Make the device, and have everything that comes from a segment go through it."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, _IFREQ.pack(LINK.encode(), _IFF_TUN | _IFF_NO_PI))
    # What comes out of the device comes from where another link leads, and goes back to the link that it came from.
    for name in ("all/rp_filter", f"{LINK}/rp_filter", "all/send_redirects", "default/send_redirects"):
        Path(f"/proc/sys/net/ipv4/conf/{name}").write_text("0", encoding="ascii")
    for segment in SEGMENTS:
        Path(f"/proc/sys/net/ipv4/conf/{segment.bridge}/send_redirects").write_text("0", encoding="ascii")
    processes.ip_batch(
        [
            f"link set {LINK} txqueuelen 10000 up",
            *(f"rule add iif {segment.bridge} lookup {TABLE}" for segment in SEGMENTS),
            f"route add default dev {LINK} table {TABLE}",
        ]
    )
    return device


if __name__ == "__main__":
    main()
