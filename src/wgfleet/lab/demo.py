"""The story that `make demo` tells: a node is removed from a config under live clients, and nobody notices.

Every figure comes from the run: what ping counted, what WireGuard shows in the nodes, what the panel's API says.
"""

import time
from typing import Any

from rich.console import Console

from wgfleet.lab import assembly, fleet
from wgfleet.lab.assembly import Equipment
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain
from wgfleet.lab.state import Lab

NODES = 3
RATE = 20.0  # packets/s of each client


def run(lab: Lab, progress: Progress, console: Console) -> bool:
    """Tell the story on a fresh lab; return whether everything was as promised."""
    begun = time.monotonic()
    devices = len(fleet.hosts(lab, "client"))
    console.print(
        f"This machine now holds a small internet: a router, a panel, {NODES} servers and {devices} user devices,\n"
        "each in a network namespace of its own. The servers run the wgfleet agent; the devices run nothing but\n"
        "WireGuard as distributed.\n"
    )
    assembly.assemble(lab, progress, Equipment(name=True))
    names = ", ".join(node["name"] for node in lab.result["nodes"])
    console.print(
        f"\n1. {NODES} servers ({names}) were enrolled with one-time tokens, and serve the config `{fleet.CONFIG}`.\n"
        f"2. {devices} users got a WireGuard file each, and `wg-quick up {fleet.CONFIG}` connected them."
    )
    with fleet.client(lab) as panel, progress.step("node removed while all devices ping without pause"):
        happened = drain.remove_busiest(lab, panel, RATE)
        left = [entry for entry in panel.all(f"/api/configs/{fleet.CONFIG}/nodes") if entry["phase"] == "serving"]
    kept = bool(happened["ok"]) and len(left) == NODES - 1
    for line in story(happened):
        console.print(line)
    verdict = "Everything was as promised" if kept else "NOT everything was as promised"
    console.print(f"\n{verdict}; the whole took {time.monotonic() - begun:.0f} s.")
    return kept


def story(happened: dict[str, Any]) -> list[str]:
    """Put a round of `drain` into words."""
    node, live, moved = happened["removed_node"], happened["live_on_removed_node"], happened["verified_elsewhere"]
    return [
        f"3. All devices pinged through the tunnel, {RATE:.0f} times a second each; then {node} was removed from wg0.",
        (
            f"4. {live} devices were connected to it. {moved} of them now have their session on another server, "
            f"{happened['seconds']:.1f} s later;\n   {happened['peers_migrated']} peers have a new home. "
            "Nobody touched the devices or their files."
        ),
        (
            f"5. Of {happened['packets_sent']} packets {happened['packets_lost']} were lost, at most "
            f"{happened['packets_lost_max']} by one device; the longest silence was\n"
            f"   {happened['worst_gap_ms']:.0f} ms ({1000 / RATE:.0f} ms lie between two packets)."
        ),
        f"6. The interface on {node} is {'gone' if happened['interface_gone'] else 'STILL THERE'}.",
    ]
