"""Many peers changed by one call: who that is, each once, and on after a panel that died."""

from contextvars import Context
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from tests.panel.conftest import made, one_database
from tests.panel.world import ACTOR, World
from wgfleet.panel import origin
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.operations import OperationState
from wgfleet.panel.domain.peer_changes import PeerAction, who
from wgfleet.panel.errors import Conflict, Invalid
from wgfleet.panel.services import audit, configs, operations, peer_changes
from wgfleet.panel.services.access import api_keys, users
from wgfleet.panel.services.access.callers import ADMIN, ROLES, WRITE, Caller, Role
from wgfleet.panel.services.access.users import UserSpec
from wgfleet.panel.services.fleet import node_groups, peers, tags
from wgfleet.panel.services.moves import cancelling
from wgfleet.panel.services.peer_changes import PeerChangeSpec
from wgfleet.panel.store import listed_peers
from wgfleet.panel.store.listed_peers import PeerFilter
from wgfleet.panel.store.tables import Config, Operation, Peer, PeerChange


@pytest.fixture(autouse=True)
def _few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_changes, "SLICE", 3)


def begin(world: World, config: Config, wanted: PeerFilter, spec: PeerChangeSpec, expect: int | str) -> Operation:
    with world.store.write() as tx:
        if isinstance(expect, int):
            found = listed_peers.ids(tx, wanted)
            expect = who(found) if len(found) == expect else f"{expect}-{0:032}"
        return peer_changes.start(tx, ACTOR, configs.get(tx, config.id), wanted, spec, expect)


def step(world: World, operation: Operation) -> bool:
    with world.store.write() as tx:
        return peer_changes.step(tx, operation.id)


def to_the_end(world: World, operation: Operation) -> Operation:
    while step(world, operation):
        pass
    with world.store.read() as tx:
        return operations.get(tx, operation.id)


def enabled(world: World) -> dict[str, bool]:
    with world.store.read() as tx:
        return {peer.name: peer.enabled for peer in tx.session.query(Peer)}


def test_those_who_fit_are_changed_and_nobody_else(world: World) -> None:
    config, other = world.config(), world.config("wg1", pools=("10.9.0.0/24",))
    world.peers(config, *(f"trial-{i}" for i in range(7)), "boss")
    world.peers(other, "trial-of-another")
    wanted = PeerFilter(config_ids=[config.id], part="TRIAL")
    operation = begin(world, config, wanted, PeerChangeSpec(PeerAction.DISABLE, {"search": "TRIAL"}), 7)
    assert step(world, operation)
    world.peers(config, "trial-late")  # it came after it was asked for
    ended = to_the_end(world, operation)
    assert (ended.state, ended.result["peers_changed"]) == (OperationState.SUCCEEDED, 7)
    found = enabled(world)
    assert {name for name, on in found.items() if not on} == {f"trial-{i}" for i in range(7)}
    with world.store.read() as tx:
        assert tx.session.query(PeerChange).count() == 0
        entries = audit.page(tx, entity_type="peer", action="updated", limit=100)[0]
    assert sorted(entry.details["name"] for entry in entries) == [f"trial-{i}" for i in range(7)]


def test_one_at_a_time_of_as_many_as_was_said(world: World) -> None:
    config = world.config()
    world.peers(config, *"abcd")
    spec, wanted = PeerChangeSpec(PeerAction.DELETE, {}), PeerFilter(config_ids=[config.id])
    with pytest.raises(Conflict, match="4 peers fit now, not 3"):
        begin(world, config, wanted, spec, 3)
    with pytest.raises(Invalid, match="no peer fits"):
        begin(world, config, PeerFilter(config_ids=[config.id], part="zz"), spec, 1)
    operation = begin(world, config, wanted, spec, 4)
    with pytest.raises(Conflict, match=operation.id):
        begin(world, config, wanted, spec, 4)
    with pytest.raises(Conflict, match=operation.id), world.store.read() as tx:
        peer_changes.look(tx, wanted, spec)
    assert step(world, operation)
    with world.store.write() as tx:
        (left,) = tx.session.query(Peer).all()
        peers.delete(tx, ACTOR, configs.get(tx, config.id), [left.id])  # somebody else did
    assert to_the_end(world, operation).state is OperationState.SUCCEEDED
    assert enabled(world) == {}


def test_as_many_others_are_not_those_that_were_shown(world: World) -> None:
    config = world.config()
    first, *_ = world.peers(config, *"abc")
    wanted, spec = PeerFilter(config_ids=[config.id]), PeerChangeSpec(PeerAction.DELETE, {})
    with world.store.read() as tx:
        shown = peer_changes.look(tx, wanted, spec).who
    with world.store.write() as tx:
        peers.delete(tx, ACTOR, configs.get(tx, config.id), [first.id])
    world.peers(config, "d")
    with pytest.raises(Conflict, match="3 others fit now"):
        begin(world, config, wanted, spec, shown)
    assert set(enabled(world)) == set("bcd")
    assert to_the_end(world, begin(world, config, wanted, spec, 3)).state is OperationState.SUCCEEDED


def test_all_get_a_group_and_speeds(world: World) -> None:
    config = world.config()
    world.peers(config, *"abcde")
    wanted = PeerFilter(config_ids=[config.id])
    with world.store.write() as tx:
        group = node_groups.create(tx, ACTOR, "eu")
        generation = configs.get(tx, config.id).generation
    for spec, said in (
        (PeerChangeSpec(PeerAction.SET_GROUP, {}, group="eu"), "next rebalance"),
        (PeerChangeSpec(PeerAction.SET_SPEEDS, {}, speeds={"download_speed": 20_000_000}), "5 peers to other speeds"),
    ):
        with world.store.read() as tx:
            assert said in " ".join(peer_changes.look(tx, wanted, spec).effects)
        assert to_the_end(world, begin(world, config, wanted, spec, 5)).result["peers_changed"] == 5
    with world.store.read() as tx:
        found = tx.session.query(Peer).all()
        assert {(each.group_id, each.download_speed, each.upload_speed) for each in found} == {
            (group.id, 20_000_000, None)
        }
        assert all(each.generation > generation for each in found)
        entries = audit.page(tx, entity_type="peer", action="updated", limit=100)[0]
    assert sorted(entry.details["changed"][0] for entry in entries) == ["download_speed"] * 5 + ["group_id"] * 5
    ended = to_the_end(world, begin(world, config, wanted, PeerChangeSpec(PeerAction.SET_GROUP, {}), 5))
    assert ended.state is OperationState.SUCCEEDED
    with world.store.read() as tx:
        assert {each.group_id for each in tx.session.query(Peer)} == {None}


@pytest.mark.parametrize(
    "lost", ["revoked", "deleted", "disabled", "nothing any more", "not change this any more", None]
)
def test_what_somebody_began_stops_when_that_one_may_do_it_no_more(world: World, lost: str | None) -> None:
    """At its next slice; what is done stays, and is listed. A name that is given again is not the same key."""
    config = world.config()
    world.peers(config, *"abcdefg")
    with world.store.write() as tx:
        api_keys.create_key(tx, ACTOR, "first", [ADMIN])
        key, _ = api_keys.create_key(tx, ACTOR, "ci", [WRITE], configs=[config.id])
        user = users.add(tx, ACTOR, UserSpec("eve", Role.OPERATOR))
        of_key = Caller(key.id, "ci", frozenset({WRITE}), stale_use=False)
        of_user = Caller(user.id, "eve", ROLES[Role.OPERATOR], stale_use=False, session_id="ended since")
    caller = of_user if lost not in {"revoked", None} else of_key

    def begun() -> Operation:
        origin.bind_requester(caller.reference)
        return begin(world, config, PeerFilter(config_ids=[config.id]), PeerChangeSpec(PeerAction.DISABLE, {}), 7)

    operation = Context().run(begun)
    assert operation.requester == caller.reference
    assert step(world, operation)
    with world.store.write() as tx:
        assert operations.unfinished_of(tx, [of_key.reference, of_user.reference]) == {caller.reference: 1}
        row = users.get(tx, user.id)
        if lost == "revoked":
            api_keys.revoke_key(tx, ACTOR, api_keys.get_key(tx, key.id))
            api_keys.create_key(tx, ACTOR, "ci", [WRITE])
        elif lost == "deleted":
            users.delete(tx, ACTOR, row)
        elif lost == "disabled":
            users.update(tx, world.vault, ACTOR, row, {"disabled": True})
        elif lost == "nothing any more":
            users.update(tx, world.vault, ACTOR, row, {"role": Role.VIEWER})
        elif lost is not None:
            users.update(tx, world.vault, ACTOR, row, {"configs": []})
    ended = to_the_end(world, operation)
    if lost is None:
        assert (ended.state, ended.result["peers_changed"]) == (OperationState.SUCCEEDED, 7)
        return
    assert (ended.state, ended.result["peers_changed"], ended.result["peers_left"]) == (OperationState.FAILED, 3, 4)
    assert lost in ended.result["reason"]
    assert list(enabled(world).values()).count(False) == 3


def test_a_cancelled_one_leaves_the_rest_as_they_are(world: World) -> None:
    config = world.config()
    world.peers(config, *"abcdefg")
    wanted = PeerFilter(config_ids=[config.id])
    operation = begin(world, config, wanted, PeerChangeSpec(PeerAction.DISABLE, {}), 7)
    step(world, operation)
    with world.store.write() as tx:
        cancelling.cancel(tx, ACTOR, operations.get(tx, operation.id))
    ended = to_the_end(world, operation)
    assert (ended.state, ended.result["peers_changed"], ended.result["peers_left"]) == (OperationState.FAILED, 3, 4)
    assert "cancelled" in ended.result["reason"]
    assert sum(enabled(world).values()) == 4


def test_who_cancelled_it_is_said_where_it_was_read_just_before(world: World) -> None:
    config = world.config()
    world.peers(config, "a")
    operation = begin(world, config, PeerFilter(config_ids=[config.id]), PeerChangeSpec(PeerAction.DISABLE, {}), 1)
    with world.store.write() as tx:
        before = operations.get(tx, operation.id)
        tx.connection.execute(update(Operation).where(Operation.id == operation.id).values(cancelled_by=ACTOR))
        assert not peer_changes.step(tx, operation.id)
        assert before.result["reason"] == f"it was cancelled by {ACTOR}"


def test_a_tag_that_somebody_cannot_get_is_said_and_one_that_is_gone_ends_it(world: World) -> None:
    config = world.config()
    full, *_ = world.peers(config, "full", "b", "c", "d")
    with world.store.write() as tx:
        many = [tags.create(tx, ACTOR, {"name": f"t{i}"}) for i in range(tags.MAX_TAGS)]
        tags.set_of_peer(tx, full.id, many, [])
        more = tags.create(tx, ACTOR, {"name": "more"})
    wanted = PeerFilter(config_ids=[config.id])
    spec = PeerChangeSpec(PeerAction.ADD_TAG, {}, tag="more")
    ended = to_the_end(world, begin(world, config, wanted, spec, 4))
    assert ended.state is OperationState.FAILED
    assert list(ended.result["refused"]) == ["full"]
    assert ended.result["peers_changed"] == 3
    spec = PeerChangeSpec(PeerAction.REMOVE_TAG, {}, tag="more")
    operation = begin(world, config, PeerFilter(config_ids=[config.id], tag_id=more.id), spec, 3)
    with world.store.write() as tx:
        tags.delete(tx, ACTOR, tags.get(tx, "more"))
    assert "no tag" in to_the_end(world, operation).result["reason"]


def changes(client: httpx.Client, body: dict[str, Any], path: str = "") -> httpx.Response:
    return client.post(f"/api/configs/wg0/peers/changes{path}", json=body)


@pytest.mark.usefixtures("wg0")
def test_a_look_says_to_whom_and_changes_nothing(client: httpx.Client, panel: Panel) -> None:
    made(client, "/api/tags", name="trial")
    rows = [{"name": f"p{i}", "tags": ["trial"] if i < 2 else [], "enabled": i != 3} for i in range(4)]
    made(client, "/api/configs/wg0/peers/batch", peers=rows)
    job = {"field": "date", "value": "2020-01-01T00:00:00Z"}
    for body, effect in (
        ({"action": "delete", "filter": {"tag": "trial"}}, "2 peers are deleted"),
        ({"action": "disable"}, "3 peers are cut off on all nodes"),
        ({"action": "enable"}, "1 peer is let in again"),
        ({"action": "set_job", "job": job, "filter": {"search": "p2"}}, "'p2' would be cut off at once"),
    ):
        found = changes(client, body, "/preview").json()
        assert any(effect in each for each in found["effects"]), found
    made(client, "/api/tags/trial/jobs", **job)
    found = changes(client, {"action": "add_tag", "tag": "trial"}, "/preview").json()
    assert any("'p2'" in each and "cut off at once" in each for each in found["effects"]), found
    assert (found["peers"], found["live"], found["names"]) == (4, 0, ["p0", "p1", "p2", "p3"])
    listed = client.get("/api/configs/wg0/peers").json()["items"]
    assert [(row["enabled"], row["tags"]) for row in listed] == [
        (True, ["trial"]), (True, ["trial"]), (True, []), (False, [])
    ]  # fmt: skip
    assert client.get(f"/api/peers/{listed[2]['id']}/jobs").json()["items"] == []
    body = {"action": "set_job", "job": job, "filter": {"search": "p2"}}
    begun = changes(client, body | {"expect": changes(client, body, "/preview").json()["who"]})
    assert begun.status_code == 202, begun.text
    with panel.store.write() as tx:
        while peer_changes.step(tx, begun.json()["id"]):
            tx.flush()
    (there,) = client.get(f"/api/peers/{listed[2]['id']}/jobs").json()["items"]
    assert there["value"].startswith("2020-01-01")


@pytest.mark.usefixtures("wg0")
def test_a_look_says_how_many_stay_as_they_are_and_why(client: httpx.Client) -> None:
    made(client, "/api/tags", name="trial")
    made(client, "/api/node-groups", name="eu")
    rows: list[dict[str, Any]] = [
        {"name": "p0", "tags": ["trial"], "group": "eu", "download_speed": 10**6},
        {"name": "p1", "enabled": False, "download_speed": 10**6, "upload_speed": 10**6},
        {"name": "p2", "enabled": False},
    ]
    made(client, "/api/configs/wg0/peers/batch", peers=rows)
    for body, said in (
        ({"action": "enable"}, "1 of them stays as it is: switched on already"),
        ({"action": "disable"}, "2 of them stay as they are: switched off already"),
        ({"action": "add_tag", "tag": "trial"}, "1 of them stays as it is: with that tag already"),
        ({"action": "remove_tag", "tag": "trial"}, "2 of them stay as they are: without that tag"),
        ({"action": "set_group", "group": "eu"}, "1 of them stays as it is: that is what they prefer already"),
        ({"action": "set_group"}, "2 of them stay as they are: that is what they prefer already"),
        (
            {"action": "set_speeds", "download_speed": 10**6, "upload_speed": None},
            "1 of them stays as it is: held to those speeds already",
        ),
    ):
        assert changes(client, body, "/preview").json()["stay"] == [said], body
    for body in ({"action": "delete"}, {"action": "set_speeds", "download_speed": 5 * 10**6}):
        assert changes(client, body, "/preview").json()["stay"] == []


@pytest.mark.usefixtures("wg0")
def test_those_that_are_named_are_meant_and_all_of_them_are_of_the_config(client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg1", pools=["10.9.0.0/24"])
    made(client, "/api/configs/wg0/peers/batch", peers=[{"name": f"p{i}", "enabled": i != 1} for i in range(3)])
    other = made(client, "/api/configs/wg1/peers", name="other")["id"]
    first, second, _ = [row["id"] for row in client.get("/api/configs/wg0/peers").json()["items"]]
    body: dict[str, Any] = {"action": "disable", "filter": {"peers": [first, second, first]}}
    assert changes(client, body, "/preview").json()["names"] == ["p0", "p1"]
    body["filter"]["enabled"] = True
    assert changes(client, body, "/preview").json()["names"] == ["p0"]
    for one_more in (other, "f" * 32, "anna"):
        refused = changes(client, {**body, "filter": {"peers": [first, one_more]}}, "/preview")
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["field"] == "filter.peers", refused.text
        assert "1 of these peers" in refused.json()["detail"]
    for wrong in ([], [first] * 1001, [1], first):
        assert changes(client, {"action": "disable", "filter": {"peers": wrong}}, "/preview").status_code == 422


@one_database
@pytest.mark.usefixtures("wg0")
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "add_tag"}, "tag"),
        ({"action": "delete", "tag": "x"}, "tag"),
        ({"action": "set_job"}, "job"),
        ({"action": "add_tag", "tag": "nowhere"}, "tag[0]"),
        ({"action": "set_job", "job": {"field": "date"}}, "value"),
        ({"action": "explode"}, "action"),
        ({"action": "set_group", "group": "nowhere"}, "group"),
        ({"action": "delete", "group": "nowhere"}, "group"),
        ({"action": "set_speeds"}, "download_speed"),
        ({"action": "set_speeds", "upload_speed": 1}, "upload_speed"),
        ({"action": "disable", "upload_speed": None}, "download_speed"),
        ({"action": "delete", "filter": {"colour": "red"}}, "filter.colour"),
        ({"action": "delete", "filter": {"search": " "}}, "filter.search"),
        ({"action": "delete", "filter": {"search": "\u00a0\u3000"}}, "filter.search"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_field(client: httpx.Client, body: dict[str, Any], field: str) -> None:
    made(client, "/api/configs/wg0/peers", name="a")
    for path, more in (("/preview", {}), ("", {"expect": f"1-{0:032}"})):
        refused = changes(client, body | more, path)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field), refused.text
        assert "PeerAction" not in refused.text


@one_database
@pytest.mark.usefixtures("wg0")
def test_what_is_found_is_what_is_downloaded_and_changed_and_nothing_seen_is_not_all(client: httpx.Client) -> None:
    for name in ("anna", "anna 2", "bert"):
        made(client, "/api/configs/wg0/peers", name=name)
    for text in (" anna", "anna ", "\u00a0anna\u3000"):
        listed = client.get("/api/configs/wg0/peers", params={"search": text}).json()["items"]
        table = client.get("/api/configs/wg0/peers/csv", params={"search": text}).text.splitlines()
        found = changes(client, {"action": "disable", "filter": {"search": text}}, "/preview").json()
        assert (len(listed), len(table) - 1, found["peers"]) == (2, 2, 2)
    for path in ("/api/configs/wg0/peers/csv", "/api/configs/wg0/files"):
        refused = client.get(path, params={"search": " "})
        assert (refused.status_code, refused.json()["field"]) == (422, "search")
