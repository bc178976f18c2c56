"""Bad weather in a lab: packets that get lost or come late, and nodes that are starved of processors.

Loss is an nftables rule in each host, which drops a share of what arrives. Delay is slow_path.py in the router, which
then also carries what nodes send each other. A starved node is stopped again and again, as a virtual machine is whose
host gives it no processor.
"""

import contextlib
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wgfleet.lab import fleet, processes, slow_path
from wgfleet.lab.hosts import Host
from wgfleet.lab.state import Lab
from wgfleet.lab.topology import NODE_SEGMENT, ROOT_ADDRESS, ROUTER
from wgfleet.lab.waiting import wait_for

PAUSE_S = (0.02, 0.25)  # of a starved node, at a time
_WORST = 100.0
_RELAY = "wgfleet.lab.slow_path"
# What a person sends from the machine itself is no part of the network. Priority: before anything else may drop it.
_LOSSY = """
table inet weather
delete table inet weather
table inet weather {{
  chain arriving {{
    type filter hook prerouting priority -500;
    iifname "eth0" ip saddr != {machine} numgen random mod 1000 < {promille} drop
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Weather:
    """`loss`: percent of all packets that get lost, each way. `starve`: percent of the time that nodes are stopped.

    `delay_ms` is added to each round trip, and up to `jitter_ms` more; between hosts of one segment only among nodes.
    """

    loss: float = 0.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    starve: float = 0.0

    @property
    def slow(self) -> bool:
        """Whether packets come late."""
        return self.delay_ms > 0 or self.jitter_ms > 0


CALM = Weather()


@contextlib.contextmanager
def over(lab: Lab, weather: Weather) -> Iterator[None]:
    """Have that weather until the end of the block, and calm after it."""
    machines = [lab.host("panel"), *fleet.hosts(lab, "node"), *fleet.hosts(lab, "client")]
    try:
        if weather.slow:
            _slow_down(lab, weather)
        _lose(machines, weather.loss)
        with _starved(fleet.hosts(lab, "node"), weather.starve):
            yield
    finally:
        if weather.loss:
            _lose(machines, 0.0)
        if weather.slow:
            _hurry(lab)


def _lose(machines: Sequence[Host], percent: float) -> None:
    for host in machines:
        host.run("nft", "-f", "-", stdin=_LOSSY.format(machine=ROOT_ADDRESS, promille=round(percent * 10)))


def _slow_down(lab: Lab, weather: Weather) -> None:
    router = lab.host(ROUTER)
    one_way_s = [weather.delay_ms / 2000, weather.jitter_ms / 2000]
    router.start([sys.executable, "-P", "-m", _RELAY, *(f"{seconds:g}" for seconds in one_way_s)], "slow-path")
    wait_for(
        lambda: (
            router.succeeds("ip", "route", "show", "table", slow_path.TABLE, "dev", slow_path.LINK)
            and slow_path.LINK in router.run("ip", "route", "show", "table", slow_path.TABLE, check=False)
        ),
        "packets are not delayed (--logs DIR keeps what slow-path wrote)",
        within_s=20,
    )
    router.favour(_RELAY)
    for host in fleet.hosts(lab, "node"):
        processes.ip_batch(
            [
                f"route add {NODE_SEGMENT.gateway}/32 dev eth0",
                f"route replace {NODE_SEGMENT.network} via {NODE_SEGMENT.gateway} dev eth0 src {host.address}",
            ],
            namespace=host.namespace,
        )


def _hurry(lab: Lab) -> None:
    lab.host(ROUTER).signal(signal.SIGTERM, _RELAY)
    for host in fleet.hosts(lab, "node"):
        processes.ip_batch(
            [
                f"route replace {NODE_SEGMENT.network} dev eth0 src {host.address}",
                f"route del {NODE_SEGMENT.gateway}/32 dev eth0",
            ],
            namespace=host.namespace,
        )


@contextlib.contextmanager
def _starved(nodes: Sequence[Host], percent: float) -> Iterator[None]:
    """Stop all that runs on each node for that share of the time, each node at moments of its own."""
    if not percent:
        yield
        return
    over = threading.Event()
    threads = [threading.Thread(target=_starve, args=(host, percent / _WORST, over), daemon=True) for host in nodes]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _starve(host: Host, share: float, over: threading.Event) -> None:
    chance = random.Random()  # noqa: S311 - a moment, not a secret
    while not over.is_set():
        pause_s = chance.uniform(*PAUSE_S)
        stopped = host.signal(signal.SIGSTOP)
        try:
            time.sleep(pause_s)
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        over.wait(pause_s * (1 - share) / share)
