"""A router that advertises itself on a link, twice a second: `python -m tests.agent.router LINK` (RFC 4861, 4.2)."""

import contextlib
import socket
import struct
import sys
import time

LIFETIME_S = 1800
_ALL_NODES = "ff02::1"
_ADVERTISEMENT = 134


def main(link: str) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sender:
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(link))
        advertisement = struct.pack("!BBHBBHII", _ADVERTISEMENT, 0, 0, 64, 0, LIFETIME_S, 0, 0)
        while True:
            with contextlib.suppress(OSError):  # no link-local address yet
                sender.sendto(advertisement, (_ALL_NODES, 0, 0, socket.if_nametoindex(link)))
            time.sleep(0.5)


if __name__ == "__main__":
    main(sys.argv[1])
