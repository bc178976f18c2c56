"""Routers of the lab: BIRD in the router, and in each node BIRD, FRR or exabgp, with a session between each pair.

Sessions are over IPv4 and IPv6, each for its own addresses. The nodes' daemons are set up as docs/floating.md says.
What a node announces is what it has on loopback; the router leads it there, and tells the other nodes.
"""

import shutil
import signal
from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from wgfleet.lab import bird, exabgp, frr
from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host
from wgfleet.lab.node_daemons import NodeDaemon, values
from wgfleet.lab.topology import NODE_SEGMENT, OTHER_NODE_SEGMENT
from wgfleet.lab.waiting import wait_for
from wgfleet.protocol.quotes import quoted

ROUTER_AS = 64512  # the nodes have the numbers after it
DAEMONS: Mapping[str, NodeDaemon] = {each.name: each for each in (bird.NODE, frr.NODE, exabgp.NODE)}
DEFAULT = bird.NODE.name
_START_S = 30.0


def check_machine(daemon: str = DEFAULT) -> None:
    """Raise `LabError` if there is no such daemon in the lab, or if it or the router's BIRD is missing."""
    if daemon not in DAEMONS:
        raise LabError(f"there is no routing daemon {quoted(daemon)} in the lab; there are {', '.join(DAEMONS)}")
    for each in (DAEMONS[DEFAULT], DAEMONS[daemon]):
        if not all(shutil.which(program) for program in each.programs):
            raise LabError(
                f"the lab needs {each.name} for addresses that routers lead to nodes; install it: "
                f"apt-get install {each.package}"
            )


def start_all(router: Host, nodes: Sequence[Host], daemon: str = DEFAULT) -> None:
    """Set up and start BIRD in the router and a daemon in all nodes, and wait until the sessions are up."""
    numbers = {node.name: ROUTER_AS + at for at, node in enumerate(nodes, 1)}
    found = {}
    for node in nodes:
        gateway = next(
            each.gateway for each in (NODE_SEGMENT, OTHER_NODE_SEGMENT) if ip_address(node.address) in each.network
        )
        found[node.name] = values(node, numbers[node.name], gateway, ROUTER_AS)
        DAEMONS[daemon].set_up(node, found[node.name])
    bird.ROUTER.set_up(router, bird.router_values(NODE_SEGMENT.gateway, ROUTER_AS, found))
    for host in (router, *nodes):
        start(host)
        favour(host)
    wait_for(
        lambda: established(router) == 2 * len(nodes),
        lambda: f"BIRD has {established(router)} of {2 * len(nodes)} sessions: {bird.ask(router, 'show', 'protocols')}",
        within_s=_START_S,
    )


def daemon_of(host: Host) -> NodeDaemon | None:
    """Return the daemon that a host is set up for."""
    return next((each for each in DAEMONS.values() if each.is_set_up(host)), None)


def start(host: Host) -> None:
    """Start the daemon of a host that is set up for one and does not run it."""
    if (daemon := daemon_of(host)) is not None:
        daemon.start(host)


def favour(host: Host) -> None:
    """Have the daemon of a host come before panel and agents."""
    if (daemon := daemon_of(host)) is not None:
        for program in daemon.programs:
            host.favour(program)


def kill(host: Host) -> None:
    """End the daemon of a host as a fault would."""
    stop(host, signal.SIGKILL)


def stop(host: Host, number: signal.Signals) -> None:
    """Send a signal to all that the daemon of a host runs."""
    daemon = daemon_of(host)
    found = [] if daemon is None else [host.signal(number, program) for program in daemon.processes]
    if not any(found):
        raise LabError(f"no routing daemon runs in {host.name}")


def established(router: Host) -> int:
    """Return how many of the router's sessions are up."""
    return bird.ask(router, "show", "protocols").count("Established")


def routes(router: Host) -> str:
    """Return what the router knows of the nodes' addresses."""
    return bird.ask(router, "show", "route")
