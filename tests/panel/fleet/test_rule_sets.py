"""Destination rules in the panel: whose set counts, what nodes get and when, what is refused, and what is said."""

from typing import Any

import httpx
import pytest

from tests.panel.clients.test_files import serve
from tests.panel.conftest import made, one_database
from tests.panel.fleet.test_speeds import FollowingNode, of_node, patch, peer
from tests.panel.world import ACTOR, World
from wgfleet.panel.api import Panel
from wgfleet.panel.domain import addressing
from wgfleet.panel.reconcile.agents.render_cache import RenderCache
from wgfleet.panel.services import configs, rule_sets
from wgfleet.panel.services.configs import ConfigChanges
from wgfleet.panel.services.fleet import desired, rule_effects
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.protocol import features
from wgfleet.protocol.desired import DesiredInterface
from wgfleet.protocol.destinations import DestinationPlace
from wgfleet.protocol.features import Feature

GUESTS = "\u0645\u0647\u0645\u0627\u0646\u200c\u0647\u0627"  # in Persian, with a joiner
NO_USERS = {"allow": False, "place": "users"}
WEB = {"allow": True, "transport": "tcp", "ports": ["443", "8000-8100"]}


class RuledNode(FollowingNode):
    """One that is asked for its rules."""

    def rules(self) -> dict[str, str]:
        """Take what is new; return the names of the sets of those that have one, by name."""
        has = self.take()
        shown = self.client.get("/api/configs/wg0/peers").json()["items"]
        of = {each["public_key"]: each for each in shown}
        found = {key: each.rule_set for key, each in has.peers.items() if key in of}
        assert set(found.values()) - {""} <= {each.name for each in has.settings.rule_sets}
        names = self._names()
        assert {of[key]["name"]: names.get(set_id) for key, set_id in found.items()} == {
            each["name"]: each["rule_set"] for each in shown
        }
        return {of[key]["name"]: names[set_id] for key, set_id in found.items() if set_id}

    def sets(self) -> list[str]:
        """Return the names of the sets that the node knows."""
        names = self._names()
        return sorted(names[each.name] for each in self.take().settings.rule_sets)

    def _names(self) -> dict[str, str]:
        return {each["id"]: each["name"] for each in self.client.get("/api/rule-sets").json()["items"]}


@pytest.fixture
def node(panel: Panel, client: httpx.Client, wg0: dict[str, Any]) -> RuledNode:
    assert wg0["rule_set"] is None
    serve(panel, client, "wg0", "fra1")
    return RuledNode(panel, client)


def rule_set(client: httpx.Client, name: str, *rules: dict[str, Any], **more: object) -> dict[str, Any]:
    return made(client, "/api/rule-sets", name=name, rules=list(rules), **more)


def test_the_nearest_counts_is_shown_and_reaches_nodes_by_deltas(client: httpx.Client, node: RuledNode) -> None:
    for name in ("all", "guests", "own"):
        rule_set(client, name, NO_USERS)
    made(client, "/api/tags", name="beta", rule_set="guests")
    anna, bert = peer(client, "anna", tags=["beta"]), peer(client, "bert")
    carl = peer(client, "carl", rule_set="own")
    assert node.rules() == {"anna": "guests", "carl": "own"}
    assert node.sets() == ["guests", "own"]
    held = {each["name"]: each for each in client.get(f"/api/peers/{anna}/details").json()["held"]}
    assert (held["rule_set"]["value"], held["rule_set"]["origin"]) == ("guests", "tag 'beta'")
    assert patch(client, "/api/configs/wg0", rule_set="all")["rule_set"] == "all"
    assert node.rules() == {"anna": "guests", "bert": "all", "carl": "own"}
    patch(client, f"/api/peers/{bert}", rule_set="")  # to none
    assert node.rules() == {"anna": "guests", "carl": "own"}
    patch(client, f"/api/peers/{bert}", rule_set=None, tags=["beta"])
    assert client.post("/api/tags/beta/peers", json={"add": [carl], "remove": [anna]}).status_code == 200
    assert node.rules() == {"anna": "all", "bert": "guests", "carl": "own"}
    patch(client, "/api/rule-sets/own", name="mine")
    patch(client, "/api/tags/beta", rule_set="mine")
    assert node.rules() == {"anna": "all", "bert": "mine", "carl": "mine"}
    assert node.sets() == ["all", "mine"]
    assert client.delete("/api/tags/beta").status_code == 204
    assert client.delete(f"/api/peers/{carl}").status_code == 204
    assert (node.rules(), node.sets()) == ({"anna": "all", "bert": "all"}, ["all"])
    patch(client, "/api/configs/wg0", rule_set=None)
    assert (node.rules(), node.sets()) == ({}, [])


def test_a_change_of_a_set_reaches_nodes_and_its_name_is_no_news(client: httpx.Client, node: RuledNode) -> None:
    found = rule_set(client, "guests", NO_USERS)
    peer(client, "anna", rule_set=found["id"])
    assert node.rules() == {"anna": "guests"}
    before = client.get("/api/configs/wg0").json()["generation"]
    patch(client, "/api/rule-sets/guests", name="visitors", rules=[NO_USERS])
    assert client.get("/api/configs/wg0").json()["generation"] == before
    patch(client, "/api/rule-sets/visitors", rules=[WEB], otherwise_allowed=False)
    node.rules()
    assert node.has is not None
    (on_node,) = node.has.settings.rule_sets
    assert (on_node.otherwise_allowed, on_node.rules[0].ports) == (False, ("443", "8000-8100"))
    rule_set(client, "unused")
    assert node.sets() == ["visitors"]


def test_an_older_agent_gets_what_it_knows_and_is_named(panel: Panel, client: httpx.Client, node: RuledNode) -> None:
    rule_set(client, "guests", NO_USERS)
    peer(client, "anna", rule_set="guests")
    assert node.rules() == {"anna": "guests"}
    with panel.store.write() as tx:
        config, assignment = of_node(tx)
        push = desired.push(tx, panel.vault, config, assignment, 0, features.ALL - {Feature.RULES})
        assert isinstance(push, DesiredInterface)
        assert push.settings.rule_sets == ()
        assert {each.rule_set for each in push.peers.values()} == {""}
        from wgfleet.panel.store import nodes as node_rows  # noqa: PLC0415 - what a connection writes

        machine = node_rows.find(tx, "fra1")
        assert machine is not None
        machine.agent_version, machine.agent_features = "0.1.0", ["features"]
    assert client.get("/api/rule-sets/guests").json()["not_held_on"] == ["fra1"]
    (*_, said) = client.post("/api/configs/wg0/preview", json={"rule_set": "guests"}).json()["effects"] or [""]
    assert said == "", "who has it already is told nothing"
    bert = peer(client, "bert")
    said = client.post(f"/api/peers/{bert}/preview", json={"rule_set": "guests"}).json()["effects"][-1]
    assert "fra1" in said
    assert "nobody to rules" in said


@one_database
@pytest.mark.parametrize(
    "body",
    [
        {"name": "bert"},
        {"public_key": "short"},
        {"group": "nowhere"},
        {"owner": "nobody"},
        {"networks": ["10.8.0.0/16"]},
        {"rule_set": "gone"},
    ],
)
def test_a_look_at_a_change_of_a_peer_is_refused_for_what_the_change_is(
    client: httpx.Client, wg0: dict[str, Any], body: Any
) -> None:
    assert wg0["rule_set"] is None
    anna, _ = peer(client, "anna"), peer(client, "bert")
    looked = client.post(f"/api/peers/{anna}/preview", json=body)
    changed = client.patch(f"/api/peers/{anna}", json=body)
    assert changed.is_client_error
    assert looked.json() == {**changed.json(), "request_id": looked.json()["request_id"]}


@one_database
@pytest.mark.parametrize(
    ("rule", "field", "said"),
    [
        ({"networks": ["10.0.0.0/33"]}, "rules[0].networks[0]", "is not a network"),
        ({"networks": ["10.0.0.1/8"]}, "rules[0].networks[0]", "the network is 10.0.0.0/8"),
        ({"networks": ["::ffff:10.0.0.0/104"]}, "rules[0].networks[0]", "write 10.0.0.0/8"),
        ({"networks": ["example.org"]}, "rules[0].networks[0]", "is not a network"),
        ({"ports": ["443"]}, "rules[0].transport", "must be tcp or udp where there are ports"),
        ({"ports": ["443"], "transport": "icmp"}, "rules[0].transport", "must be tcp or udp"),
        ({"ports": ["70000"], "transport": "tcp"}, "rules[0].ports[0]", "443 or 8000-8100"),
        ({"ports": ["90-80"], "transport": "udp"}, "rules[0].ports[0]", "443 or 8000-8100"),
        ({"transport": "sctp"}, "rules[0].transport", "'tcp'"),
        ({"place": "mars"}, "rules[0].place", "'users'"),
        ({"networks": ["10.0.0.0/8"] * 501}, "rules[0].networks", "500"),
        ({"ports": ["1"] * 16, "transport": "tcp"}, "rules[0].ports", "15"),
    ],
)
def test_what_is_no_rule_is_refused_at_its_field(
    client: httpx.Client, rule: dict[str, Any], field: str, said: str
) -> None:
    answer = client.post("/api/rule-sets", json={"name": "guests", "rules": [{"allow": True, **rule}]})
    assert answer.status_code == 422, answer.text
    assert field in {each["field"] for each in answer.json()["errors"]} if "errors" in answer.json() else True
    assert field in answer.text
    assert said in answer.text


def test_sets_that_say_the_same_twice_or_too_much_are_refused(client: httpx.Client) -> None:
    body = {"name": "guests", "rules": [WEB, {**WEB, "allow": False}]}
    answer = client.post("/api/rule-sets", json=body)
    assert (answer.status_code, "rules[1]" in answer.text, "rule 1 fits the same" in answer.text) == (422, True, True)
    many = [{"allow": True, "networks": [f"10.{i}.{k}.0/24" for k in range(250)]} for i in range(9)]
    answer = client.post("/api/rule-sets", json={"name": "guests", "rules": many})
    assert (answer.status_code, "at most 2000 networks" in answer.text) == (422, True)
    answer = client.post("/api/rule-sets", json={"name": "guests", "rules": [NO_USERS] * 101})
    assert (answer.status_code, "100" in answer.text) == (422, True)


def test_names_are_any_text_once_and_a_set_that_somebody_has_stays(client: httpx.Client, node: RuledNode) -> None:
    rule_set(client, GUESTS, NO_USERS)
    answer = client.post("/api/rule-sets", json={"name": GUESTS})
    assert (answer.status_code, "already exists" in answer.text) == (409, True)
    for name in ("0" * 32, "a/b", "", "x" * 65, " a", ".", ".."):
        assert client.post("/api/rule-sets", json={"name": name}).status_code == 422, name
    peer(client, "anna", rule_set=GUESTS)
    made(client, "/api/tags", name="office", rule_set=GUESTS)
    assert node.rules() == {"anna": GUESTS}
    for path in (f"/api/rule-sets/{GUESTS}", f"/api/rule-sets/{GUESTS}/deletion"):
        refused = client.delete(path) if not path.endswith("deletion") else client.get(path)
        assert refused.status_code == 409
        assert "tag 'office', 1 peer" in refused.json()["detail"]
    assert client.get(f"/api/rule-sets/{GUESTS}").json()["held"] == 1
    patch(client, "/api/tags/office", rule_set=None)
    patch(client, f"/api/peers/{client.get('/api/configs/wg0/peers').json()['items'][0]['id']}", rule_set="")
    assert client.get(f"/api/rule-sets/{GUESTS}/deletion").json() == {"effects": []}
    assert client.delete(f"/api/rule-sets/{GUESTS}").status_code == 204
    assert (node.rules(), node.sets()) == ({}, [])
    for path in ("/api/configs/wg0", "/api/tags/office"):
        answer = client.patch(path, json={"rule_set": "nobody"})
        assert (answer.status_code, "rule_set" in answer.text, "GET /api/rule-sets" in answer.text) == (422, True, True)


def test_who_is_cut_off_from_what_is_said_beforehand(client: httpx.Client, node: RuledNode) -> None:
    patch(client, "/api/configs/wg0", dns=["10.8.0.1"], node_ports=["tcp/9000"])
    rule_set(client, "web", WEB, otherwise_allowed=False)
    peer(client, "anna")
    peer(client, "bert", rule_set="")
    said = client.post("/api/configs/wg0/preview", json={"rule_set": "web"}).json()["effects"]
    assert node.rules() == {}
    assert (
        "1 peer of 'wg0' no longer reaches: tcp but for 443, 8000-8100; udp; icmp; other protocols to anywhere"
        in said[0]
    )
    for part in ("udp/53 and tcp/53", "pings of 10.8.0.1", "(node_ports)"):
        assert any(part in each for each in said), part
    patch(client, "/api/configs/wg0", rule_set="web")
    found = client.get("/api/rule-sets/web").json()
    assert (found["held"], found["configs"], len(found["warnings"])) == (1, ["wg0"], 3)
    opened = [{"allow": True, "place": "node"}, {"allow": True, "transport": "udp", "ports": ["53"]}, WEB]
    (said,) = client.post("/api/rule-sets/web/preview", json={"rules": opened}).json()["effects"]
    assert "reaches from now on" in said
    patch(client, "/api/rule-sets/web", rules=opened)
    assert client.get("/api/rule-sets/web").json()["warnings"] == []
    made(client, "/api/tags", name="office")
    (anna, *_) = client.get("/api/configs/wg0/peers").json()["items"]
    client.post("/api/tags/office/peers", json={"add": [anna["id"]]})
    rule_set(client, "apart", NO_USERS)
    said = client.post("/api/tags/office/preview", json={"rule_set": "apart"}).json()["effects"]
    assert any("reaches from now on" in each for each in said)
    patch(client, "/api/tags/office", rule_set="apart")
    said = client.get("/api/tags/office/deletion").json()["effects"]
    assert any("no longer reaches" in each for each in said)
    assert client.post(f"/api/peers/{anna['id']}/preview", json={"rule_set": "apart"}).json()["effects"] == []


def test_who_is_limited_to_some_configs_sees_their_sets_and_gives_no_other(
    client: httpx.Client, node: RuledNode
) -> None:
    made(client, "/api/configs", name="wg1", pools=["10.9.0.0/24"])
    for name in ("guests", "servers", "unused"):
        rule_set(client, name, NO_USERS)
    patch(client, "/api/configs/wg0", rule_set="guests")
    patch(client, "/api/configs/wg1", rule_set="servers")
    made(client, "/api/tags", name="office", rule_set="guests")
    peer(client, "anna", tags=["office"])
    key = made(client, "/api/keys", name="limited", scopes=["read", "write"], configs=["wg0"])["key"]
    mine = {"Authorization": f"Bearer {key}"}
    (seen,) = client.get("/api/rule-sets", headers=mine).json()["items"]
    assert (seen["name"], seen["configs"], seen["tags"], seen["held"]) == ("guests", ["wg0"], [], 1)
    assert client.get("/api/rule-sets/guests", headers=mine).status_code == 200
    assert client.get("/api/rule-sets/servers", headers=mine).status_code == 404
    assert client.patch("/api/rule-sets/guests", json={"rules": []}, headers=mine).status_code == 403
    for path, body in (
        ("/api/configs/wg0", {"rule_set": "servers"}),
        (f"/api/peers/{client.get('/api/configs/wg0/peers').json()['items'][0]['id']}", {"rule_set": "unused"}),
    ):
        answer = client.patch(path, json=body, headers=mine)
        assert (answer.status_code, "there is no rule set" in answer.text) == (422, True)
    answer = client.post("/api/configs/wg0/peers", json={"name": "bert", "rule_set": "servers"}, headers=mine)
    assert answer.status_code == 422
    answer = client.post("/api/configs/wg0/peers", json={"name": "bert", "rule_set": "guests"}, headers=mine)
    assert answer.status_code == 201
    assert node.rules() == {"anna": "guests", "bert": "guests"}


def test_a_list_says_of_each_set_who_is_held_to_it(client: httpx.Client, node: RuledNode) -> None:
    made(client, "/api/configs", name="wg1", pools=["10.9.0.0/24"])
    for name in ("all", "guests", "own", "unused"):
        rule_set(client, name, NO_USERS)
    made(client, "/api/tags", name="office", rule_set="guests")
    peer(client, "anna", tags=["office"])
    peer(client, "bert", rule_set="own")
    made(client, "/api/configs/wg1/peers/batch", count=3)
    patch(client, "/api/configs/wg1", rule_set="all")
    held = {each["name"]: each["held"] for each in client.get("/api/rule-sets").json()["items"]}
    assert held == {"all": 3, "guests": 1, "own": 1, "unused": 0}
    assert node.sets() == ["guests", "own"]


def test_own_things_of_an_independent_config_are_those_of_its_nodes_one_after_another(world: World) -> None:
    config = world.config(mode="independent", pools=("10.8.0.0/16", "fd08::/56"))
    world.serving(config, "fra1", "ams1")
    with world.store.write() as tx:
        guests = rule_sets.create(tx, ACTOR, {"name": "guests"})
        changes: ConfigChanges = {"rule_set": guests.id, "dns": ["10.8.0.1", "lan", "10.8.9.9", "1.1.1.1"]}
        configs.update(tx, ACTOR, configs.get(tx, config.id), changes)
    with world.store.read() as tx:
        (found,) = rule_effects.at_present(tx, [config.id])
        wanted = [
            addressing.gateway(pool.network)
            for assignment, _ in assignment_rows.of_config(tx, config.id)
            for pool in assignment_rows.pools(tx, config.id, assignment.id)
        ]
    assert list(found.own.gateways) == wanted
    assert len(wanted) == 4
    assert found.own.name_servers == {
        "10.8.0.1": DestinationPlace.NODE,
        "10.8.9.9": DestinationPlace.USERS,
        "1.1.1.1": DestinationPlace.OUTSIDE,
    }


def test_many_that_are_made_by_one_call_may_have_rules(client: httpx.Client, node: RuledNode) -> None:
    rule_set(client, "guests", NO_USERS)
    assert node.rules() == {}
    body = {"peers": [{"name": "anna"}, {"name": "bert", "rule_set": "guests"}, {"name": "carl", "rule_set": ""}]}
    rows = made(client, "/api/configs/wg0/peers/batch", **body)["items"]
    assert [row["rule_set"] for row in rows] == [None, "guests", None]
    assert node.rules() == {"bert": "guests"}


def test_tables_of_peers_name_their_sets(client: httpx.Client, node: RuledNode) -> None:
    rule_set(client, "guests", NO_USERS)
    assert client.post("/api/rule-sets", json={"name": "none"}).status_code == 422
    peer(client, "anna")
    path = "/api/configs/wg0/peers/csv"
    text = {"Content-Type": "text/csv"}

    def sent(table: str, to: str = path) -> dict[str, Any]:
        answer = client.post(f"{to}?existing=update", content=table, headers=text)
        assert answer.status_code in {200, 201, 422}, answer.text
        found: dict[str, Any] = answer.json()
        return found

    sent("name,rule_set\nanna,guests\nbert,none\ncarl,guests\ndora,\n")
    assert node.rules() == {"anna": "guests", "carl": "guests"}
    own = {each["name"]: each for each in client.get("/api/configs/wg0/peers").json()["items"]}
    held = client.get(f"/api/peers/{own['bert']['id']}/details").json()["held"][-1]
    assert (held["value"], held["origin"]) == ("", "peer")
    assert "there is no rule set" in str(sent("name,rule_set\nanna,nobody\n", f"{path}/preview"))
    sent(client.get(path).text.replace("guests", "none"))
    assert node.rules() == {}


def test_the_audit_log_has_rules_as_people_write_them(client: httpx.Client) -> None:
    row = rule_set(client, "web", WEB, NO_USERS)
    assert client.patch(f"/api/rule-sets/{row['id']}", json={"rules": [NO_USERS]}).status_code == 200
    updated, created = client.get("/api/audit-logs", params={"entity_type": "rule_set"}).json()["items"]
    assert created["details"]["rules"] == ["allow tcp/443,8000-8100", "deny users"]
    assert updated["details"]["rules"] == ["deny users"]


def test_whom_a_tag_cuts_off_from_what_is_said_where_it_is_given_and_taken(
    client: httpx.Client, node: RuledNode
) -> None:
    rule_set(client, "guests", NO_USERS)
    made(client, "/api/tags", name="office", rule_set="guests")
    anna, _ = peer(client, "anna"), peer(client, "bert", rule_set="")
    said = "1 peer of 'wg0' no longer reaches: everything to other users; that ends open connections too"
    given = client.post("/api/tags/office/peers/preview", json={"add": [anna]}).json()
    assert given == {"effects": [said]}
    assert client.post(f"/api/peers/{anna}/preview", json={"tags": ["office"]}).json() == {"effects": [said]}
    body = {"filter": {}, "action": "add_tag", "tag": "office"}
    looked = client.post("/api/configs/wg0/peers/changes/preview", json=body).json()
    assert said in looked["effects"], looked
    assert node.rules() == {}
    patch(client, f"/api/peers/{anna}", tags=["office"])
    assert node.rules() == {"anna": "guests"}
    looked = client.post("/api/configs/wg0/peers/changes/preview", json={**body, "action": "remove_tag"}).json()
    assert any("reaches from now on" in each for each in looked["effects"])
    taken = client.post("/api/tags/office/peers/preview", json={"remove": [anna]}).json()["effects"]
    assert any("reaches from now on" in each for each in taken)


def test_older_agents_share_one_rendering_as_long_as_nobody_has_rules(
    panel: Panel, client: httpx.Client, node: RuledNode
) -> None:
    assert node.rules() == {}
    rule_set(client, "guests", NO_USERS)
    bert = peer(client, "bert")
    older, renderings = features.ALL - {Feature.RULES}, RenderCache()

    def shared() -> bytes:
        with panel.store.read() as tx:
            config, assignment = of_node(tx)
            return desired.prepared(tx, panel.vault, config, assignment, 0, older, renderings).shared

    assert b"allowed_ips" in shared()
    patch(client, f"/api/peers/{bert}", rule_set="")
    assert b"allowed_ips" in shared()
    patch(client, f"/api/peers/{bert}", rule_set="guests")
    assert shared() == b""
