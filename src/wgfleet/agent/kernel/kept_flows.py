"""Ways to the nodes whose NAT carries connections of users who are here now. Decides nothing.

`backbone_rules` marks the packets of these connections; rules and routing tables here take those with the mark of a
node to that node, over the VXLAN device of the backbone.
"""

import errno
import socket
from collections.abc import Collection, Mapping

from wgfleet.agent.kernel import links, peer_routes, rtnetlink
from wgfleet.agent.kernel.backbone_rules import BackboneNames, map_of
from wgfleet.agent.kernel.commands import KernelError, run
from wgfleet.agent.kernel.nftables import KEPT
from wgfleet.agent.kernel.rtnetlink import Request
from wgfleet.protocol.backbone import address

_EVERYWHERE = {socket.AF_INET: "0.0.0.0/0", socket.AF_INET6: "::/0"}


async def change(
    names: BackboneNames, gone: Mapping[str, int], new: Mapping[str, int], *, first_empty: bool = False
) -> None:
    """Have connections of users, by address, no more go on through nodes, by number, and others do.

    `first_empty`: what is in the kernel is not known.
    """
    words = [f"flush map inet {names.firewall} {map_of(ip)}" for ip in ("ip", "ip6") if first_empty]
    for verb, wanted in (("delete", gone), ("add", new)):
        for ip in ("ip", "ip6"):
            mine = {each: number for each, number in wanted.items() if (":" in each) is (ip == "ip6")}
            if mine:
                elements = ", ".join(f"{each} : {KEPT + number:#x}" for each, number in mine.items())
                words.append(f"{verb} element inet {names.firewall} {map_of(ip)} {{ {elements} }}")
    if words:
        await run("nft", "-f", "-", stdin="\n".join([*words, ""]).encode())


async def lead(names: BackboneNames, numbers: Collection[int]) -> None:
    """Have packets with the marks of these nodes go there."""
    index = links.index_of(names.tunnel)
    if index is None:
        raise KernelError(f"link {names.tunnel} is gone")
    requests = []
    for number in numbers:
        for family, everywhere in _EVERYWHERE.items():
            requests += [
                peer_routes.request(everywhere, address(number), names.kept_table(number), index),
                Request(
                    rtnetlink.NEW_RULE,
                    rtnetlink.CREATE | rtnetlink.EXCLUSIVE | rtnetlink.ACK,
                    peer_routes.rule(family, names.of, names.kept_table(number), mark=KEPT + number),
                ),
            ]
    for reply in await rtnetlink.exchange(requests):
        if reply.error not in {0, errno.EEXIST, *peer_routes.NO_IPV6}:
            raise KernelError(f"ways to nodes that carry connections: {rtnetlink.reason(reply)}")


async def lead_no_more(names: BackboneNames, numbers: Collection[int]) -> None:
    """Have no packets go to these nodes by their marks; what is not there is no error."""
    requests = []
    for number in numbers:
        for family, everywhere in _EVERYWHERE.items():
            table = names.kept_table(number)
            requests += [
                Request(rtnetlink.DELETE_RULE, rtnetlink.ACK, peer_routes.rule(family, names.of, table)),
                peer_routes.request(everywhere, None, table, 0),
            ]
    await rtnetlink.exchange(requests)
