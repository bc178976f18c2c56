"""Everything that the CA has issued is listed, and can be revoked; who does so hears beforehand what that ends."""

import json
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from tests.panel.authority import current
from tests.panel.conftest import made
from wgfleet.agent.enrollment.certificates import make_request
from wgfleet.cli import app
from wgfleet.panel import clock
from wgfleet.panel.agents.authority import described
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.certificates import NO_KEY, Issued
from wgfleet.panel.errors import Conflict, Invalid
from wgfleet.panel.reconcile.agents.panel_start import begin, go_on
from wgfleet.panel.services import certificates, retention
from wgfleet.panel.services.fleet import node_agents, nodes, revocations
from wgfleet.panel.services.retention import Kept
from wgfleet.panel.store.tables import Node

DAY_S = 86400.0


def enroll(client: httpx.Client, node: str = "fra1") -> str:
    token = made(client, f"/api/nodes/{node}/join-token")["token"]
    return str(made(client, "/api/enroll", token=token, csr=make_request("n")[1])["certificate"])


def listed(client: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    answer = client.get("/api/certificates", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def shown(client: httpx.Client, reference: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/certificates/{reference}").json()
    return found


def revoked(client: httpx.Client, reference: str) -> dict[str, Any]:
    answer = client.delete(f"/api/certificates/{reference}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def a_file(panel: Panel, days: float = 1) -> str:
    """Issue what a person calls agents with, as `wgfleet panel client-certificate` does; return its row's id."""
    identity = current(panel).issue_panel_client(clock.now())
    issued = described(identity.certificate)._replace(expires_at=clock.now() + days * DAY_S)
    with panel.store.write() as tx:
        return certificates.of_client(tx, "panel", issued).id


def agent(panel: Panel, name: str, version: str | None, *, connected: bool) -> None:
    with panel.store.write() as tx:
        row = nodes.get(tx, name)
        row.certificate_expires_at, row.agent_version, row.connected = clock.now() + DAY_S, version, connected


def node_row(panel: Panel, name: str = "fra1") -> Node:
    with panel.store.read() as tx:
        return nodes.get(tx, name)


def test_agents_starts_and_files_are_listed_with_whose_they_are(
    client: httpx.Client, panel: Panel, fra1: dict[str, Any]
) -> None:
    certificate = described(enroll(client))
    start = begin(panel.store, panel.vault, panel.authorities, 90)
    further = go_on(panel.store, start.name.number, current(panel), 90)
    person = a_file(panel)
    by_kind = {kind: listed(client, kind=kind) for kind in ("agent", "panel", "client")}
    [mine] = by_kind["agent"]
    assert (mine["serial"], mine["key_digest"]) == (certificate.serial, certificate.key)
    assert (mine["node_id"], mine["node_name"], mine["issued_by"]) == (fra1["id"], "fra1", "node:fra1")
    assert mine["in_use"] is True
    assert {each["id"] for each in by_kind["panel"]} == {start.certificate.id, further.id}
    assert {each["panel_start"] for each in by_kind["panel"]} == {start.name.number}
    assert [(each["id"], each["in_use"]) for each in by_kind["client"]] == [(person, None)]
    assert listed(client, node="fra1") == [mine]
    assert len(listed(client)) == 4
    assert shown(client, str(mine["serial"]).upper())["id"] == mine["id"]
    assert client.get("/api/certificates/none").status_code == 404


@pytest.mark.usefixtures("fra1")
def test_only_an_administrator_revokes_and_it_is_audited(client: httpx.Client, panel: Panel) -> None:
    person = a_file(panel)
    key = made(client, "/api/keys", name="ci", scopes=["read", "write", "nodes", "secrets"])["key"]
    other = {"Authorization": f"Bearer {key}"}
    assert client.delete(f"/api/certificates/{person}", headers=other).status_code == 403
    first = revoked(client, person)
    assert (first["revoked_by"], first["accepted_by"]) == ("key:admin", [])
    assert revoked(client, person)["revoked_at"] == first["revoked_at"]
    entries = client.get("/api/audit-logs", params={"entity_type": "certificate"}).json()["items"]
    assert [(entry["action"], entry["entity_id"]) for entry in entries] == [("revoked", person)]
    assert listed(client, valid=True) == []
    gone = a_file(panel, days=-1)
    assert client.delete(f"/api/certificates/{gone}").status_code == 409


def test_what_a_revocation_ends_is_said_beforehand(client: httpx.Client, panel: Panel, fra1: dict[str, Any]) -> None:
    old = described(enroll(client)).serial
    new = described(enroll(client)).serial
    before, now = (begin(panel.store, panel.vault, panel.authorities, 90).certificate.id for _ in range(2))
    assert shown(client, str(old))["revoking_ends"] is None, "enrolling again has ended it"
    assert "until it has enrolled again" in shown(client, str(new))["revoking_ends"]
    assert shown(client, before)["revoking_ends"].startswith("nothing")
    assert "makes itself a new certificate first" in shown(client, now)["revoking_ends"]
    assert "files" in shown(client, a_file(panel))["revoking_ends"]
    del fra1


@pytest.mark.usefixtures("fra1")
def test_an_agent_whose_certificate_was_revoked_is_not_called_before_it_has_enrolled_again(
    client: httpx.Client, panel: Panel
) -> None:
    stolen = described(enroll(client))
    revoked(client, str(stolen.serial))
    row = node_row(panel)
    assert row.agent_keys == [NO_KEY], "no keys at all would let any in"
    with panel.store.write() as tx, pytest.raises(Invalid, match="revoked"):
        node_agents.renewing(tx, row.id, stolen, [stolen.key])
    with panel.store.write() as tx, pytest.raises(Exception, match="was revoked"):
        node_agents.renewing(tx, row.id, stolen._replace(key="another"), [stolen.key])
    fresh = described(enroll(client))
    assert node_row(panel).agent_keys == [fresh.key]
    assert [each["serial"] for each in listed(client, node="fra1", valid=True)] == [fresh.serial]


@pytest.mark.usefixtures("fra1")
def test_a_key_that_was_revoked_cannot_enroll(client: httpx.Client) -> None:
    request = make_request("n")[1]

    def join() -> httpx.Response:
        token = made(client, "/api/nodes/fra1/join-token")["token"]
        return client.post("/api/enroll", json={"token": token, "csr": request})

    revoked(client, str(described(join().json()["certificate"]).serial))
    refused = join()
    assert (refused.status_code, refused.json()["field"]) == (422, "csr")


def renewal(panel: Panel, node_id: str, shown: str, number: int = 0) -> Issued:
    """Begin to renew a node's certificate for an agent that shows a key; return what it gets."""
    new = Issued(f"abc{number}", f"new{number}", clock.now() + DAY_S)
    with panel.store.write() as tx:
        node_agents.renewing(tx, node_id, new, [shown])
    return new


def test_a_revocation_ends_what_a_renewal_under_way_has_issued(
    client: httpx.Client, panel: Panel, fra1: dict[str, Any]
) -> None:
    for which in (0, 1):
        old = described(enroll(client))
        new = renewal(panel, fra1["id"], old.key, which)
        assert node_row(panel).agent_keys == [old.key, new.key]
        assert "until it has enrolled again" in shown(client, str(old.serial))["revoking_ends"]
        revoked(client, str((old.serial, new.serial)[which]))
        assert node_row(panel).agent_keys == [NO_KEY], "who has the one has the other"
        assert listed(client, node="fra1", valid=True) == []
        with panel.store.write() as tx:
            node_agents.renewed(tx, fra1["id"], new)
        assert node_row(panel).agent_keys == [NO_KEY]


def test_a_revocation_ends_an_agent_of_which_no_key_is_known(
    client: httpx.Client, panel: Panel, fra1: dict[str, Any]
) -> None:
    enroll(client)
    with panel.store.write() as tx:  # as an upgrade from 0.1.0 leaves it, with a renewal that does not end
        nodes.get(tx, "fra1").agent_keys = []
    new = renewal(panel, fra1["id"], "unknown")
    assert shown(client, str(new.serial))["in_use"] is True
    revoked(client, str(new.serial))
    assert node_row(panel).agent_keys == [NO_KEY]


def test_a_renewal_that_an_enrollment_overtakes_gives_nothing_and_takes_nothing(
    client: httpx.Client, panel: Panel, fra1: dict[str, Any]
) -> None:
    before = described(enroll(client))
    under_way = renewal(panel, fra1["id"], before.key)
    fresh = described(enroll(client))
    with panel.store.write() as tx:
        node_agents.renewed(tx, fra1["id"], under_way)
    assert node_row(panel).agent_keys == [fresh.key]
    with pytest.raises(Conflict, match="another agent has enrolled"):
        renewal(panel, fra1["id"], before.key, 1)
    assert node_row(panel).agent_keys == [fresh.key]
    assert [each["serial"] for each in listed(client, node="fra1", valid=True)] == [fresh.serial]


def test_with_a_node_its_certificates_end(client: httpx.Client, fra1: dict[str, Any]) -> None:
    enroll(client)
    assert client.delete("/api/nodes/fra1").status_code == 204
    [row] = listed(client, node=fra1["id"])
    assert (row["revoked_by"], row["in_use"]) == ("key:admin", False)


def test_a_start_ends_no_certificate_and_those_of_earlier_ones_can_be_ended_by_a_command(
    client: httpx.Client, panel: Panel
) -> None:
    person = a_file(panel)
    first = begin(panel.store, panel.vault, panel.authorities, 90)
    further = go_on(panel.store, first.name.number, current(panel), 90)
    second = begin(panel.store, panel.vault, panel.authorities, 90)
    assert {each["id"]: each["in_use"] for each in listed(client, valid=True)} == {
        person: None, first.certificate.id: False, further.id: False, second.certificate.id: True,
    }  # fmt: skip
    code, said = command(client, "revoke", "--earlier-starts")  # nobody can be asked
    assert (code, "Revoke 2 certificates" in said, "copy of this database" in said) == (2, True, True), said
    assert len(listed(client, valid=True)) == 4
    assert command(client, "revoke", "--earlier-starts", "--yes")[0] == 0
    assert {each["id"] for each in listed(client, valid=True)} == {person, second.certificate.id}
    with panel.store.read() as tx:
        known = {each.serial for each in certificates.to_tell(tx)}
    assert known == {described(each.identity.certificate).serial for each in (first.certificate, further)}
    assert command(client, "revoke")[0] == 2
    assert command(client, "revoke", person, "--earlier-starts")[0] == 2


def test_agents_that_do_not_know_of_it_yet_are_named(client: httpx.Client, panel: Panel) -> None:
    versions = {"told": "9", "new": "9", "away": "9", "old": "0.1.0", "none": None}
    for number, (name, version) in enumerate(versions.items(), 1):
        made(client, "/api/nodes", name=name, endpoint_addresses=[f"192.0.2.{number}"])
        if version:
            agent(panel, name, version, connected=name != "away")
    person = a_file(panel)
    answer = revoked(client, person)
    with panel.store.write() as tx:
        newest = certificates.newest_to_tell(tx)
        assert newest is not None
        revocations.told(tx, nodes.get(tx, "told").id, newest)
    found = {each["node"]: each for each in shown(client, person)["accepted_by"]}
    assert {name: each["telling"] for name, each in found.items()} == {
        "new": "under_way", "away": "unreachable", "old": "impossible",
    }  # fmt: skip
    assert found["old"]["until"] == answer["expires_at"]
    assert f"accepted there until it expires {answer['expires_at'][:10]}" in found["old"]["reason"]
    assert found["new"]["until"] is None
    again = a_file(panel)
    assert {each["node"] for each in revoked(client, again)["accepted_by"]} == {"told", "new", "away", "old"}
    with panel.store.write() as tx:
        node_agents.enrolled(tx, nodes.get(tx, "told"), agent_port=1, issued=Issued("1", "k", clock.now() + DAY_S))
    assert "told" in {each["node"] for each in shown(client, person)["accepted_by"]}, "its agent is another now"


def test_only_so_many_are_told_and_expired_ones_go(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = [a_file(panel) for _ in range(4)]
    for each in ended:
        with panel.store.write() as tx:
            revocations.revoke(tx, "key:admin", certificates.get(tx, each))
    monkeypatch.setattr(certificates, "MAX_TOLD", 2)
    with panel.store.read() as tx:
        last = [certificates.get(tx, each) for each in reversed(ended[2:])]
        assert [each.serial for each in certificates.to_tell(tx)] == [row.serial for row in last]
        newest = certificates.newest_to_tell(tx)
        assert newest == last[0].revocation
    later = clock.now() + 100 * DAY_S
    monkeypatch.setattr(clock, "now", lambda: later)
    with panel.store.read() as tx:
        assert certificates.to_tell(tx) == []
        assert certificates.newest_to_tell(tx) is None
    with panel.store.write() as tx:
        assert retention.forget(tx, Kept.CERTIFICATES, later) == 3
    with panel.store.write() as tx:
        assert [row.revocation for row in certificates.page(tx)] == [newest], "or its number would be given again"


def command(client: httpx.Client, *arguments: str) -> tuple[int, str]:
    key = client.headers["Authorization"].removeprefix("Bearer ")
    environment = {"WGFLEET_URL": str(client.base_url), "WGFLEET_API_KEY": key}
    done = CliRunner().invoke(app, ["certificate", *arguments], env=environment)
    return done.exit_code, done.output


@pytest.mark.usefixtures("fra1")
def test_the_command_names_what_ends_and_asks(client: httpx.Client, panel: Panel) -> None:
    serial = str(described(enroll(client)).serial)
    agent(panel, "fra1", "0.1.0", connected=True)
    code, said = command(client, "revoke", serial)
    assert (code, "has enrolled again" in said, "repeat with --yes" in said) == (2, True, True)
    assert listed(client, node="fra1", valid=True)
    code, said = command(client, "revoke", serial, "--yes")
    assert (code, "is refused since" in said) == (0, True), said
    assert not listed(client, node="fra1", valid=True)
    person = a_file(panel)
    code, said = command(client, "revoke", person, "--yes")
    assert code == 0
    assert "warning: node fra1 still accepts it: its agent 0.1.0 cannot be told" in " ".join(said.split())
    code, said = command(client, "list", "--all", "--json")
    assert {each["id"] for each in json.loads(said)} >= {person}
    assert command(client, "show", person)[0] == 0
