"""Links to files: what is kept of them, how often they work, and who cannot use them any more."""

import httpx
import pytest
from sqlalchemy import select

from tests.panel.clients.test_files import serve
from tests.panel.conftest import made, one_database
from tests.panel.world import ACTOR, World
from wgfleet.panel import clock
from wgfleet.panel.api import Panel
from wgfleet.panel.errors import Conflict, Invalid, Unauthorized
from wgfleet.panel.services import audit, configs
from wgfleet.panel.services.clients import share_links
from wgfleet.panel.services.clients.share_links import FetchedFiles, KnownLink, LinkPasswordMissing, LinkPasswordWrong
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.store.tables import Peer, ShareLink

PHRASE, PERSIAN = "a lighthouse for geese", "blue-\u06f4\u06f2-harbor"


class Shared:
    """A peer with a file, of which links are made."""

    def __init__(self, world: World, mode: str = configs.CLUSTER, *, serves: bool = True) -> None:
        self.world = world
        self.config = world.config(mode=mode)
        if serves:
            world.serving(self.config, "ams1")
        (self.peer,) = world.peers(self.config, "alice")

    def link(self, *, one_time: bool = True, lasts_s: float = 3600.0, password: str | None = None) -> str:
        kept = share_links.hashed(password)
        with self.world.store.write() as tx:
            peer = peers.get(tx, self.peer.id)
            return share_links.create(tx, ACTOR, peer, one_time=one_time, lasts_s=lasts_s, password_hash=kept)[1]

    def known(self, secret: str) -> KnownLink:
        with self.world.store.read() as tx:
            return share_links.known(tx, secret)

    def fetch(self, secret: str, visit: str = "one") -> FetchedFiles:
        known = self.known(secret)
        with self.world.store.write() as tx:
            return share_links.fetch(tx, self.world.vault, known, visit, "203.0.113.5")


@pytest.fixture
def shared(world: World) -> Shared:
    return Shared(world)


def test_one_for_one_time_is_good_for_one_browser_and_some_minutes(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = shared.link()
    assert "PrivateKey" in shared.fetch(secret).files[0].text
    assert shared.fetch(secret).peer_name == "alice", "the same browser downloads what it was shown"
    with pytest.raises(Unauthorized):
        shared.fetch(secret, "two")
    later = clock.now() + share_links.AGAIN_S + 1
    monkeypatch.setattr(clock, "now", lambda: later)
    with pytest.raises(Unauthorized):
        shared.fetch(secret)


def test_one_with_a_date_is_good_until_then(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = shared.link(one_time=False, lasts_s=3600.0)
    assert shared.fetch(secret).files == shared.fetch(secret, "two").files
    later = clock.now() + 3601
    monkeypatch.setattr(clock, "now", lambda: later)
    with pytest.raises(Unauthorized):
        shared.fetch(secret)


@pytest.mark.parametrize("mode", [configs.CLUSTER, configs.INDEPENDENT])
def test_one_for_one_time_is_not_used_up_where_no_node_serves_the_file_yet(world: World, mode: str) -> None:
    early = Shared(world, mode, serves=False)
    secret = early.link()
    with pytest.raises(Conflict) as refused:
        early.fetch(secret)
    assert "try it again later" in str(refused.value)
    assert "wg0" not in str(refused.value), "who was given a link assigns no nodes"
    world.serving(early.config, "ams1")
    assert "PrivateKey" in early.fetch(secret, "two").files[0].text


def test_nothing_opens_without_the_secret_and_nothing_keeps_it(shared: Shared) -> None:
    secret = shared.link()
    with shared.world.store.read() as tx:
        (row,) = tx.session.scalars(select(ShareLink))
        entries = [entry.details for entry in audit.page(tx, entity_type="share_link", limit=9)[0]]
        kept = {column.name: getattr(row, column.name) for column in ShareLink.__table__.columns}
    assert secret not in f"{kept} {entries}"
    for other in (kept["digest"], kept["id"], "", secret[:-1], "wgd_"):
        with pytest.raises(Unauthorized):
            shared.fetch(other)
    shared.fetch(secret)
    with shared.world.store.read() as tx:
        (opened,) = audit.page(tx, entity_type="share_link", action="opened", limit=9)[0]
        read = audit.page(tx, entity_type="peer", action="read_config", limit=9)[0]
    assert (opened.actor, opened.details["peer"], opened.details["remote"]) == (
        f"link:{kept['id']}", "alice", "203.0.113.5"
    )  # fmt: skip
    assert [entry.actor for entry in read] == [f"link:{kept['id']}"]


def test_a_withdrawn_one_and_that_of_a_deleted_peer_open_nothing(shared: Shared) -> None:
    withdrawn, left = shared.link(), shared.link()
    with shared.world.store.write() as tx:
        first, _ = share_links.listing(tx, shared.peer.id)
        share_links.delete(tx, ACTOR, peers.get(tx, shared.peer.id), first.id)
    with pytest.raises(Unauthorized):
        shared.fetch(withdrawn)
    with shared.world.store.write() as tx:
        tx.session.delete(tx.session.get(Peer, shared.peer.id))
    with pytest.raises(Unauthorized):
        shared.fetch(left)


@one_database
def test_there_are_twenty_at_most_and_none_for_longer_than_a_season(shared: Shared) -> None:
    for _ in range(share_links.MOST):
        shared.link()
    with pytest.raises(Conflict):
        shared.link()
    for lasts_s in (0.0, share_links.LONGEST_S + 1):
        with pytest.raises(Invalid):
            shared.link(lasts_s=lasts_s)


@one_database
def test_a_password_is_asked_for_and_proven_in_one_browser_alone(shared: Shared) -> None:
    link = shared.known(shared.link(password=PERSIAN))
    assert not share_links.is_proven(link, "", "one")
    with pytest.raises(LinkPasswordMissing):
        share_links.check_password(link, "")
    for wrong in ("blue-42-harbour", "x" * 10_000, "blue-42-harbor"):
        with pytest.raises(LinkPasswordWrong):
            share_links.check_password(link, wrong)
    share_links.check_password(link, PERSIAN)
    proof = link.proof("one") or ""
    assert share_links.is_proven(link, proof, "one")
    other = shared.known(shared.link(password=PERSIAN))
    assert not share_links.is_proven(link, proof, "two")
    assert not share_links.is_proven(other, proof, "one")
    assert str(link.password_hash) not in repr(link)


@pytest.mark.parametrize("password", ["", "1234567", "aaaaaaaaaaaa", "x" * 300])
@one_database
def test_passwords_that_are_easily_guessed_are_refused(shared: Shared, password: str) -> None:
    with pytest.raises(Invalid) as refused:
        shared.link(password=password)
    assert refused.value.field == "password"
    assert (password or "nothing") not in str(refused.value)


@pytest.mark.usefixtures("wg0")
@one_database
def test_the_api_makes_lists_and_withdraws_them_for_who_may_read_files(client: httpx.Client, panel: Panel) -> None:
    serve(panel, client, "wg0", "fra1")
    path = f"/api/peers/{made(client, '/api/configs/wg0/peers', name='anna')['id']}/share-links"
    link = made(client, path)
    assert link["link"].startswith(f"{client.base_url}".rstrip("/") + "/shared#wgd_")
    (row,) = client.get(path).json()["items"]
    assert (row["one_time"], row["uses"], row["has_password"], "link" in row) == (True, 0, False, False)
    weak = made(client, "/api/keys", name="weak", scopes=["write"])["key"]
    refused = client.post(path, json={}, headers={"authorization": f"Bearer {weak}"})
    assert refused.status_code == 403
    assert client.post(path, json={"lasts_s": 10**9}).status_code == 422
    short = client.post(path, json={"password": "hunter2"})
    assert (short.status_code, short.json()["field"], "hunter2" in short.text) == (422, "password", False)
    assert made(client, path, password=PHRASE)["has_password"] is True
    assert PHRASE not in client.get(path).text + client.get("/api/audit-logs").text
    assert client.delete(f"{path}/{row['id']}").status_code == 204
    assert client.delete(f"{path}/{row['id']}").status_code == 404
