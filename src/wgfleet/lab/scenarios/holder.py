"""`holder`: the holder of floating addresses is broken in many ways, and no address may ever have two holders.

The panel, agents and WireGuard are real ones. Every 20 ms the kernels of all nodes are read, and the router asks on the
link who has each address. One after the other, the node that has the first address suffers each of `BLOWS` for
`BLOW_S`, and is watched until all is as it was. For each blow:

`answered_twice`: requests that two nodes answered; promised: none, whatever happens. `held_twice_ms`: for how long, at
most, two kernels had the address; promised: never, but for a node that packets do not get to or come from: it has
`give_up_after_s` to find that out, and nobody hears it meanwhile. `left_s`: from the blow until the kernel of the node
had the address no more, `taken_s` until another node answered for it (`-`: it stayed); `unanswered_s`: the longest time
without an answer, and `worst_gap_ms` the clients' longest silence. At the end of each every address has one holder.
"""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from wgfleet.lab import face, fleet, pings
from wgfleet.lab.address_sampler import AddressSampler
from wgfleet.lab.holdings import broken, summary
from wgfleet.lab.hosts import Host
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import failover, standings
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab
from wgfleet.lab.topology import ROUTER

BLOW_S = 12.0  # a node in use whose agent is dead loses its addresses within 10 s
AFTER_S = 3.0
BACK_S = 120.0
_TABLE = "wgfleetlab"
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Blow:
    """Something that happens to a node: `strike` it, and `repair` it.

    `unseen`: nobody gets to the node or nobody hears it, so that it may have an address that another has too.
    """

    strike: Callable[[Lab, Host], object]
    repair: Callable[[Lab, Host], object]
    unseen: bool = False


def _stop(lab: Lab, node: Host, *words: str) -> None:
    del lab
    node.signal(signal.SIGSTOP, *words)


def _go_on(lab: Lab, node: Host, *words: str) -> None:
    del lab
    node.signal(signal.SIGCONT, *words)


def _stop_agent(lab: Lab, node: Host) -> None:
    _stop(lab, node, "wgfleet.agent")


def _stop_agent_and_restart_panel(lab: Lab, node: Host) -> None:
    _stop_agent(lab, node)
    time.sleep(2.0)  # it is deciding
    fleet.restart_panel(lab, failover.SHORT_TRIAL)


def _kill_all(lab: Lab, node: Host) -> None:
    """Kill all that runs on the node, and leave its kernel, which answers for its addresses."""
    del lab
    node.kill_all()


def _filter(host: Host, link: str) -> None:
    """Drop all that comes in on a link, ARP included."""
    rules = (
        f"table netdev {_TABLE} {{ chain in {{ type filter hook ingress device {link} priority 0; policy drop; }}; }}"
    )
    host.run("nft", "-f", "-", stdin=rules)


def _unfilter(host: Host) -> None:
    host.run("nft", "delete", "table", "netdev", _TABLE)


def _cut_from_panel(lab: Lab, node: Host) -> None:
    panel = lab.host("panel").address
    rules = f"ip saddr {panel} ip daddr {node.address} drop; ip saddr {node.address} ip daddr {panel} drop;"
    lab.host(ROUTER).run(
        "nft",
        "-f",
        "-",
        stdin=f"table ip {_TABLE} {{ chain pass {{ type filter hook forward priority 0; {rules} }}; }}",
    )


BLOWS = {
    "agent_hangs": Blow(_stop_agent, lambda lab, node: _go_on(lab, node, "wgfleet.agent")),
    "node_hangs": Blow(_stop, _go_on),
    "agent_killed": Blow(lambda _, node: fleet.kill_agent(node), lambda _, node: fleet.start_agent(node)),
    "all_killed": Blow(_kill_all, lambda _, node: fleet.start_agent(node)),
    "cable_cut": Blow(lambda lab, node: lab.cut(node.name), lambda lab, node: lab.reconnect(node.name), unseen=True),
    "hears_nobody": Blow(lambda _, node: _filter(node, "eth0"), lambda _, node: _unfilter(node), unseen=True),
    "is_not_heard": Blow(
        lambda lab, node: _filter(lab.host(ROUTER), lab.place(node.name).cable),
        lambda lab, _: _unfilter(lab.host(ROUTER)),
        unseen=True,
    ),
    "cut_from_panel": Blow(
        _cut_from_panel, lambda lab, _: lab.host(ROUTER).run("nft", "delete", "table", "ip", _TABLE)
    ),
    "panel_restarts": Blow(_stop_agent_and_restart_panel, lambda lab, node: _go_on(lab, node, "wgfleet.agent")),
}


def run(lab: Lab, options: ScenarioOptions, progress: Progress) -> Figures:
    """Deal each blow, `options.rounds` times."""
    fleet.restart_panel(lab, failover.SHORT_TRIAL)
    addresses = face.floating(lab)
    found: dict[str, Figures] = {}
    with fleet.client(lab) as panel, AddressSampler(lab.host(ROUTER), fleet.hosts(lab, "node"), addresses) as sampler:
        fleet.wait_connected(panel, lab.nodes)
        for number in range(options.rounds):
            for name, blow in BLOWS.items():
                standings.wait_all_serving(lab, panel, BACK_S)
                standings.wait_operations(panel)
                fleet.favour_nodes(lab)
                with progress.step(f"{name}, round {number + 1} of {options.rounds}"):
                    found[name] = _worse(found.get(name), deal(lab, blow, sampler, options.rate))
    wrong = [f"{name}: {what}" for name, each in found.items() for what in broken(each, unseen=BLOWS[name].unseen)]
    samples = len(sampler.samples)
    return {"ok": not wrong, "rounds": options.rounds, "samples": samples, **found, "broken": wrong}


def deal(lab: Lab, blow: Blow, sampler: AddressSampler, rate: float) -> Figures:
    """Break the node that holds the first address, repair it, and watch until every address has one holder again."""
    address = sampler.addresses[0]
    node = lab.host(face.wait_held_once(lab)[address])
    running = pings.start(fleet.hosts(lab, "client"), fleet.NODE_TUNNEL_ADDRESS, rate=rate)
    begun = time.time()
    blow.strike(lab, node)
    try:
        time.sleep(max(0.0, begun + BLOW_S - time.time()))
    finally:
        blow.repair(lab, node)
    repaired = time.time()
    with fleet.client(lab) as panel:
        standings.wait_all_serving(lab, panel, BACK_S)
    time.sleep(AFTER_S)
    return figures(lab, sampler, node.name, begun, repaired, pings.measure(running))


def figures(
    lab: Lab, sampler: AddressSampler, node: str, begun: float, repaired: float, counts: Sequence[pings.Count]
) -> Figures:
    """Return what was seen since a node was broken; by now all shall be as it was."""
    wrong = face.not_held_once(lab)
    had = [each for each in sampler.addresses if node in sampler.since(begun, each)[0].held]
    addresses = [*had, *(each for each in sampler.addresses if each not in had)]
    return {
        **summary([sampler.since(begun, each) for each in addresses], node, begun, repaired),
        "worst_gap_ms": max(count.worst_gap_ms for count in counts),
        "held_wrong": wrong,
    }


def _worse(before: Figures | None, now: Figures) -> Figures:
    """Return of two rounds the larger of each figure."""
    if before is None:
        return now
    return {
        name: [*before[name], *value]
        if isinstance(value, list)
        else max((each for each in (before[name], value) if each is not None), default=None)
        for name, value in now.items()
    }
