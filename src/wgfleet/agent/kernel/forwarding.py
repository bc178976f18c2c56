"""Forwarding of the machine, which masquerading needs: turned on, never off, since others may need it as well."""

from collections.abc import Collection, Iterable
from pathlib import Path

import structlog

from wgfleet.agent.kernel import links
from wgfleet.agent.kernel.commands import KernelError

_SYSCTL = Path("/proc/sys/net")
_IPV6_LINKS = _SYSCTL / "ipv6/conf"
_FORWARDING = {4: _SYSCTL / "ipv4/ip_forward", 6: _IPV6_LINKS / "all/forwarding"}
_PICKS_UP = _SYSCTL / "netfilter/nf_conntrack_tcp_loose"
_NOT_LINKS = {"all", "default", "lo"}
_log = structlog.get_logger()


def is_possible(family: int) -> bool:
    """Whether the kernel has this IP version (4 or 6) at all; with `ipv6.disable=1` it has no IPv6."""
    return _FORWARDING[family].exists()


def is_on(families: Iterable[int]) -> bool:
    """Whether packets of all these IP versions are forwarded."""
    return all(_FORWARDING[family].read_text().strip() != "0" for family in families)


def picks_flows_up() -> bool:
    """Whether conntrack takes TCP in the middle of a connection for a new one; otherwise that is invalid to it."""
    try:
        return _PICKS_UP.read_text().strip() != "0"
    except OSError:  # conntrack is loaded with the first rule that needs it, and does then
        return True


async def turn_on(families: Iterable[int]) -> None:
    """Have packets of these IP versions forwarded."""
    for family in families:
        path = _FORWARDING[family]
        if path.read_text().strip() != "0":
            continue
        try:
            if family == 6:  # noqa: PLR2004 - IPv6
                _keep_router_advertisements(await links.marked())
            path.write_text("1\n")
        except OSError as error:
            raise KernelError(f"forwarding cannot be turned on ({path}): {error.strerror}") from None


def _keep_router_advertisements(ours: Collection[str]) -> None:
    """Have all links but `ours` go on accepting router advertisements: the machine's default route may come from them.

    A kernel that forwards ignores them where `accept_ra` is 1, and removes the default routes that it has from them;
    2 means "also while forwarding" (Documentation/networking/ip-sysctl.rst). Every link that accepts them now gets
    it, not only those with such a route: after a boot none may have arrived yet. It stays when masquerading ends, as
    forwarding does.
    """
    kept = []
    for link in sorted(_IPV6_LINKS.iterdir()):
        path = link / "accept_ra"
        if link.name in _NOT_LINKS or link.name in ours or path.read_text().strip() != "1":
            continue
        path.write_text("2\n")
        kept.append(link.name)
    if kept:
        _log.info("router_advertisements.kept", links=kept)
