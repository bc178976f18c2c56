"""What a scope amounts to: who can come to a private key, and that whoever reads one is in the audit log."""

import gzip
import io
import json
import re
import zipfile
from collections.abc import Iterable
from typing import Any

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from tests.panel.conftest import made
from wgfleet.panel.api import SUBJECTS, Panel
from wgfleet.panel.services import backups, configs
from wgfleet.panel.services.fleet import assignments, nodes
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import sealed
from wgfleet.panel.store.tables import Assignment


def with_scopes(client: httpx.Client, *scopes: str) -> dict[str, str]:
    """Make a key and return the header that uses it."""
    key = made(client, "/api/keys", name=f"k-{'-'.join(scopes)}", scopes=list(scopes))["key"]
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.usefixtures("wg0", "fra1")
def test_without_the_scope_nodes_no_machine_gets_keys(client: httpx.Client) -> None:
    """Whoever may say which machine is a node is given every key that this node carries."""
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/api/nodes", {"name": "evil", "endpoint_addresses": ["203.0.113.66"]}),
        ("POST", "/api/nodes/fra1/join-token", {}),
        ("PATCH", "/api/nodes/fra1", {"agent_host": "203.0.113.67"}),
        ("PATCH", "/api/nodes/fra1", {"agent_port": 666}),
        ("POST", "/api/configs/wg0/nodes", {"node_id": "fra1"}),
    ]
    writer = with_scopes(client, "read", "write", "secrets")
    for method, path, body in calls:
        answer = client.request(method, path, json=body, headers=writer)
        assert answer.status_code == 403, f"{method} {path} {body}: {answer.text}"
        assert "'nodes'" in answer.json()["detail"]
    assert client.patch("/api/nodes/fra1", json={"weight": 2}, headers=writer).status_code == 200
    trusted = with_scopes(client, "write", "nodes")
    for method, path, body in calls:
        assert client.request(method, path, json=body, headers=trusted).status_code in {200, 201}, path


@pytest.mark.usefixtures("wg0", "fra1")
def test_a_node_that_had_the_keys_before_may_be_assigned_again_by_who_may_write(
    client: httpx.Client, panel: Panel
) -> None:
    writer = with_scopes(client, "write")
    made(client, "/api/configs/wg0/nodes", node_id="fra1")
    with panel.store.write() as tx:
        tx.session.query(Assignment).delete()  # as the last step of a removal does
    again = client.post("/api/configs/wg0/nodes", json={"node_id": "fra1"}, headers=writer)
    assert again.status_code == 201, again.text
    made(client, "/api/configs", name="wg1", pools=["10.9.0.0/24"])
    assert client.post("/api/configs/wg1/nodes", json={"node_id": "fra1"}, headers=writer).status_code == 403


@pytest.mark.parametrize("call", ["adopt", "approve"])
@pytest.mark.usefixtures("wg0")
def test_what_takes_over_a_name_or_empties_it_needs_an_administrator(client: httpx.Client, call: str) -> None:
    writer = with_scopes(client, "read", "write", "nodes", "secrets")
    answer = client.post(f"/api/dns/wg0/{call}", json={"plan_id": "x"}, headers=writer)
    assert (answer.status_code, "'admin'" in answer.json()["detail"]) == (403, True), answer.text


def secrets_of(panel: Panel) -> set[str]:
    """Return every secret in the database, in clear."""
    found: set[str] = set()
    with panel.store.read() as tx:
        for secret in sealed.secrets(tx):
            text = panel.vault.open(secret.value, secret.context)
            if secret.column == "content_sealed":
                found.update(re.findall(r"(?:PrivateKey|PresharedKey) = (\S+)", text))
            elif secret.column.endswith("options_sealed"):
                found.update(json.loads(text).values())
            else:
                found.update(line for line in text.splitlines() if not line.startswith("-----"))
    return found


def scopes_of(route: APIRoute) -> set[str]:
    def scopes(dependant: Dependant) -> set[str]:
        return set(dependant.own_oauth_scopes or ()).union(*(scopes(inner) for inner in dependant.dependencies))

    return scopes(route.dependant)


def populated(client: httpx.Client, panel: Panel) -> dict[str, str]:
    """Give the panel one of each thing that has a secret; return what paths call them."""
    peer = made(client, "/api/configs/wg0/peers", name="anna")
    made(client, "/api/node-groups", name="eu")
    made(client, "/api/configs/wg0/nodes", node_id="fra1")
    options = {"provider": "cloudflare", "zone": "a" * 32, "mode": "dry_run", "options": {"token": "the-token-of-dns"}}
    made(client, "/api/configs/wg0/endpoint-group", domain="vpn.example.com", dns=options)
    with panel.store.write() as tx:
        config, node = configs.get(tx, "wg0"), nodes.get(tx, "fra1")
        assignment = assignment_rows.get(tx, config.id, node.id)
        assert assignment is not None
        assignments.serve(tx, assignment)
        backup = backups.create(tx, panel.vault, "test", config, node, assignment, reason="test")
    removal = client.delete("/api/configs/wg0/nodes/fra1", params={"force": True}).json()
    return {
        "config": "wg0",
        "node": "fra1",
        "node_id": "fra1",
        "peer_id": str(peer["id"]),
        "backup_id": str(backup.id),
        "operation_id": str(removal["id"]),
        "group": "eu",
        "key": "admin",
        "user": str(made(client, "/api/users", name="anna", role="viewer")["id"]),
        "sign_in": "1",
        "certificate": "1",
        "device_id": str(peer["id"]),
        "tag": str(made(client, "/api/tags", name="office")["id"]),
        "rule_set": str(made(client, "/api/rule-sets", name="guests")["id"]),
        "provider": "none",
        "passkey": "none",
        "address": "203.0.113.1",
    }


def texts(answer: httpx.Response) -> Iterable[str]:
    """Return what an answer says, unpacked."""
    body = answer.content
    if body[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            yield from (archive.read(name).decode() for name in archive.namelist())
    yield (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body).decode(errors="replace")
    yield from answer.headers.values()


def audited(client: httpx.Client) -> int:
    return int(client.get("/api/audit-logs", params={"limit": 1}).json()["total"])


@pytest.mark.usefixtures("wg0", "fra1")
def test_every_answer_with_a_secret_needs_its_scope_and_is_audited(client: httpx.Client, panel: Panel) -> None:
    names = populated(client, panel)
    writes: dict[str, dict[str, Any]] = {
        "POST /api/nodes/{node}/join-token": {},
        "POST /api/keys": {"name": "ci", "scopes": ["read"]},
        "POST /api/users": {"name": "bea", "role": "admin"},
        "POST /api/users/{user}/password-link": {},
        "POST /api/configs": {"name": "wg7", "pools": ["10.77.0.0/24"]},
        "POST /api/configs/{config}/peers": {"name": "bea"},
        "POST /api/configs/{config}/peers/batch": {"count": 3},
        "POST /api/configs/{config}/endpoint-group": {"domain": "vpn.example.org"},
        "PATCH /api/peers/{peer_id}": {"rotate_keys": True},
        "PATCH /api/configs/{config}": {"keepalive": 20},
        "POST /api/nodes": {"name": "ams1", "endpoint_addresses": ["192.0.2.77"]},
    }
    told: dict[str, int] = {}
    for route in [route for subject in SUBJECTS for route in subject.router.routes]:
        assert isinstance(route, APIRoute)
        method = " ".join(route.methods or ())
        what = f"{method} {route.path}"
        if route.path == "/api/events" or (method != "GET" and what not in writes):
            continue
        before = audited(client)
        answer = client.request(method, route.path.format_map(names), json=writes.get(what))
        said = list(texts(answer))
        shown = {secret for secret in secrets_of(panel) for text in said if secret in text}
        shown |= {found for text in said for found in re.findall(r"wg[fjls]_[\w-]{20,}", text)}
        if "secrets" in scopes_of(route):  # a QR code cannot be searched
            assert answer.status_code == 200, f"{what}: {answer.text}"
        elif shown:
            assert scopes_of(route) <= {"nodes", "admin"}, f"{what} shows a secret"
        else:
            continue
        told[what] = audited(client) - before
    assert {what: rows for what, rows in told.items() if rows < 1} == {}, "shown, and not audited"
    assert set(told) == {
        "GET /api/configs/{config}/files",
        "GET /api/peers/{peer_id}/configs",
        "GET /api/peers/{peer_id}/configs/zip",
        "GET /api/peers/{peer_id}/config",
        "GET /api/peers/{peer_id}/bundle",
        "GET /api/peers/{peer_id}/file",
        "GET /api/peers/{peer_id}/qr",
        "GET /api/backups/{backup_id}/download",
        "POST /api/nodes/{node}/join-token",
        "POST /api/keys",
        "POST /api/users",
        "POST /api/users/{user}/password-link",
    }
