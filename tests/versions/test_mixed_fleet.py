"""A fleet in the midst of an upgrade: a panel of this release, two agents of it and two of 0.1.0, on real WireGuard."""

import re
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import wgfleet
from tests.versions.release import unpacked
from wgfleet.lab import assembly, face, fleet, holdings, pings, stock
from wgfleet.lab import state as labs
from wgfleet.lab.address_sampler import AddressSampler
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain, holder, standings
from wgfleet.lab.scenarios.failover import CALLED_BAR
from wgfleet.lab.state import Lab
from wgfleet.lab.topology import ROUTER
from wgfleet.lab.waiting import wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
OLD, NEW = ("node-1", "node-2"), ("node-3", "node-4")
SHORT = {"WGFLEET_HEALTH__STABLE_S": "2", "WGFLEET_HEALTH__STABLE_CAP_S": "2"}
ALL = (*OLD, *NEW)
RATE, SEEN_S, CALM_S = 20, 60.0, 1.0
SCAN_S = 1.5  # then the panel knows where a client is
DEAD_S = 10.0  # within which a node of 0.1.0 has what a dead one had
PUT_BACK_S = 3.0  # for so long an address is away after a return to 0.1.0, which does not renew it
MAX_LOST = RATE  # for a planned move; `lab run drain` holds clients to one packet, on a machine of its own


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def lab(release: Path) -> Iterator[Lab]:
    with labs.temporary("mixed", 4, 6) as built:
        for name in OLD:
            fleet.run_release(built.host(name), release)
        assembly.assemble(built, Progress(quiet=True))
        fleet.restart_panel(built, SHORT)
        yield built


def live(lab: Lab, names: Sequence[str]) -> dict[str, set[str]]:
    """Return by node the users whose packets it gets just now."""
    earlier = {name: drain.received(lab.host(name)) for name in names}
    time.sleep(CALM_S)
    return {name: drain.live_peers(lab.host(name), earlier[name]) for name in names}


def spread(lab: Lab, panel: PanelClient) -> None:
    """Have every node in use, with its share of the users."""
    for name in ALL:
        panel.call("POST", f"/api/nodes/{name}/uncordon")
    standings.wait_all_serving(lab, panel, SEEN_S)
    standings.wait_operations(panel)
    operation = panel.call("POST", f"/api/configs/{fleet.CONFIG}/rebalance")
    assert panel.wait_operation(operation["id"], timeout_s=SEEN_S)["result"]["left_behind"] == 0
    fleet.favour_nodes(lab)


@pytest.mark.parametrize(("dying", "taking"), [(NEW, OLD), (OLD, NEW)], ids=["to-old-nodes", "to-new-nodes"])
def test_users_of_a_dead_node_go_to_nodes_of_the_other_release(
    lab: Lab, dying: Sequence[str], taking: Sequence[str]
) -> None:
    dead, cordoned = dying
    clients = fleet.hosts(lab, "client")
    with fleet.client(lab) as panel:
        spread(lab, panel)
        panel.call("POST", f"/api/nodes/{cordoned}/cordon")
        running = pings.start(clients, fleet.NODE_TUNNEL_ADDRESS, rate=RATE)
        before = live(lab, ALL)
        assert before[dead]
        fleet.power_off(lab.host(dead))
        standings.wait_state(lab, panel, dead, "down", SEEN_S)
        time.sleep(SCAN_S)
        after = live(lab, [name for name in ALL if name != dead])
        counts = {count.client: count for count in pings.measure(running)}
        names = standings.clients_by_key(lab, panel)
        fleet.start_agent(lab.host(dead))
        standings.wait_all_serving(lab, panel, SEEN_S)
    hit = {names[key] for key in before[dead]}
    assert before[dead] <= set().union(*(after[name] for name in taking)), (before, after)
    assert max(counts[name].worst_gap_ms for name in hit) <= CALLED_BAR.p99
    assert max((counts[name].lost for name in counts if name not in hit), default=0) <= 1


def bring(lab: Lab, panel: PanelClient, node: str) -> str:
    """Have a node hold the floating address; return that."""
    standings.wait_operations(panel)
    if not face.floating(lab):
        face.float_addresses(lab, panel, 1)
    [address] = face.floating(lab)
    if face.holders(lab)[address] != [node]:
        path = f"/api/configs/{fleet.CONFIG}/floating-addresses/{address}/move"
        operation = panel.call("POST", path, {"node": node})
        panel.wait_operation(operation["id"], timeout_s=SEEN_S)
        wait_for(lambda: face.holders(lab)[address] == [node], f"{node} does not hold {address}", within_s=SEEN_S)
    return address


def test_a_floating_address_moves_between_releases_and_has_one_holder(lab: Lab) -> None:
    client, peer = fleet.hosts(lab, "client")[0], lab.result["clients"][0]
    with fleet.client(lab) as panel:
        spread(lab, panel)
        address = bring(lab, panel, NEW[0])
        stock.down(client)
        stock.connect([(client, panel.text(f"/api/peers/{peer['id']}/config"))], fleet.NODE_TUNNEL_ADDRESS)
        with AddressSampler(lab.host(ROUTER), fleet.hosts(lab, "node"), [address]) as sampler:
            begun = time.time()
            running = pings.start([client], fleet.NODE_TUNNEL_ADDRESS, rate=RATE)
            for node in (OLD[0], NEW[1]):
                time.sleep(SCAN_S)
                bring(lab, panel, node)
            [count] = pings.measure(running)
        seen = holdings.summary([sampler.since(begun, address)], NEW[0], begun, time.time())
    assert holdings.broken({**seen, "held_wrong": face.not_held_once(lab)}, unseen=False) == [], seen
    assert count.worst_gap_ms <= CALLED_BAR.p50, count


def test_an_old_node_gets_what_a_dead_one_had_when_its_kernel_has_it_no_more(lab: Lab) -> None:
    with fleet.client(lab) as panel:
        spread(lab, panel)
        address = bring(lab, panel, NEW[0])
        panel.call("POST", f"/api/nodes/{NEW[1]}/cordon")
        blow, node = holder.BLOWS["all_killed"], lab.host(NEW[0])
        with AddressSampler(lab.host(ROUTER), fleet.hosts(lab, "node"), [address]) as sampler:
            begun = time.time()
            blow.strike(lab, node)
            wait_for(
                lambda: face.holders(lab)[address] in ([name] for name in OLD), "no old node has it", within_s=SEEN_S
            )
            blow.repair(lab, node)
            standings.wait_all_serving(lab, panel, SEEN_S)
        seen = holdings.summary([sampler.since(begun, address)], NEW[0], begun, time.time())
    assert holdings.broken({**seen, "held_wrong": face.not_held_once(lab)}, unseen=False) == [], seen
    assert seen["taken_s"] <= DEAD_S, seen


@pytest.mark.parametrize("name", [OLD[0], NEW[0]])
def test_a_node_is_removed_and_others_take_its_users(lab: Lab, name: str) -> None:
    with fleet.client(lab) as panel:
        spread(lab, panel)
        running = pings.start(fleet.hosts(lab, "client"), fleet.NODE_TUNNEL_ADDRESS, rate=RATE)
        before = live(lab, [name])[name]
        node = lab.host(name)
        operation = panel.call("DELETE", f"/api/configs/{fleet.CONFIG}/nodes/{name}")
        result = panel.wait_operation(operation["id"], timeout_s=SEEN_S)["result"]
        time.sleep(CALM_S)
        counts = pings.measure(running)
        assert (result["sessions_taken_over"], result["left_behind"]) == (len(before), 0)
        assert not node.succeeds("wg", "show", stock.INTERFACE)
        drain.put_back(lab, panel, node)
    assert max(count.lost for count in counts) <= MAX_LOST


def exchange_agent(lab: Lab, panel: PanelClient, name: str, release: Path | None) -> None:
    """Stop a node's agent, start that of another release, and wait until it has what the panel wants."""
    host = lab.host(name)
    fleet.run_release(host, release)
    host.signal(signal.SIGTERM, "wgfleet.agent")
    wait_for(lambda: not host.find("wgfleet.agent"), f"the agent of {name} does not end", within_s=SEEN_S)
    fleet.start_agent(host)
    wanted = "0.1.0" if release else wgfleet.__version__

    path = f"/api/configs/{fleet.CONFIG}"

    def runs() -> bool:
        node, config = panel.call("GET", f"/api/nodes/{name}"), panel.call("GET", path)
        [has] = [each for each in panel.all(f"{path}/nodes") if each["node_id"] == node["id"]]
        applied = has["applied_generation"] == config["generation"] and not has["drift"]
        return bool(node["connected"] and node["agent_version"] == wanted and applied)

    wait_for(runs, f"the other agent of {name} does not come up", within_s=SEEN_S)


def test_agents_are_upgraded_one_by_one_and_rolled_back_and_nobody_notices(lab: Lab, release: Path) -> None:
    nodes = fleet.hosts(lab, "node")
    with fleet.client(lab) as panel:
        spread(lab, panel)
        address = bring(lab, panel, OLD[0])
        running = pings.start(fleet.hosts(lab, "client"), fleet.NODE_TUNNEL_ADDRESS, rate=RATE)
        with AddressSampler(lab.host(ROUTER), nodes, [address]) as sampler:
            begun = time.time()
            for name in OLD:
                exchange_agent(lab, panel, name, None)
            assert [node["agent_warning"] for node in panel.all("/api/nodes")] == [None] * len(nodes)
            fleet.add_peers(panel, 1)
            for name in OLD:
                exchange_agent(lab, panel, name, release)
            fleet.add_peers(panel, 1)
        counts = pings.measure(running)
        wanted = [len(panel.all(f"/api/configs/{fleet.CONFIG}/peers"))] * len(nodes)
        wait_for(lambda: [len(drain.user_keys(node)) for node in nodes] == wanted, "peers are missing", within_s=SEEN_S)
        # What the later agent took for a few seconds lapses under the earlier one, which takes it for ever.
        face.wait_held_once(lab)
    seen = holdings.summary([sampler.since(begun, address)], OLD[0], begun, time.time())
    assert max(count.lost for count in counts) <= 1
    assert holdings.broken({**seen, "held_wrong": face.not_held_once(lab)}, unseen=False) == [], seen
    assert seen["unanswered_s"] <= PUT_BACK_S, seen


def restart_at(lab: Lab, client: Host, text: str, node: str) -> None:
    """Have a client begin anew, with another node in its file."""
    endpoint = f"Endpoint = {lab.host(node).address}:{fleet.LISTEN_PORT}"
    client.succeeds("wg-quick", "down", stock.INTERFACE)
    stock.write_file(client, re.sub(r"(?m)^Endpoint = .*$", endpoint, text))
    stock.up(client)


def test_a_deleted_user_is_refused_by_all(lab: Lab) -> None:
    leaver = lab.result["clients"][-1]
    client = lab.host(leaver["name"])
    with fleet.client(lab) as panel:
        spread(lab, panel)
        text = panel.text(f"/api/peers/{leaver['id']}/config")
        for name in ALL:
            restart_at(lab, client, text, name)
            stock.wait_reply(client, fleet.NODE_TUNNEL_ADDRESS, timeout_s=SEEN_S)
        panel.call("DELETE", f"/api/peers/{leaver['id']}")
        owed = f"/api/configs/{fleet.CONFIG}/revocations"
        wait_for(lambda: not panel.call("GET", owed)["items"], "the deletion has not reached all", within_s=SEEN_S)
        for name in ALL:
            restart_at(lab, client, text, name)
            assert not client.succeeds("ping", "-n", "-q", "-c", "5", "-i", "0.2", "-w", "1", fleet.NODE_TUNNEL_ADDRESS)
            assert client.run("wg", "show", stock.INTERFACE, "latest-handshakes").split()[-1] == "0"
