"""`witness`: two nodes and a witness. A node dies while every client pings; `--rounds` times, then once without it.

The two nodes are both elsewhere than the panel, or with `--panel-node` one of them is the panel's own machine, which is
then the one that stays. Of each round with the witness counted as in `failover`: `gap_ms`, `detected_ms`, `moved`,
`wrong`. `alone`: the last round, with the witness dead. Two nodes elsewhere do without it: the panel and the other node
miss the dead one. Beside the panel's machine nobody can confirm it then, and nothing may be decided; `said` is the
reason why nobody would take over, which the panel gave before (`no_failover`), and None where somebody would.
"""

import time
from typing import Any

from wgfleet.lab import fleet
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import failover, standings
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab
from wgfleet.lab.waiting import wait_for

UNCONFIRMED = "unconfirmed"
HEARD_S = 30.0  # for the panel to notice that a witness, or a node, is there again or is not


def run(lab: Lab, options: ScenarioOptions, progress: Progress) -> dict[str, Any]:
    """Run the rounds; `ok`: all clients moved within the bar, and nothing was decided that could not be known."""
    expected = UNCONFIRMED if lab.panel_node else None
    (witness,) = fleet.hosts(lab, "witness")
    fleet.restart_panel(lab, failover.SHORT_TRIAL)
    with fleet.client(lab) as panel:
        fleet.wait_connected(panel, lab.nodes)
        _wait_said(panel, None)
        begun = time.time()
        rounds = []
        for number in range(options.rounds):
            with progress.step(f"round {number + 1} of {options.rounds}"):
                rounds.append(failover.lose_busiest(lab, panel, options))
                standings.wait_all_serving(lab, panel, failover.RETURN_S)
                _wait_said(panel, None)
        fleet.power_off(witness)
        _wait_said(panel, expected)
        with progress.step("a round without the witness"):
            alone = failover.lose_busiest(lab, panel, options)
            standings.wait_all_serving(lab, panel, failover.RETURN_S)
        wrong = failover.wrongly_down(standings.withdrawals(lab, panel, begun), [*rounds, alone])
    figures = failover.summary(rounds)
    kept = (alone["detected_ms"] is None) is lab.panel_node
    return {
        **figures,
        "ok": figures["ok"] and not wrong and kept,
        "wrong": wrong,
        "alone": {"said": expected, "detected_ms": alone["detected_ms"], "moved": alone["moved"]},
        "each": rounds,
    }


def _wait_said(panel: PanelClient, code: str | None) -> None:
    """Wait until the panel says of all nodes but its own machine that nobody would take over for this reason."""

    def said() -> bool:
        own = {node["id"] for node in panel.all("/api/nodes") if node["is_panel_node"]}
        nodes = panel.all(f"/api/configs/{fleet.CONFIG}/nodes")
        found = {(each["no_failover"] or {}).get("code") for each in nodes if each["node_id"] not in own}
        return found == {code}

    wait_for(said, f"the panel does not say {code} of the nodes", within_s=HEARD_S, every_s=0.2)
