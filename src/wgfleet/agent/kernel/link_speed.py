"""The speed of a link, through ethtool's ioctl: /sys may show another network namespace's links."""

import array
import fcntl
import socket
import struct

_SIOCETHTOOL = 0x8946  # linux/sockios.h
_GET_SETTINGS, _GET_DRIVER = 0x1, 0x3  # linux/ethtool.h
_SETTINGS = struct.Struct("12xH14xH14x")  # struct ethtool_cmd: lower and upper half of the speed, in Mbit/s
_DRIVER = struct.Struct("4x32s160x")  # struct ethtool_drvinfo: the driver's name
_UNKNOWN = {0, 0xFFFF, 0xFFFFFFFF}
_MADE_UP = {"veth", "tun", "dummy"}  # they report a speed that means nothing


def speed_bps(link: str) -> float | None:
    """Return a link's speed in bits/s; None if it is unknown."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        try:
            (driver,) = _DRIVER.unpack(_ask(any_socket, link, _GET_DRIVER, _DRIVER.size))
            low, high = _SETTINGS.unpack(_ask(any_socket, link, _GET_SETTINGS, _SETTINGS.size))
        except OSError:
            return None
    speed = low | high << 16
    return None if speed in _UNKNOWN or driver.rstrip(b"\0").decode() in _MADE_UP else speed * 1e6


def _ask(any_socket: socket.socket, link: str, command: int, size: int) -> bytes:
    answer = array.array("B", struct.pack("I", command).ljust(size, b"\0"))
    address, _ = answer.buffer_info()
    fcntl.ioctl(any_socket, _SIOCETHTOOL, struct.pack("16sP16x", link.encode(), address))
    return answer.tobytes()
