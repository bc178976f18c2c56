"""`firewalls`: what keeps users of a node from the uplink is put on it, one after the other, and taken off again.

Docker's rules, ufw, firewalld, rules that nobody can read, no default route, an uplink of 1400 bytes, IPv6 turned off.
Of each, `found_s`: from when it was there until the panel said what it is (all words that lab/firewalls.py has for it)
and, where it drops all, that forwarding failed; `repaired_s`: from when it was gone until nothing was said any more and
a packet of a user's address had come through. `by`: whether ufw was the program, or rules as it writes them.
`elsewhere`: while nothing passed the first node, new peers got their homes at another one (promised: all of them).
"""

import time
from typing import Any

from wgfleet.lab import fleet
from wgfleet.lab.firewalls import Obstacle, has_ufw, obstacles
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import Document, PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab
from wgfleet.lab.waiting import look_for, wait_for

BOTH = "both"  # a config with IPv6 as well
_FIRST_S = 60.0
_SEEN_S = 60.0
_PEERS = 4


def run(lab: Lab, _options: ScenarioOptions, progress: Progress) -> dict[str, Any]:
    """Go through them; `ok` means that each was found, named, and seen to be gone."""
    node = fleet.hosts(lab, "node")[0]
    node_id = drain.node_id(lab, node)
    each: dict[str, Any] = {}
    with fleet.client(lab) as panel:
        with progress.step("a packet of a user's address came through"):
            _add_config(panel, node_id)
            wait_for(lambda: _is_well(panel, node_id), "nothing was proven", within_s=_FIRST_S)
        for obstacle in obstacles():
            with progress.step(f"{obstacle.name}: found, named, repaired"):
                each[obstacle.name] = _go_through(panel, node, node_id, obstacle)
    ok = all(found["named"] and found["repaired"] and found["elsewhere"] in {None, _PEERS} for found in each.values())
    return {"ok": ok, "by": {"ufw": "ufw" if has_ufw() else "rules as it writes them"}, "each": each}


def _add_config(panel: PanelClient, node_id: str) -> None:
    body = {"name": BOTH, "mode": "cluster", "pools": ["10.9.0.0/16", "fd00:9::/64"], "listen_port": 51821}
    panel.call("POST", "/api/configs", body)
    panel.call("POST", f"/api/configs/{BOTH}/nodes", {"node_id": node_id})


def _go_through(panel: PanelClient, node: Host, node_id: str, obstacle: Obstacle) -> dict[str, Any]:
    begun = time.monotonic()
    obstacle.shut(node)
    named = look_for(lambda: _is_named(panel, node_id, obstacle), within_s=_SEEN_S)
    found_s = time.monotonic() - begun
    elsewhere = _new_homes_elsewhere(panel, node_id, obstacle) if obstacle.drops and named else None
    said = _said(panel, node_id)
    begun = time.monotonic()
    obstacle.repair(node)
    repaired = look_for(lambda: _is_well(panel, node_id), within_s=_SEEN_S)
    return {
        "named": named,
        "found_s": round(found_s, 1),
        "repaired": repaired,
        "repaired_s": round(time.monotonic() - begun, 1),
        "elsewhere": elsewhere,
        **({} if named and repaired else {"said": said}),
    }


def _assignments(panel: PanelClient, node_id: str) -> list[Document]:
    found = []
    for config in (fleet.CONFIG, BOTH):
        found += [each for each in panel.all(f"/api/configs/{config}/nodes") if each["node_id"] == node_id]
    return found


def _said(panel: PanelClient, node_id: str) -> list[str]:
    return [
        text
        for each in _assignments(panel, node_id)
        for text in (*each["drift"], (each["forwarding"] or {}).get("reason", ""))
    ]


def _is_named(panel: PanelClient, node_id: str, obstacle: Obstacle) -> bool:
    said = " ".join(_said(panel, node_id))
    its_own = _assignments(panel, node_id)[0]["forwarding"] or {}
    return all(words in said for words in obstacle.named) and (its_own.get("state") == "failed") == obstacle.drops


def _is_well(panel: PanelClient, node_id: str) -> bool:
    """Whether nothing is said against a node, and it is proven to forward."""
    return all(
        not each["drift"] and each["forwarding"] is not None and each["forwarding"]["state"] == "ok"
        for each in _assignments(panel, node_id)
    )


def _new_homes_elsewhere(panel: PanelClient, node_id: str, obstacle: Obstacle) -> int:
    """Add peers; return how many have their home at another node."""
    names = [f"{obstacle.name}-{number}" for number in range(_PEERS)]
    made = [panel.call("POST", f"/api/configs/{fleet.CONFIG}/peers", {"name": name}) for name in names]
    return sum(peer["home_node_id"] not in {None, node_id} for peer in made)
