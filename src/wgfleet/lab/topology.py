"""Who is where in the lab. Pure: names and addresses, no IO.

    root namespace of the machine (curl, browser, `wgfleet` itself)
        wgl-root 198.18.0.254
           |
    +------+--------------------------+   +--------------------------+   +--------------------------+
    | segment `panel`  198.18.0.0/24  |   | `nodes` 198.18.16.0/20   |   | `clients` 198.19.0.0/16  |
    |   panel 198.18.0.2              |   |   node-1 198.18.16.11    |   |   client-1 198.19.0.11   |
    |                                 |   |   node-2 198.18.16.12    |   |   client-2 198.19.0.12   |
    +---------------+-----------------+   +------------+-------------+   +------------+-------------+
                    |  .0.1                            | .16.1                        | .0.1
               +----+----------------------------------+------------------------------+----+
               |  namespace `router`: one bridge per segment, forwarding between them      |
               +---------------------------------------------------------------------------+

Every host hangs on its segment's bridge by a cable of its own: a veth pair, `eth0` in the host and `v-HOST` in the
router. Taking `v-HOST` down is pulling the cable. All addresses are of RFC 2544's benchmarking block 198.18.0.0/15,
which no real network routes.
"""

import ipaddress
import re
from dataclasses import dataclass

from wgfleet.lab.errors import LabError

PREFIX = "wgl-"
ROOT_LINK = "wgl-root"
ROOT_ADDRESS = "198.18.0.254"
RANGE = "198.18.0.0/15"
ROUTER = "router"
_FIRST_HOST = 10  # hosts are numbered from 1, so node-1 is .11; what lies below is for the router and later services
MAX_NODES = 250
MAX_CLIENTS = 1000


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of network: one bridge in the router, which has the first address."""

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


PANEL_SEGMENT = Segment("panel", ipaddress.IPv4Network("198.18.0.0/24"))
NODE_SEGMENT = Segment("nodes", ipaddress.IPv4Network("198.18.16.0/20"))
CLIENT_SEGMENT = Segment("clients", ipaddress.IPv4Network("198.19.0.0/16"))
SEGMENTS = (PANEL_SEGMENT, NODE_SEGMENT, CLIENT_SEGMENT)


@dataclass(frozen=True, slots=True)
class Place:
    """A host before it exists. The router has no segment and no address of its own."""

    name: str
    segment: Segment | None
    address: str

    @property
    def cable(self) -> str:
        """The router's end of the host's cable."""
        return f"v-{self.name}"


def places(nodes: int, clients: int) -> list[Place]:
    """Return every host of a lab, the router first, the panel second."""
    if not 0 <= nodes <= MAX_NODES:
        raise LabError(f"a lab has 0 to {MAX_NODES} nodes, not {nodes}")
    if not 0 <= clients <= MAX_CLIENTS:
        raise LabError(f"a lab has 0 to {MAX_CLIENTS} clients, not {clients}")
    return [
        Place(ROUTER, None, ""),
        Place("panel", PANEL_SEGMENT, str(PANEL_SEGMENT.network[2])),
        *(_numbered("node", NODE_SEGMENT, i) for i in range(1, nodes + 1)),
        *(_numbered("client", CLIENT_SEGMENT, i) for i in range(1, clients + 1)),
    ]


def _numbered(kind: str, segment: Segment, number: int) -> Place:
    return Place(f"{kind}-{number}", segment, str(segment.network[_FIRST_HOST + number]))


def check_name(name: str) -> str:
    """Check a lab's name: it becomes part of namespace names and of a path."""
    if not re.fullmatch(r"[a-z0-9]{1,16}", name):
        raise LabError(f"a lab's name is 1 to 16 of a-z and 0-9, not {name!r}")
    return name


def namespace(lab: str, host: str) -> str:
    """Name the network namespace of a host, as `ip netns` shows it."""
    return f"{PREFIX}{lab}-{host}"
