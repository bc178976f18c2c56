"""Destinations of plugins: what a DNS or address provider may connect to, by the panel's settings.

A server or URL among a plugin's options is chosen by people who may not be allowed to reach the panel's own machine or
network through it. What is not on the internet is refused unless the settings allow it: when options are saved, as far
as they say it, and again for each connection, on the address that a name has then. The second look is an audit hook
of the interpreter (PEP 578), so it holds for every library that a plugin may use, and for redirects.
"""

import errno
import ipaddress
import re
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog

from wgfleet.doors.folding import Folding
from wgfleet.panel import clock
from wgfleet.panel.errors import Invalid, PermanentError
from wgfleet.protocol.reasons import Reason

log = structlog.get_logger()

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
DNS_SERVERS, ADDRESS_SERVERS = "dns.allowed_servers", "floating.allowed_servers"
NO_FILES = "names a file of the panel's machine; give the content"
# On the internet by its number, but each machine of Azure reaches its own (metadata, agent) there.
_NOT_OTHERS = frozenset({ipaddress.ip_address("168.63.129.16")})
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_SERVER = re.compile(r"server|host|url|uri|endpoint|address", re.IGNORECASE)
_FILE = re.compile(r"(?:^|_)(?:file|filename|path)(?:$|_)", re.IGNORECASE)
_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # of which neither a resolver nor a library makes anything
_RESOLVERS = Path("/etc/resolv.conf")
_DNS_PORT = 53
_refusals: Folding[str] = Folding("various addresses")
_refusals_lock = threading.Lock()


class DestinationRefused(PermanentError):
    """A plugin is not let through to an address; the text does not say which, as a name may stand for one inside."""

    def __init__(self, setting: str) -> None:
        super().__init__(_refused(setting))


@dataclass(frozen=True, slots=True)
class Destinations:
    """What plugins may connect to beside the internet: `networks`, and the addresses that `names` have.

    `setting`: the panel's setting that allows more.
    """

    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    names: frozenset[str] = frozenset()
    setting: str = DNS_SERVERS

    @classmethod
    def of(cls, entries: Iterable[str], setting: str = DNS_SERVERS) -> "Destinations":
        """Take networks, addresses and names of servers."""
        networks, names = [], set()
        for entry in entries:
            try:
                networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                names.add(entry.rstrip(".").lower())
        return cls(tuple(networks), frozenset(names), setting)

    def allows(self, address: Address) -> bool:
        """Tell whether plugins may connect to an address."""
        address = _embedded(address)
        if address.is_global and not address.is_multicast and address not in _NOT_OTHERS:
            return True
        if any(address in network for network in self.networks):
            return True
        return any(address in _resolved(name) for name in self.names)

    def check_options(self, options: Mapping[str, Any], field: str) -> None:
        """Raise `Invalid` for an option that names a server which is not allowed, or a file of the panel's machine."""
        for key, value in options.items():
            self._check_option(key, value, f"{field}.{key}")

    def _check_option(self, key: str, value: object, field: str) -> None:
        if isinstance(value, Mapping):
            self.check_options(value, field)
        elif isinstance(value, list | tuple):
            for number, item in enumerate(value):
                self._check_option(key, item, f"{field}[{number}]")
        elif isinstance(value, str):
            if _NO_TEXT.search(value):
                raise Invalid(Reason("must be Unicode text without NUL characters"), field=field)
            if value.startswith(("file:", "~/")) or _FILE.search(key):
                raise Invalid(NO_FILES, field=field)
            if (host := _host(key, value)) is not None and not self._may_be(host):
                raise Invalid(_refused(self.setting), field=field)

    def _may_be(self, host: str) -> bool:
        """Tell whether a host may be allowed: an address is, or is not; a name shows it when it is connected to."""
        if host in self.names:
            return True
        if host == "localhost" or host.endswith(".localhost"):
            return self.allows(ipaddress.ip_address("127.0.0.1"))
        try:
            return self.allows(ipaddress.ip_address(host))
        except ValueError:
            # `127.1` or `0x7f000001` are addresses to the system's resolver too (inet_aton(3)).
            try:
                return self.allows(ipaddress.ip_address(socket.inet_aton(host)))
            except OSError:
                return True

    @contextmanager
    def enforced(self) -> Iterator[None]:
        """Refuse connections of this thread, and of those that run in a copy of its context, to anything else.

        Raises `DestinationRefused` for whatever error the plugin makes of it.
        """
        limits = _Limits(self)
        token = _enforced.set(limits)
        try:
            yield
        except Exception:
            if limits.refused:
                raise DestinationRefused(self.setting) from None
            raise
        finally:
            _enforced.reset(token)


@dataclass(slots=True)
class _Limits:
    """What is enforced now. `refused`: something was."""

    allowed: Destinations
    refused: bool = False


_enforced: ContextVar[_Limits | None] = ContextVar("enforced", default=None)


def _refused(setting: str) -> str:
    return f"this server is not on the internet; an administrator can allow it: {setting} in the panel's settings"


def _host(key: str, value: str) -> str | None:
    """Return the host that an option names, in lower case; None if it names none."""
    try:
        if "://" in value:
            return (urlsplit(value).hostname or "").lower()
        if key.endswith("_id"):
            return None
        if _SERVER.search(key) and value.count(":") > 1 and "[" not in value:
            return value.lower()  # an IPv6 address as it is
        if _SERVER.search(key):
            return (urlsplit(f"//{value}").hostname or "").rstrip(".").lower()
    except ValueError:
        return ""
    return None


def _embedded(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, where it stands for one."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


def _resolved(name: str) -> set[Address]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found}


def _is_resolver(address: Address, port: int) -> bool:
    """Tell whether the machine itself asks this server for names; plugins ask it for the zone's primary."""
    try:
        lines = _RESOLVERS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    words = [line.split() for line in lines if line.startswith("nameserver")]
    return port == _DNS_PORT and str(address) in {parts[1].partition("%")[0] for parts in words if len(parts) > 1}


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not event.startswith("socket.") or event not in _CONNECTING:
        return
    limits = _enforced.get()
    if limits is None or len(arguments) < 2 or arguments[1] is None:  # noqa: PLR2004 - the socket, the address
        return
    target = arguments[1]
    token = _enforced.set(None)  # what this look itself does is not the plugin's
    try:
        address = ipaddress.ip_address(str(target[0]).partition("%")[0]) if isinstance(target, tuple) else None
        if address is not None and (limits.allowed.allows(address) or _is_resolver(address, int(target[1]))):
            return
        _tell(str(target[0] if isinstance(target, tuple) else "a local socket"))
    except ValueError:
        pass  # a name: who connects to one has not resolved it, so nobody knows what it stands for
    finally:
        _enforced.reset(token)
    limits.refused = True
    raise PermissionError(errno.EACCES, _refused(limits.allowed.setting))  # an OSError: libraries close the socket then


def _tell(address: str) -> None:
    """Log a refusal: the first for an address at once, the others of that minute as one count with a later one."""
    now = clock.monotonic()
    with _refusals_lock:
        over = _refusals.ended(now)
        told = _refusals.note(address, now)
    for earlier, more in over:
        log.warning("plugin.refused_again", address=earlier, count=more)
    if told is not None:
        log.warning("plugin.refused", address=told)


_CONNECTING = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
sys.addaudithook(_audit)
