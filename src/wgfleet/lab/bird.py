"""BIRD in the lab: one in the router, one in each node, with a session between each pair, watched by BFD.

The nodes' one is set up as docs/floating.md says. What a node announces is what it has on loopback; the router leads it
there, and tells the other nodes.
"""

import shutil
import signal
from collections.abc import Sequence
from ipaddress import ip_address

from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host
from wgfleet.lab.topology import NODE_SEGMENT, OTHER_NODE_SEGMENT, ROUTED
from wgfleet.lab.waiting import wait_for

PROGRAM = "bird"
SOCKET = "/run/bird/bird.ctl"
ROUTER_AS = 64512  # the nodes have the numbers after it
_START_S = 30.0
_BFD = "min rx interval 150 ms; min tx interval 150 ms; multiplier 4;"
_TIMES = "hold time 9; connect delay time 1; connect retry time 1; error wait time 1, 2;"

_ROUTER = """
log stderr all;
router id {address};
protocol device {{ }}
protocol kernel {{ ipv4 {{ import none; export where source = RTS_BGP; }}; }}
protocol bfd {{ interface "*" {{ {bfd} }}; }}
template bgp node {{
    local as {router_as};
    bfd on; {times}
    ipv4 {{ import where net ~ [ {routed}{{32,32}} ]; export where source = RTS_BGP; }};
}}
{sessions}
"""
_SESSION = "protocol bgp {name} from node {{ neighbor {address} as {number}; }}"
_NODE = """
log stderr all;
router id {address};
protocol device {{ }}
protocol direct {{ ipv4; interface "lo"; }}
protocol bfd {{ interface "eth0" {{ {bfd} }}; }}
protocol bgp upstream {{
    local {address} as {number};
    neighbor {gateway} as {router_as};
    bfd on; {times}
    ipv4 {{
        import where net ~ [ {routed}{{32,32}} ];
        export where source = RTS_DEVICE && net ~ [ {routed}{{32,32}} ];
    }};
}}
"""


def check_machine() -> None:
    """Raise `LabError` if BIRD is missing."""
    if shutil.which(PROGRAM) is None:
        raise LabError("the lab needs BIRD for addresses that routers lead to nodes; install it: apt-get install bird2")


def start_all(router: Host, nodes: Sequence[Host]) -> None:
    """Set up and start BIRD in the router and in all nodes, and wait until the sessions are up."""
    numbers = {node.name: ROUTER_AS + at for at, node in enumerate(nodes, 1)}
    known = {"bfd": _BFD, "times": _TIMES, "router_as": ROUTER_AS, "routed": ROUTED}
    sessions = "\n".join(
        _SESSION.format(name=node.name.replace("-", "_"), address=node.address, number=numbers[node.name])
        for node in nodes
    )
    _write(router, _ROUTER.format(address=NODE_SEGMENT.gateway, sessions=sessions, **known))
    for node in nodes:
        gateway = next(
            each.gateway for each in (NODE_SEGMENT, OTHER_NODE_SEGMENT) if ip_address(node.address) in each.network
        )
        _write(node, _NODE.format(address=node.address, number=numbers[node.name], gateway=gateway, **known))
    for host in (router, *nodes):
        start(host)
        host.favour(PROGRAM)
    wait_for(
        lambda: established(router) == len(nodes),
        lambda: f"BIRD has {established(router)} of {len(nodes)} sessions: {_ask(router, 'show', 'protocols')}",
        within_s=_START_S,
    )


def start(host: Host) -> None:
    """Start BIRD in a host that is set up for it and does not run it."""
    file = host.directory / "bird.conf"
    if file.exists() and not host.find(PROGRAM, str(file)):
        host.run("mkdir", "-p", "/run/bird")
        host.start([PROGRAM, "-f", "-c", str(file), "-s", SOCKET], PROGRAM)


def kill(host: Host) -> None:
    """End BIRD as a fault would."""
    if not host.signal(signal.SIGKILL, PROGRAM, str(host.directory / "bird.conf")):
        raise LabError(f"BIRD does not run in {host.name}")


def established(host: Host) -> int:
    """Return how many sessions are up."""
    return _ask(host, "show", "protocols").count("Established")


def _ask(host: Host, *words: str) -> str:
    return host.run("birdc", "-s", SOCKET, *words, check=False)


def _write(host: Host, settings: str) -> None:
    (host.directory / "bird.conf").write_text(settings, encoding="ascii")
