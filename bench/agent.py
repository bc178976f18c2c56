"""What the agent costs: memory, idle CPU, a scan without changes, pushes. Prints JSON.

Needs root, wireguard-go and wireguard-tools. Each figure stands beside what the same machine takes at the same time
for the least that has to be done (`wg show dump`, `wg syncconf`), so that it can be compared between machines.
Usage, from the top of the repository: .venv/bin/python -m bench.agent [--peers 10000] [--idle 60]
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import msgspec

from tests.agent.authority import Authority
from tests.agent.node import Host, Node
from tests.agent.values import peer, peers, private_key, random_key, settings, whole
from tests.waiting import eventually
from wgfleet.protocol.desired import DesiredInterface, delta_between
from wgfleet.protocol.ids import Generation
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import AgentStatus, Applied

_SCAN = 'wgfleet_interface_scan_seconds{interface="wg0"}'
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """CPU of a process and of its children that have ended (the agent's `wg` and `nft`), in s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / _TICKS


def rss_mb(pid: int) -> tuple[float, float]:
    """Resident memory now and at its peak, in MB."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) / 1024, int(lines["VmHWM"].split()[0]) / 1024


def wireguard_go(host: Host) -> int:
    """The process that serves the agent's interface."""
    pids = subprocess.run(["ip", "netns", "pids", host.namespace], capture_output=True, text=True, check=True).stdout
    return next(int(p) for p in pids.split() if Path(f"/proc/{p}/comm").read_text() == "wireguard-go\n")


def timed(host: Host, *command: str, stdin: str | None = None) -> float:
    line = host.command(*command)
    started = time.monotonic()
    subprocess.run(line, input=stdin, capture_output=True, text=True, check=True)
    return time.monotonic() - started


def wg_text(desired: DesiredInterface) -> str:
    text = [f"[Interface]\nPrivateKey = {desired.settings.private_key}\nListenPort = 51821\n"]
    for key, each in desired.peers.items():
        text.append(f"[Peer]\nPublicKey = {key}\nPresharedKey = {each.preshared_key}\n")
        text.append(f"AllowedIPs = {', '.join(each.allowed_ips)}\n")
    return "".join(text)


def put(node: Node, body: object) -> tuple[float, Applied]:
    raw = msgspec.json.encode(body)
    started = time.monotonic()
    response = node.call("PUT", "/v1/wg/wg0", raw)
    seconds = time.monotonic() - started
    response.raise_for_status()
    applied = msgspec.json.decode(response.content, type=Applied)
    if not applied.verified:
        raise SystemExit(f"not verified: {applied.drift[:3]}")
    return seconds, applied


def floor(host: Host, desired: DesiredInterface) -> float:
    """One `wg syncconf` of the same peers into a fresh interface."""
    host.spawn("wireguard-go", "-f", "floor")
    eventually(lambda: host.run("wg", "show", "floor", check=False))
    host.run("ip", "link", "set", "floor", "up")
    seconds = timed(host, "wg", "syncconf", "floor", "/dev/stdin", stdin=wg_text(desired))
    host.run("ip", "link", "del", "floor")
    return seconds


def pushes(node: Node, count: int) -> tuple[dict[str, object], DesiredInterface]:
    desired = whole(1, settings(addresses=("10.8.0.1/16",), key=private_key()), peers(count))
    least = floor(node.host, desired)
    seconds, applied = put(node, desired)
    one = []
    for generation in range(2, 12):
        grown = {**desired.peers, PublicKey(random_key()): peer(20_000 + generation)}
        after = msgspec.structs.replace(desired, generation=Generation(generation), peers=grown)
        one.append(put(node, delta_between(desired, after))[0])
        desired = after
    again = put(node, desired)[0]
    return {
        "peers": count,
        "push_s": round(seconds, 3),
        "agent_s": round(applied.seconds, 3),
        "floor_syncconf_s": round(least, 3),
        "ratio": round(seconds / least, 2),
        "push_without_change_s": round(again, 3),
        "one_peer_added_ms": round(statistics.median(one) * 1000, 1),
    }, desired


def scans(node: Node, desired: DesiredInterface) -> dict[str, object]:
    """Time of scans without changes, as the agent measures it, between runs of `wg show dump`."""
    dumps, found = [], []
    for _ in range(9):
        time.sleep(1.5)
        dumps.append(timed(node.host, "wg", "show", "wg0", "dump"))
        line = next(line for line in node.call("GET", "/v1/metrics").text.splitlines() if _SCAN in line)
        found.append(float(line.split()[1]))
    status = msgspec.json.decode(node.call("GET", "/v1/status").content, type=AgentStatus)
    # `nsenter` is not part of the dump.
    dump = statistics.median(dumps) - statistics.median(timed(node.host, "true") for _ in range(9))
    scan = statistics.median(found)
    return {
        "peers": len(desired.peers),
        "scan_interval_s": round(status.scan_interval_s, 2),
        "scan_ms": round(scan * 1000, 1),
        "wg_show_dump_ms": round(dump * 1000, 1),
        "ratio": round(scan / dump, 2),
    }


def idle(node: Node, seconds: float) -> dict[str, object]:
    agent, tunnel = node.pid, wireguard_go(node.host)
    before, tunnel_before, started = cpu_s(agent), cpu_s(tunnel), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - started
    rss, peak = rss_mb(agent)
    return {
        "seconds": round(took),
        "agent_and_children_percent_of_a_core": round((cpu_s(agent) - before) / took * 100, 2),
        "wireguard_go_percent_of_a_core": round((cpu_s(tunnel) - tunnel_before) / took * 100, 2),
        "rss_mb": round(rss, 1),
        "rss_peak_mb": round(peak, 1),
    }


def measure(count: int, idle_s: float) -> dict[str, object]:
    host = Host(f"agb-{os.getpid()}-{count}")
    with tempfile.TemporaryDirectory() as directory:
        node = Node(host, Path(directory) / "state", Authority(Path(directory) / "ca"), "bench")
        try:
            node.start()
            result: dict[str, object] = {"rss_without_interface_mb": round(rss_mb(node.pid)[0], 1)}
            result["push"], desired = pushes(node, count)
            result["scan"] = scans(node, desired)
            with node.watch():
                result["idle"] = idle(node, idle_s)
            return result
        finally:
            node.close()
            host.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--idle", type=float, default=60)
    options = parser.parse_args()
    print(json.dumps({str(count): measure(count, options.idle) for count in options.peers}, indent=2))


if __name__ == "__main__":
    main()
