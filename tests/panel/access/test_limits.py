"""Limits: who has one sees and changes what is within it, and the rest as if it were not there."""

import asyncio
import re
from http import HTTPStatus
from typing import Any

import fastapi.routing
import httpx
import pytest
from fastapi import Response
from fastapi.routing import APIRoute

from tests.panel.access.people import new_user, signed_in
from tests.panel.access.test_rights import scopes_of
from tests.panel.conftest import made
from wgfleet.panel.api import SUBJECTS, Panel, create_app
from wgfleet.panel.api import limits as limited_routes
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.services import backups, configs
from wgfleet.panel.services.access import api_keys, limits
from wgfleet.panel.services.access.callers import ADMIN, DEVICES, OWN, ROLES, SCOPES, Role
from wgfleet.panel.services.fleet import assignments, nodes
from wgfleet.panel.store import assignments as assignment_rows


def routes() -> list[APIRoute]:
    return [route for subject in SUBJECTS for route in subject.router.routes if isinstance(route, APIRoute)]


def half(client: httpx.Client, panel: Panel, which: str, number: int) -> dict[str, str]:
    """Give the panel one of each thing that can be within a limit; return what paths call them."""
    config, node = f"wg-{which}", f"node-{which}"
    made(client, "/api/configs", name=config, pools=[f"10.{number}.0.0/24"])
    group = made(client, "/api/node-groups", name=f"group-{which}")
    made(client, "/api/nodes", name=node, endpoint_addresses=[f"192.0.2.{number}"], group=group["name"])
    made(client, f"/api/configs/{config}/nodes", node_id=node)
    peer = made(client, f"/api/configs/{config}/peers", name=f"peer-{which}")
    with panel.store.write() as tx:
        row, machine = configs.get(tx, config), nodes.get(tx, node)
        assignment = assignment_rows.get(tx, row.id, machine.id)
        assert assignment is not None
        assignments.serve(tx, assignment)
        backup = backups.create(tx, panel.vault, "test", row, machine, assignment, reason="test")
    removal = client.delete(f"/api/configs/{config}/nodes/{node}", params={"force": True}).json()
    return (
        {
            "config": config,
            "node": node,
            "node_id": node,
            "group": group["name"],
            "peer_id": peer["id"],
            "operation_id": removal["id"],
            "backup_id": backup.id,
            "device_id": peer["id"],
        }
        | dict.fromkeys(
            ("job_id", "link_id", "key", "user", "sign_in", "certificate", "tag", "rule_set", "provider", "passkey"),
            "none",
        )
        | {"address": "203.0.113.1"}
    )


@pytest.fixture
def halves(client: httpx.Client, panel: Panel) -> dict[str, dict[str, str]]:
    return {which: half(client, panel, which, number) for number, which in enumerate(("in", "out"), 10)}


LIMIT: dict[str, Any] = {"configs": ["wg-in"], "node_groups": ["group-in"]}


def limited(client: httpx.Client, *scopes: str, **limit: Any) -> dict[str, str]:
    name = f"k{len(client.get('/api/keys').json()['items'])}"
    key = made(client, "/api/keys", name=name, scopes=list(scopes), **limit)["key"]
    return {"Authorization": f"Bearer {key}"}


def callers(client: httpx.Client) -> dict[str, tuple[dict[str, str], frozenset[str], bool]]:
    """Return, by a name, credentials with the scopes and whether there is a limit."""
    found: dict[str, tuple[dict[str, str], frozenset[str], bool]] = {}
    for role in Role:
        for limit in [{}, LIMIT] if role != Role.ADMIN else [{}]:
            name = f"{role}{'-limited' if limit else ''}"
            new_user(client, name, role, **limit)
            found[f"user {name}"] = signed_in(client, name), ROLES[role], bool(limit)
    for scope in SCOPES:
        found[f"key {scope}"] = limited(client, scope), frozenset({scope}), False
    return found


def expected(route: APIRoute, who: str, scopes: frozenset[str], *, is_limited: bool, within: bool) -> set[int]:
    """Return how a route may answer: 418 and 422 come after the caller was let in."""
    needed = scopes_of(route)
    if not needed:
        return {418, 422}
    (scope,) = needed
    if scope != OWN and scope not in scopes and not (ADMIN in scopes and (scope != DEVICES or "user" in who)):
        return {403}
    if not is_limited or scope in {OWN, DEVICES}:
        return {418, 422}
    if limited_routes.NAMED_BY.keys() & route.param_convertors.keys():
        return {418, 422} if within else {404}
    method = " ".join(route.methods or ())
    return {418, 422} if (method, route.path) in limited_routes.FILTERED else {403}


async def let_in(**_: Any) -> Response:
    """Stand in for what routes do."""
    return Response(status_code=HTTPStatus.IM_A_TEAPOT)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_each_route_lets_in_whom_scope_and_limit_say(
    client: httpx.Client, panel: Panel, halves: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    people = callers(client)
    monkeypatch.setattr(fastapi.routing, "run_endpoint_function", let_in)
    wrong: list[str] = []

    async def call_all() -> None:
        app = httpx.ASGITransport(create_app(panel))
        async with httpx.AsyncClient(transport=app, base_url="http://panel", timeout=120) as visitor:
            for route in routes():
                method = " ".join(route.methods or ())
                for who, (headers, scopes, is_limited) in people.items():
                    for which in halves if is_limited and "{" in route.path else ("out",):
                        path = route.path.format_map(halves[which])
                        answer = await visitor.request(method, path, headers=headers)
                        wanted = expected(route, who, scopes, is_limited=is_limited, within=which == "in")
                        if answer.status_code not in wanted:
                            wrong.append(f"{method} {path} as {who}: {answer.status_code}, not {wanted}")

    asyncio.run(call_all())
    assert not wrong, "\n".join(wrong[:20])


@pytest.mark.usefixtures("halves")
def test_lists_have_what_is_within_the_limit_alone(client: httpx.Client, panel: Panel) -> None:
    me = limited(client, "read", **LIMIT)
    for path in ("/api/configs", "/api/nodes", "/api/node-groups", "/api/operations", "/api/backups"):
        assert len(client.get(path).json()["items"]) == 2, path
        (only,) = client.get(path, headers=me, params={"limit": 1}).json()["items"]
        assert "-out" not in str(only), path
        assert client.get(path, headers=me, params={"limit": 1}).json()["next"] is None, path
    configs_alone = limited(client, "read", configs=["wg-in"])
    assert client.get("/api/nodes", headers=configs_alone).json()["items"] == []
    assert client.get("/api/node-groups", headers=configs_alone).json()["items"] == []
    assert len(client.get("/api/operations", headers=configs_alone).json()["items"]) == 1
    groups_alone = limited(client, "read", node_groups=["group-in"])
    assert client.get("/api/configs", headers=groups_alone).json()["items"] == []
    assert len(client.get("/api/operations", headers=groups_alone).json()["items"]) == 1
    with panel.store.read() as tx:
        row, other = configs.get(tx, "wg-in"), configs.get(tx, "wg-out")
        limit = Limit(frozenset({row.id}), frozenset())
        seen = [limits.sees_event(tx, limit, kind, row.id) for kind in ("config", "node", "operation", "dns")]
        assert seen == [True, False, False, False]
        assert not limits.sees_event(tx, limit, "config", other.id)


@pytest.mark.usefixtures("halves")
def test_a_body_names_nothing_outside_of_the_limit(client: httpx.Client) -> None:
    me = limited(client, "read", "write", "nodes", **LIMIT)
    calls: list[tuple[str, str, dict[str, Any], str]] = [
        ("POST", "/api/configs/wg-in/nodes", {"node_id": "node-out"}, "node_id"),
        ("PATCH", "/api/configs/wg-in", {"reachable_configs": ["wg-out"]}, "reachable_configs[0]"),
        ("POST", "/api/configs/wg-in/preview", {"reachable_configs": ["wg-out"]}, "reachable_configs[0]"),
        ("POST", "/api/configs/wg-in/peers", {"name": "a", "group": "group-out"}, "group"),
        ("PATCH", "/api/nodes/node-in", {"group": "group-out"}, "group"),
        ("PATCH", "/api/nodes/node-in", {"group": None}, "group"),
        ("POST", "/api/nodes/node-in/preview", {"group": "group-out"}, "group"),
        ("POST", "/api/nodes", {"name": "x", "endpoint_addresses": ["192.0.2.9"], "group": "group-out"}, "group"),
        ("POST", "/api/nodes", {"name": "x", "endpoint_addresses": ["192.0.2.9"]}, "group"),
    ]
    for method, path, body, field in calls:
        answer = client.request(method, path, json=body, headers=me)
        assert (answer.status_code, answer.json().get("field")) == (404, field), f"{path} {body}: {answer.text}"
    inside = {"name": "x", "endpoint_addresses": ["192.0.2.9"], "group": "group-in"}
    assert client.post("/api/nodes", json=inside, headers=me).status_code == 201
    assert client.post("/api/configs/wg-in/peers", json={"name": "a"}, headers=me).status_code == 201


@pytest.mark.usefixtures("halves")
def test_where_peers_are_to_move_is_within_the_limit_and_what_is_not_is_as_if_it_were_not_there(
    client: httpx.Client,
) -> None:
    me = limited(client, "read", "write", **LIMIT)
    made(client, "/api/node-groups", name="node-out")
    made(client, "/api/node-groups", name="node-in")
    path, who = "/api/configs/wg-in/peers/changes", {"expect": f"1-{'0' * 32}"}

    def answers(to: str) -> list[tuple[int, str]]:
        body = {"action": "move", "to": to}
        found = [
            client.post(f"{path}/preview", json=body, headers=me),
            client.post(path, json=body | who, headers=me),
        ]
        return [(each.status_code, str({**each.json(), "request_id": ""}).replace(repr(to), "NAME")) for each in found]

    nothing = answers("none")
    assert [status for status, _ in nothing] == [404, 404]
    ids = [client.get(path).json()["id"] for path in ("/api/nodes/node-out", "/api/node-groups/group-out")]
    for to in ("node-out", "group-out", *ids):
        assert answers(to) == nothing, to
    assert "is a node and a node group" in client.post(f"{path}/preview", json={"action": "move", "to": "node-in"}).text
    for to in ("node-in", "group-in"):
        assert {status for status, _ in answers(to)} == {409}, "no room: it serves no more"
        assert "is a node and a node group" not in answers(to)[0][1]


@pytest.mark.usefixtures("halves")
def test_a_tag_that_no_peer_within_the_limit_has_is_as_if_it_were_not_there(client: httpx.Client) -> None:
    me = limited(client, "read", "write", "secrets", **LIMIT)
    for which in ("in", "out"):
        made(client, "/api/tags", name=f"tag-{which}")
        (peer,) = client.get(f"/api/configs/wg-{which}/peers").json()["items"]
        assert client.patch(f"/api/peers/{peer['id']}", json={"tags": [f"tag-{which}"]}).is_success
    own = client.get("/api/configs/wg-in/peers").json()["items"][0]["id"]
    other = client.get("/api/configs/wg-out/peers").json()["items"][0]["id"]
    assert client.post("/api/tags/tag-in/peers", json={"add": [other]}).is_success
    (listed,) = client.get("/api/tags", headers=me).json()["items"]
    assert (listed["name"], listed["peers"]) == ("tag-in", 1), "those of others are not counted"
    assert client.get("/api/tags/tag-in", headers=me).json() == listed
    assert client.get("/api/tags/tag-in").json()["peers"] == 2
    groups_alone = limited(client, "read", node_groups=["group-in"])
    assert client.get("/api/tags", headers=groups_alone).json()["items"] == []
    config, csv = "/api/configs/wg-in", {"Content-Type": "text/csv"}

    def answers(tag: str) -> list[tuple[int, str]]:
        who = {"expect": f"1-{'0' * 32}"}
        calls: list[tuple[str, str, dict[str, Any]]] = [
            ("GET", f"{config}/peers", {"params": {"tag": tag}}),
            ("GET", f"{config}/peers", {"params": {"tag": tag, "search": "peer"}}),
            ("GET", f"{config}/peers/csv", {"params": {"tag": tag}}),
            ("GET", f"{config}/files", {"params": {"tag": tag}}),
            ("POST", f"{config}/peers", {"json": {"name": "a", "tags": [tag]}}),
            ("POST", f"{config}/peers/batch", {"json": {"peers": [{"name": "b", "tags": [tag]}]}}),
            ("PATCH", f"/api/peers/{own}", {"json": {"tags": [tag]}}),
            ("POST", f"{config}/peers/changes/preview", {"json": {"action": "enable", "filter": {"tag": tag}}}),
            ("POST", f"{config}/peers/changes/preview", {"json": {"action": "add_tag", "tag": tag}}),
            ("POST", f"{config}/peers/changes", {"json": {"action": "add_tag", "tag": tag} | who}),
            ("POST", f"{config}/peers/csv/preview", {"content": f"name,tags\nc,{tag}\n", "headers": csv}),
            ("GET", f"/api/tags/{tag}", {}),
        ]
        found = []
        for method, path, sent in calls:
            answer = client.request(method, path, **sent | {"headers": me | sent.get("headers", {})})
            said = answer.json() if "json" in answer.headers.get("content-type", "") else {}
            said.pop("request_id", None)
            found.append((answer.status_code, str(said).replace(tag, "NAME")))
        return found

    assert answers("tag-out") == answers("tag-nil")
    assert {status for status, _ in answers("tag-nil")} <= {200, 403, 404, 422}, (
        "a table is answered with what is wrong"
    )
    statuses = [status for status, _ in answers("tag-in")]
    assert statuses[:3] + statuses[4:9] == [200, 200, 200, 201, 201, 200, 200, 200]


@pytest.mark.usefixtures("halves")
def test_an_owner_of_no_peer_within_the_limit_is_as_if_there_were_none(client: httpx.Client) -> None:
    me = limited(client, "read", "write", "secrets", **LIMIT)
    for name in ("owner-in", "owner-out"):
        new_user(client, name, "self-service")
        (peer,) = client.get(f"/api/configs/wg-{name.removeprefix('owner-')}/peers").json()["items"]
        assert client.patch(f"/api/peers/{peer['id']}", json={"owner": name}).is_success
    own = client.get("/api/configs/wg-in/peers").json()["items"][0]["id"]
    config, csv = "/api/configs/wg-in", {"Content-Type": "text/csv"}

    def answers(name: str, headers: dict[str, str]) -> list[tuple[int, str]]:
        calls: list[tuple[str, str, dict[str, Any]]] = [
            ("GET", f"{config}/peers", {"params": {"owner": name}}),
            ("POST", f"{config}/peers", {"json": {"name": "a", "owner": name}}),
            ("POST", f"{config}/peers/batch", {"json": {"peers": [{"name": "b", "owner": name}]}}),
            ("PATCH", f"/api/peers/{own}", {"json": {"owner": name}}),
            ("POST", f"{config}/peers/csv/preview", {"content": f"name,owner\nc,{name}\n", "headers": csv}),
            ("POST", f"{config}/peers/csv", {"content": f"name,owner\nc,{name}\n", "headers": csv}),
        ]
        found = []
        for method, path, sent in calls:
            answer = client.request(method, path, **sent | {"headers": headers | sent.get("headers", {})})
            found.append((answer.status_code, re.sub('"request_id":"[^"]*"', "", answer.text).replace(name, "NAME")))
        return found

    assert answers("owner-out", me) == answers("owner-nil", me)
    assert [status for status, _ in answers("owner-in", me)] == [200, 201, 201, 200, 200, 201]
    reads_nothing = limited(client, "write", "secrets")
    assert answers("owner-out", reads_nothing) == answers("owner-nil", reads_nothing)


@pytest.mark.usefixtures("halves")
def test_a_node_that_serves_no_config_within_the_limit_is_as_if_it_were_not_there(client: httpx.Client) -> None:
    me = limited(client, "read", "write", "secrets", "nodes", configs=["wg-in"])

    def answers(node: str) -> list[tuple[int, str]]:
        of_config = f"/api/configs/wg-in/nodes/{node}"
        calls: list[tuple[str, str, dict[str, Any]]] = [
            ("DELETE", of_config, {}),
            ("PATCH", of_config, {"json": {"public_port": 1234}}),
            ("GET", f"{of_config}/departure", {}),
            ("GET", f"{of_config}/clients", {}),
            ("POST", f"{of_config}/preview", {"json": {"public_port": 1234}}),
            ("GET", f"{of_config}/relays/deletion", {}),
            ("DELETE", f"{of_config}/relays", {}),
            ("POST", "/api/configs/wg-in/nodes", {"json": {"node_id": node}}),
            ("POST", "/api/configs/wg-in/floating-addresses/203.0.113.1/move", {"json": {"node": node}}),
            ("POST", "/api/backups", {"json": {"config": "wg-in", "node": node}}),
            ("GET", "/api/backups", {"params": {"node": node}}),
            ("GET", "/api/usage", {"params": {"node": node}}),
            ("GET", "/api/configs/wg-in/peers/csv", {"params": {"node": node}}),
        ]
        found = []
        for method, path, sent in calls:
            answer = client.request(method, path, **sent, headers=me)
            said = {**answer.json(), "request_id": ""} if "json" in answer.headers.get("content-type", "") else {}
            found.append((answer.status_code, f"{method} {path} {said}".replace(node, "NAME")))
        return found

    assert answers("node-out") == answers("node-nil")
    assert {status for status, _ in answers("node-out")} == {404}
    own = client.get("/api/configs/wg-in/nodes/node-in/clients", headers=me)
    assert own.status_code == 200, "it serves the config"
    names = [client.get("/api/backups", headers=me, params={"config": name}) for name in ("wg-out", "wg-nil")]
    assert [each.status_code for each in names] == [404, 404]


def test_a_limit_outlives_what_it_is_about_and_never_becomes_none(client: httpx.Client, panel: Panel) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    me = limited(client, "read", configs=["wg0"])
    assert client.get("/api/me", headers=me).json()["configs"] == ["wg0"]
    assert client.delete("/api/configs/wg0").status_code == 204
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    assert client.get("/api/configs", headers=me).json()["items"] == []
    assert client.get("/api/configs/wg0", headers=me).status_code == 404
    with panel.store.write() as tx:
        _, text = api_keys.create_key(tx, "test", "nothing", ["read"], configs=[])
    assert client.get("/api/configs", headers={"Authorization": f"Bearer {text}"}).json()["items"] == []


def test_an_administrator_has_no_limit(client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    new_user(client, "anna", "viewer")
    bodies: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/api/keys", {"name": "k", "scopes": ["read", "admin"], "configs": ["wg0"]}),
        ("POST", "/api/users", {"name": "bea", "role": "admin", "node_groups": []}),
        ("PATCH", "/api/users/anna", {"role": "admin", "configs": ["wg0"]}),
    ]
    for method, path, body in bodies:
        assert client.request(method, path, json=body).status_code == 422, path
    me = signed_in(client)
    assert client.patch("/api/users/anna", json={"configs": ["wg0"]}).json()["configs"] == ["wg0"]
    assert client.get("/api/audit-logs", headers=me).status_code == 403
    assert client.patch("/api/users/anna", json={"configs": None}).json()["configs"] is None
    assert client.get("/api/audit-logs", headers=me).status_code == 200


def test_usage_of_a_peer_outside_of_the_limit_is_that_of_none(client: httpx.Client) -> None:
    for config, port in (("wg-in", 51821), ("wg-out", 51822)):
        body = {"name": config, "pools": [f"10.{port - 51800}.0.0/24"], "listen_port": port}
        client.post("/api/configs", json=body).raise_for_status()
    out = client.post("/api/configs/wg-out/peers", json={"name": "anna"}).json()["id"]
    me = limited(client, "read", configs=["wg-in"])
    for peer in (out, "wg-out/anna", "wg-nil/anna", "0" * len(out)):
        answer = client.get("/api/usage", params={"peer": peer}, headers=me)
        assert (answer.status_code, answer.json()["detail"]) == (404, f"there is no peer '{peer}'")
