"""The topology of the lab: who is where. Pure: names and addresses, no IO.

    root namespace of the machine (curl, browser, `wgfleet` itself)
        wgl-root 198.18.0.254
           |
    +------+--------------------------+   +--------------------------+   +--------------------------+
    | segment `panel`  198.18.0.0/24  |   | `nodes` 198.18.16.0/20   |   | `clients` 198.19.0.0/16  |
    |   panel 198.18.0.2              |   |   node-1 198.18.16.11    |   |   client-1 198.19.0.11   |
    |   witness-1 198.18.0.11         |   |   node-2 198.18.16.12    |   |   client-2 198.19.0.12   |
    +---------------+-----------------+   +------------+-------------+   +------------+-------------+
                    |  .0.1                            | .16.1                        | .0.1
               +----+----------------------------------+------------------------------+----+
               |  namespace `router`: one bridge per segment, forwarding between them      |
               +---------------------------------------------------------------------------+

Every host hangs on its segment's bridge by a cable of its own: a veth pair, `eth0` in the host and `v-HOST` where the
bridge is. Taking `v-HOST` down is pulling the cable. All addresses are of RFC 2544's benchmarking block 198.18.0.0/15,
which no real network routes.

Split, every second node is in a segment `others` 198.18.32.0/20, and floating addresses are of 198.18.48.0/24, which no
segment has: the router learns from the nodes' routing daemons where they are. Every host then has an IPv6 address as
well, such as 2001:2::198.18.16.11 (RFC 5180's block for benchmarks), and there are floating ones of 2001:2:0:48::/64.

With NAT, clients are at home: five of them on the bridge of a router of their own, which alone has an address of the
segment `clients`.

    client-1 192.168.1.11 ... client-5 192.168.1.15         client-6 192.168.2.11 ...
               |  .1.1                                                 |  .2.1
             nat-1 198.19.0.11                                       nat-2 198.19.0.12
"""

import ipaddress
import math
import re
from dataclasses import dataclass

from wgfleet.lab.errors import LabError
from wgfleet.protocol.quotes import quoted

PREFIX = "wgl-"
ROOT_LINK = "wgl-root"
ROOT_ADDRESS = "198.18.0.254"
RANGE = "198.18.0.0/15"
ROUTER = "router"
_FIRST_HOST = 10  # hosts are numbered from 1, so node-1 is .11; what lies below is for the router and later services
MAX_NODES = 250
MAX_CLIENTS = 1000
BEHIND_ONE_NAT = 5
FLOATING_ADDRESSES = tuple(f"198.18.16.{i}" for i in range(4, 11))  # of the segment `nodes`, below the nodes
ROUTED = ipaddress.IPv4Network("198.18.48.0/24")  # of no segment: routers lead these addresses to nodes
ROUTED_ADDRESSES = tuple(str(ROUTED[i]) for i in range(4, 11))
ROUTED6 = ipaddress.IPv6Network("2001:2:0:48::/64")
ROUTED6_ADDRESSES = tuple(str(ROUTED6[i]) for i in range(4, 11))
ALL_FLOATING_ADDRESSES = (*FLOATING_ADDRESSES, *ROUTED_ADDRESSES, *ROUTED6_ADDRESSES)
_V6 = ipaddress.IPv6Address("2001:2::")
V6_LENGTH = 96  # before the bits of the IPv4 address


def v6(address: str) -> str:
    """Return the IPv6 address of who has an IPv4 address in a split lab."""
    return str(_V6 + int(ipaddress.IPv4Address(address)))


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of network: one bridge in a router, which has the first address."""

    name: str
    network: ipaddress.IPv4Network

    @property
    def bridge(self) -> str:
        return f"br-{self.name}"

    @property
    def gateway(self) -> str:
        return str(self.network[1])

    def interface_address(self, address: str) -> str:
        """Give an address the segment's prefix length."""
        return f"{address}/{self.network.prefixlen}"

    def interface_address6(self, address: str) -> str:
        """Give the IPv6 address beside an IPv4 one the segment's prefix length."""
        return f"{v6(address)}/{V6_LENGTH + self.network.prefixlen}"


PANEL_SEGMENT = Segment("panel", ipaddress.IPv4Network("198.18.0.0/24"))
NODE_SEGMENT = Segment("nodes", ipaddress.IPv4Network("198.18.16.0/20"))
OTHER_NODE_SEGMENT = Segment("others", ipaddress.IPv4Network("198.18.32.0/20"))
CLIENT_SEGMENT = Segment("clients", ipaddress.IPv4Network("198.19.0.0/16"))
SEGMENTS = (PANEL_SEGMENT, NODE_SEGMENT, OTHER_NODE_SEGMENT, CLIENT_SEGMENT)


@dataclass(frozen=True, slots=True)
class HostSpec:
    """A host before it exists. The router has no segment and no address of its own.

    `router` is the host that has the segment's bridge; `bridges` are the segments whose bridges are in this one.
    """

    name: str
    segment: Segment | None
    address: str
    router: str = ROUTER
    bridges: tuple[Segment, ...] = ()

    @property
    def cable(self) -> str:
        """The router's end of the host's cable."""
        return f"v-{self.name}"

    @property
    def is_nat(self) -> bool:
        """Whether it hides the addresses of its network."""
        return self.segment is not None and bool(self.bridges)


def places(
    nodes: int, clients: int, *, nat: bool = False, split: bool = False, witness: bool = False
) -> list[HostSpec]:
    """Return every host of a lab, each after its router; the panel is the second.

    `nat`: clients are behind some. `split`: every second node is in a segment of its own kind. `witness`: there is one.
    """
    if not 0 <= nodes <= MAX_NODES:
        raise LabError(f"a lab has 0 to {MAX_NODES} nodes, not {nodes}")
    if not 0 <= clients <= MAX_CLIENTS:
        raise LabError(f"a lab has 0 to {MAX_CLIENTS} clients, not {clients}")
    return [
        HostSpec(ROUTER, None, "", bridges=SEGMENTS),
        HostSpec("panel", PANEL_SEGMENT, str(PANEL_SEGMENT.network[2])),
        *([_numbered("witness", PANEL_SEGMENT, 1)] if witness else []),
        *(_numbered("node", _segment_of_node(i, split=split), i) for i in range(1, nodes + 1)),
        *(_behind_nat(clients) if nat else (_numbered("client", CLIENT_SEGMENT, i) for i in range(1, clients + 1))),
    ]


def _segment_of_node(number: int, *, split: bool) -> Segment:
    return OTHER_NODE_SEGMENT if split and number % 2 == 0 else NODE_SEGMENT


def _numbered(kind: str, segment: Segment, number: int) -> HostSpec:
    return HostSpec(f"{kind}-{number}", segment, str(segment.network[_FIRST_HOST + number]))


def _behind_nat(clients: int) -> list[HostSpec]:
    found = []
    for home in range(1, math.ceil(clients / BEHIND_ONE_NAT) + 1):
        box = _numbered("nat", CLIENT_SEGMENT, home)
        segment = Segment("home", ipaddress.IPv4Network(f"192.168.{home}.0/24"))
        found.append(HostSpec(box.name, box.segment, box.address, bridges=(segment,)))
        first = (home - 1) * BEHIND_ONE_NAT
        for i in range(1, min(BEHIND_ONE_NAT, clients - first) + 1):
            address = str(segment.network[_FIRST_HOST + i])
            found.append(HostSpec(f"client-{first + i}", segment, address, router=box.name))
    return found


def check_name(name: str) -> str:
    """Check a lab's name: it becomes part of namespace names and of a path."""
    if not re.fullmatch(r"[a-z0-9]{1,16}", name):
        raise LabError(f"a lab's name is 1 to 16 of a-z and 0-9, not {quoted(name)}")
    return name


def namespace(lab: str, host: str) -> str:
    """Name the network namespace of a host, as `ip netns` shows it."""
    return f"{PREFIX}{lab}-{host}"
