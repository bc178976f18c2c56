"""A client behind NAT whose node leaves: its packets are passed on, and its session lives on the new node alone."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import msgspec
import pytest

from tests.agent.node import Host, Node
from tests.agent.segment import cable
from tests.agent.test_push import applied
from tests.agent.test_takeover import CLIENT_IP
from tests.agent.test_takeover_nat import put_behind_nat
from tests.agent.values import private_key, public_key, random_key, settings, whole
from tests.waiting import eventually
from wgfleet.agent.kernel.relay_table import RelayedFlow, rules, table_of
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer
from wgfleet.protocol.ids import ConfigId, InterfaceName
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import Refusal, Takeover, TakeoverPeer, TakeoverResult
from wgfleet.protocol.relay import RelayedPeer, RelayEnd, RelayProlongation, RelayRequest, RelayStatus

SEND = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('198.18.0.1', 51820))"
pytestmark = pytest.mark.lab
CONFIG = ConfigId("config-1")
#   client ── nat (198.18.0.3) ── a (198.18.0.1), b (198.18.0.2); the NAT lets in only what answers
ANSWERS_ONLY = """
table ip answers {
    chain in {
        type filter hook forward priority 0
        iifname eth0 ct state != { established, related } drop
    }
}
"""


MASQUERADED = "table inet nat { chain out { type nat hook postrouting priority 100; oifname wg7 masquerade\n}\n}\n"


@dataclass
class Home:
    """Two nodes with one key, and a client of the first behind NAT."""

    a: Node
    b: Node
    client: Host
    key: PublicKey
    wanted: DesiredInterface

    def endpoint(self, node: Node) -> str:
        return node.host.run("wg", "show", "wg0", "endpoints").split("\t")[1].strip()

    def answers(self, count: int = 1) -> bool:
        command = self.client.command("ping", "-q", "-c", str(count), "-i", "0.02", "-w", "2", "10.8.0.1")
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def call(self, endpoint: str, timeout_s: float) -> TakeoverResult:
        body = Takeover((TakeoverPeer(self.key, endpoint),), timeout_s)
        response = self.b.call("POST", "/v1/wg/wg0/takeover", body)
        assert response.status_code == httpx.codes.OK, response.text
        return msgspec.json.decode(response.content, type=TakeoverResult)

    def relay(self, for_s: float = 600.0) -> RelayStatus:
        peer = RelayedPeer(self.key, self.endpoint(self.a), "198.18.0.2:51820")
        response = self.a.call("POST", "/v1/wg/wg0/relay", RelayRequest(CONFIG, (peer,), for_s))
        assert response.status_code == httpx.codes.OK, response.text
        return msgspec.json.decode(response.content, type=RelayStatus)


@pytest.fixture
def home(make_host: Callable[[], Host], make_node: Callable[..., Node]) -> Home:
    switch, nat, client = make_host(), make_host(), make_host()
    switch.run("ip", "link", "add", "br0", "type", "bridge")
    switch.run("ip", "link", "set", "br0", "up")
    a, b = make_node("node-a"), make_node("node-b")
    for number, host in enumerate((a.host, b.host, nat), 1):
        cable(switch, host, number)
    put_behind_nat(client, nat)
    nat.run("nft", "-f", "-", stdin=ANSWERS_ONLY)
    key, own = private_key(), private_key()
    peer = public_key(own)
    wanted = whole(
        1,
        settings(addresses=("10.8.0.1/24",), key=key, masquerade=True),
        {peer: DesiredPeer((f"{CLIENT_IP}/32",))},
    )
    for node in (a, b):
        node.start()
        assert applied(node, wanted).verified
    client.wireguard()
    client.run(
        *("wg", "setconf", "wg0", "/dev/stdin"),
        stdin=f"[Interface]\nPrivateKey = {own}\n[Peer]\nPublicKey = {public_key(key)}\n"
        "AllowedIPs = 10.8.0.0/24\nEndpoint = 198.18.0.1:51820\nPersistentKeepalive = 25\n",
    )
    client.run("ip", "addr", "add", f"{CLIENT_IP}/24", "dev", "wg0")
    client.run("ip", "link", "set", "wg0", "up")
    made = Home(a, b, client, peer, wanted)
    eventually(made.answers)
    return made


def test_a_client_behind_nat_is_called_through_the_node_that_it_knows_and_stays_when_that_leaves(home: Home) -> None:
    assert home.call(home.endpoint(home.a), 0.5).unanswered == (home.key,), "nobody else gets through its NAT"
    relayed = home.relay().peers[home.key]
    assert list(home.call(f"198.18.0.1:{relayed.port}", 5.0).answered) == [home.key]
    assert home.answers(20)
    assert home.client.run("wg", "show", "wg0", "endpoints").split("\t")[1].strip() == "198.18.0.1:51820"
    assert home.endpoint(home.b) == f"198.18.0.1:{relayed.port}"

    gone = home.a.call("DELETE", f"/v1/wg/wg0?config_id={CONFIG}&generation=2")
    assert gone.status_code == httpx.codes.NO_CONTENT
    assert home.answers(20)
    home.client.run("wg", "set", "wg0", "listen-port", "40404")  # as if its NAT had given it another port
    eventually(home.answers)
    home.a.stop(signal.SIGKILL)
    home.a.host.run("nft", "flush", "ruleset")
    home.a.start()
    eventually(home.answers)
    assert home.a.call("GET", "/v1/wg/wg0/relay").json()["peers"].keys() == {home.key}

    for key, status in ((home.key, httpx.codes.OK), (PublicKey(random_key()), httpx.codes.NOT_FOUND)):
        turned = RelayRequest(CONFIG, (RelayedPeer(key, relayed.endpoint, "198.18.0.9:51820"),), 60.0)
        assert home.a.call("POST", "/v1/wg/wg0/relay", turned).status_code == status, "without an interface"
    kept = home.a.call("GET", "/v1/wg/wg0/relay").json()["peers"][home.key]
    assert (kept["target"], kept["port"]) == ("198.18.0.9:51820", relayed.port)

    assert home.a.call("POST", "/v1/wg/wg0/relay/end", RelayEnd((home.key,))).json() == {"peers": {}}
    assert not home.answers()
    assert "wgfleetrelay" not in home.a.host.run("nft", "list", "tables")


KNOWS_FLOWS = "table inet firewall { chain in { type filter hook input priority 0; ct state established accept\n}\n}\n"


def test_a_client_whose_address_changes_before_the_relay_is_made_is_passed_on_as_soon_as_it_is(home: Home) -> None:
    home.a.host.run("nft", "-f", "-", stdin=KNOWS_FLOWS)
    relayed = home.relay().peers[home.key]
    assert home.call(f"198.18.0.1:{relayed.port}", 5.0).answered
    assert home.a.call("DELETE", f"/v1/wg/wg0?config_id={CONFIG}&generation=2").is_success
    home.a.signal(signal.SIGSTOP)
    home.a.host.run("nft", "delete", "table", "inet", table_of(InterfaceName("wg0")))
    home.client.run("wg", "set", "wg0", "listen-port", "40404")
    assert not home.answers(), "and the machine takes it for a flow that ends there"
    home.a.signal(signal.SIGCONT)
    eventually(home.answers)
    home.a.host.run("nft", "-f", "-", stdin=MASQUERADED)
    assert home.a.call("POST", "/v1/wg/wg0/relay/end", RelayEnd((home.key,))).json() == {"peers": {}}
    assert not home.answers(), "what is relayed no more goes nowhere, though the machine's NAT works on"


def test_a_relay_ends_by_its_time(home: Home) -> None:
    relayed = home.relay(for_s=8.0).peers[home.key]
    assert home.call(f"198.18.0.1:{relayed.port}", 5.0).answered
    home.a.stop(signal.SIGKILL)
    home.a.start()
    assert home.a.call("POST", "/v1/wg/wg0/relay/prolong", RelayProlongation((home.key,), 900.0)).is_success
    (found,) = home.a.call("GET", "/v1/relays").json()["interfaces"]["wg0"]["peers"].values()
    assert 800 < found["left_s"] <= 900
    assert home.a.call("POST", "/v1/wg/wg0/relay/prolong", RelayProlongation((home.key,), 1.0)).is_success
    home.a.stop(signal.SIGKILL)
    home.a.start()
    eventually(lambda: "wgfleetrelay" not in home.a.host.run("nft", "list", "tables"))
    eventually(lambda: home.a.call("GET", "/v1/wg/wg0/relay").json() == {"peers": {}})  # forgotten when that is done


def test_what_cannot_be_relayed_is_refused_by_its_field(home: Home) -> None:
    def refused(peer: RelayedPeer, for_s: float = 60.0) -> str | None:
        response = home.a.call("POST", "/v1/wg/wg0/relay", RelayRequest(CONFIG, (peer,), for_s))
        assert response.is_client_error, response.text
        return msgspec.json.decode(response.content, type=Refusal).field

    key = PublicKey(random_key())
    assert refused(RelayedPeer(key, "nowhere", "192.0.2.1:1")) == "peers[0].endpoint"
    assert refused(RelayedPeer(key, "192.0.2.1:1", "[2001:db8::1]:1")) == "peers[0].target"
    assert refused(RelayedPeer(key, "192.0.2.1:1", "192.0.2.2:1"), -1.0) == "for_s"
    assert refused(RelayedPeer(PublicKey("x"), "192.0.2.1:1", "192.0.2.2:1")) == "peers[0].public_key"


def test_what_a_killed_agent_was_about_to_remove_is_removed_at_its_next_start(home: Home) -> None:
    home.relay()
    home.a.stop(signal.SIGKILL)
    (home.a.state.relays / "wg0.json").unlink()
    home.a.start()
    eventually(lambda: "wgfleetrelay" not in home.a.host.run("nft", "list", "tables"))


def test_what_the_kernel_refuses_is_tried_again_and_no_end_is_said_that_is_none(home: Home) -> None:
    home.a.host.run(
        "sh", "-c", "cp $(command -v nft) /run/nft; printf '#!/bin/sh\\nexit 1\\n' > /run/no; chmod +x /run/no"
    )
    nft = home.a.host.run("sh", "-c", "readlink -f $(command -v nft)").strip()
    endpoint = home.endpoint(home.a)
    home.relay()

    def ask(path: str, body: object) -> int:
        return home.a.call("POST", f"/v1/wg/wg0/{path}", body).status_code

    home.a.host.run("mount", "--bind", "/run/no", nft)
    other = RelayedPeer(PublicKey(random_key()), "198.18.0.3:9", "198.18.0.2:51820")
    assert ask("relay", RelayRequest(CONFIG, (other,), 600.0)) == httpx.codes.INTERNAL_SERVER_ERROR
    home.a.host.run("umount", nft)
    eventually(lambda: "198.18.0.3 . 9" in home.a.host.run("nft", "list", "ruleset"), 20)
    assert endpoint.replace(":", " . ") in home.a.host.run("nft", "list", "ruleset")
    home.a.host.run("mount", "--bind", "/run/no", nft)
    assert ask("relay/end", RelayEnd(None)) == httpx.codes.INTERNAL_SERVER_ERROR
    home.a.host.run("umount", nft)
    assert len(home.a.call("GET", "/v1/wg/wg0/relay").json()["peers"]) == 2
    assert ask("relay/end", RelayEnd(None)) == httpx.codes.OK
    assert "wgfleetrelay" not in home.a.host.run("nft", "list", "tables")


COUNTED = "table inet seen { chain in { type filter hook prerouting priority -400; udp dport 51820 counter\n}\n}\n"


def test_two_relays_that_lead_to_each_other_do_not_send_a_packet_to_and_fro(make_host: Callable[[], Host]) -> None:
    switch, a, b, stranger = (make_host() for _ in range(4))
    switch.run("ip", "link", "add", "br0", "type", "bridge")
    switch.run("ip", "link", "set", "br0", "up")
    for number, host in enumerate((a, b, stranger), 1):
        cable(switch, host, number)
    for number, host in ((1, a), (2, b)):
        client, target = f"198.18.0.{number + 10}:4000", f"198.18.0.{3 - number}:51820"
        flow = RelayedFlow(client, target, f"198.18.0.{number}", 20000)
        host.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        host.run("nft", "-f", "-", stdin=COUNTED + rules(InterfaceName("wg0"), 51820, (flow,), alone=True))

    def seen(host: Host) -> int:
        found = re.search(r"counter packets (\d+)", host.run("nft", "list", "table", "inet", "seen"))
        return 0 if found is None else int(found[1])

    stranger.run(sys.executable, "-c", SEND)
    eventually(lambda: seen(b) >= 1)
    stranger.run(sys.executable, "-c", SEND)
    eventually(lambda: seen(b) >= 2)  # so the first has ended its way
    assert (seen(a), seen(b)) == (2, 2)
