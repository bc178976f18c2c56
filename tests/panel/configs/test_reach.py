"""What users reach through a node, as settings of a config, and what nodes get of them."""

from typing import Any

import httpx
import pytest

from tests.panel.conftest import made, one_database
from wgfleet.panel import clock
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.certificates import Issued
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import desired, node_agents, nodes
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.protocol.desired import check_settings
from wgfleet.protocol.features import NONE
from wgfleet.protocol.reach import Reach


def pushed(panel: Panel, config_name: str) -> Reach | None:
    """Return what the config's first node gets."""
    with panel.store.read() as tx:
        config = configs.get(tx, config_name)
        settings = desired.whole(tx, panel.vault, config, assignment_rows.of_config(tx, config.id)[0][0]).settings
    check_settings(settings)
    return settings.reach


def patched(client: httpx.Client, config: str, **changes: Any) -> dict[str, Any]:
    answer = client.patch(f"/api/configs/{config}", json=changes)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


@pytest.fixture
def assigned(client: httpx.Client, wg0: dict[str, Any], fra1: dict[str, Any]) -> None:
    made(client, f"/api/configs/{wg0['id']}/nodes", node_id=fra1["id"])
    made(client, "/api/configs", name="wg1", pools=["10.9.0.0/24"])


@pytest.mark.usefixtures("assigned")
def test_a_config_is_filtered_unless_its_settings_open_something(client: httpx.Client, panel: Panel) -> None:
    assert pushed(panel, "wg0") == Reach()
    before = client.get("/api/configs/wg0").json()["generation"]
    opened = {"node_ports": ["udp/53", "tcp/80-80", "tcp/80"], "denied_networks": ["192.168.0.0/16"]}
    shown = patched(client, "wg0", **opened, reachable_configs=["wg1"])
    assert shown["node_ports"] == ["udp/53", "tcp/80"]
    assert (shown["denied_networks"], shown["reachable_configs"]) == (["192.168.0.0/16"], ["wg1"])
    assert shown["generation"] == before + 1
    assert pushed(panel, "wg0") == Reach(("udp/53", "tcp/80"), ("192.168.0.0/16",), ("wg1",))  # type: ignore[arg-type]
    assert patched(client, "wg0", node_ports=[])["node_ports"] == []


@one_database
@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("node_ports", port)
            for port in ("53", "udp", "udp/0", "udp/65536", "icmp/1", "tcp/90-80", "tcp/080", "UDP/53")
        ),
        *(("denied_networks", network) for network in ("10.8.0.1/24", "all", "")),
        *(("reachable_configs", name) for name in ("wg0", "wg9")),
    ],
)
@pytest.mark.usefixtures("assigned")
def test_a_wrong_value_is_named(client: httpx.Client, field: str, value: str) -> None:
    answer = client.patch("/api/configs/wg0", json={field: [value]})
    assert answer.status_code in {404, 422}, answer.text
    assert answer.json()["field"].startswith(field)


@pytest.mark.usefixtures("assigned")
def test_a_config_that_is_gone_is_reached_by_nobody(client: httpx.Client, panel: Panel) -> None:
    before = patched(client, "wg0", reachable_configs=["wg1"])["generation"]
    assert client.delete("/api/configs/wg1").status_code == 204
    made(client, "/api/configs", name="wg1", pools=["10.9.0.0/24"])
    shown = client.get("/api/configs/wg0").json()
    assert (shown["reachable_configs"], shown["generation"]) == ([], before + 1)
    assert pushed(panel, "wg0") == Reach()


@pytest.mark.usefixtures("assigned")
def test_a_node_that_is_the_name_server_of_its_users_answers_them(client: httpx.Client, panel: Panel) -> None:
    before = client.get("/api/configs/wg0").json()["generation"]
    assert patched(client, "wg0", dns=["9.9.9.9"])["generation"] == before
    assert patched(client, "wg0", dns=["fd00:8::1"])["generation"] == before + 1
    assert pushed(panel, "wg0") == Reach(("tcp/53", "udp/53"))
    assert patched(client, "wg0", dns=[])["generation"] == before + 2
    assert pushed(panel, "wg0") == Reach()


@pytest.mark.usefixtures("assigned")
def test_an_agent_that_has_no_filter_is_sent_none(panel: Panel) -> None:
    with panel.store.read() as tx:
        config = configs.get(tx, "wg0")
        assignment, _ = assignment_rows.of_config(tx, config.id)[0]
        push = desired.push(tx, panel.vault, config, assignment, 0, NONE)
    assert getattr(push, "settings").reach is None  # noqa: B009 - a whole, as the base is 0


@one_database
@pytest.mark.parametrize("port", ["tcp/51900", "tcp/51000-52000"])
@pytest.mark.parametrize("owner", ["the agent of node 'fra1'", "agents"])
def test_the_port_of_an_agent_is_not_opened(client: httpx.Client, port: str, owner: str) -> None:
    if owner != "agents":
        made(client, "/api/nodes", name="fra1", endpoint_addresses=["192.0.2.1"])
    body = {"name": "wg0", "pools": ["10.8.0.0/16"]}
    answers = [client.post("/api/configs", json={**body, "node_ports": ["udp/51900", port]})]
    made(client, "/api/configs", **body)
    answers.append(client.patch("/api/configs/wg0", json={"node_ports": ["udp/51900", port]}))
    for answer in answers:
        assert (answer.status_code, answer.json()["field"]) == (409, "node_ports[1]")
        assert f"{port} has port 51900 of {owner}, which users never reach" in answer.json()["detail"]
    assert patched(client, "wg0", node_ports=["udp/51900"])["node_ports"] == ["udp/51900"]


def test_an_agent_gets_no_port_that_a_config_opens(client: httpx.Client, panel: Panel) -> None:
    made(client, "/api/nodes", name="fra1", endpoint_addresses=["192.0.2.1"], agent_port=9000)
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/16"], node_ports=["tcp/51900", "tcp/8000-8100"])
    answers = {
        "agent_port": client.patch("/api/nodes/fra1", json={"agent_port": 8050}),
        "agent_port of a new node": client.post("/api/nodes", json={"name": "b", "endpoint_addresses": ["192.0.2.2"]}),
    }
    for answer in answers.values():
        assert (answer.status_code, answer.json()["field"]) == (409, "agent_port")
        assert "config 'wg0' opens tcp/" in answer.json()["detail"]
    with panel.store.write() as tx, pytest.raises(Conflict, match="opens tcp/8000-8100 of its nodes") as refusal:
        _join(tx, "fra1", 8001)
    assert refusal.value.field == "port"
    assert client.patch("/api/nodes/fra1", json={"agent_port": 8101}).status_code == 200


def _join(tx: Tx, node: str, port: int) -> None:
    issued = Issued(None, "key", clock.now() + 1000)
    node_agents.enrolled(tx, nodes.get(tx, node), agent_port=port, issued=issued)
