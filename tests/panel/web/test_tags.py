"""Pages of tags, and what a peer's page says of its tags, notes, file and visits."""

import itertools

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import submit
from wgfleet.panel import clock
from wgfleet.panel.api import Panel
from wgfleet.panel.reconcile.agents.visits import Visits
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import nodes, peers, tags
from wgfleet.panel.store import visits
from wgfleet.panel.store.sessions import NodeSessions
from wgfleet.protocol.observed import PeerStats

OFFICE = {"color": "#2fb344", "mtu": "1380", "dns": "10.8.0.53 example.com"}


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make(panel, peers=2)


NUMBERS = itertools.count()


@pytest.fixture
def tag(admin: httpx.Client) -> str:
    made = submit(admin, "/new/tag", **OFFICE | {"name": f"office <b> {next(NUMBERS)}"})
    assert made.url.path.startswith("/tags/"), made.text
    return made.url.path


@pytest.fixture
def peer(panel: Panel) -> str:
    with panel.store.read() as tx:
        return "/peers/" + peers.page(tx, configs.id_of(tx, "wg0"))[0].id


def test_a_tag_is_made_changed_and_deleted(admin: httpx.Client, tag: str) -> None:
    listed = admin.get("/tags").text
    assert "office &lt;b&gt;" in listed
    assert 'fill="#2fb344"' in listed
    assert "MTU" in listed
    changed = submit(admin, tag, name="works", color="#ff0000", mtu="", dns="")
    assert changed.url.path == "/tags"
    assert "MTU" not in changed.text
    assert 'fill="#ff0000"' in changed.text
    made = submit(admin, "/new/tag", name="trial")
    assert submit(admin, f"{made.url.path}/delete", typed_name="other").status_code == 422
    gone = submit(admin, f"{made.url.path}/delete", typed_name="trial")
    assert gone.url.path == "/tags"
    assert "trial" not in gone.text


@pytest.mark.parametrize(("field", "value"), [("name", "a/b"), ("color", "red"), ("mtu", "9"), ("dns", "-")])
def test_a_wrong_field_says_what_is_wrong(admin: httpx.Client, tag: str, field: str, value: str) -> None:
    answer = submit(admin, tag, **{"name": "other", "color": "#2fb344", field: value})
    assert answer.status_code == 422
    assert f'id="{field}-wrong"' in answer.text


def test_a_name_is_given_once(admin: httpx.Client) -> None:
    submit(admin, "/new/tag", name="once")
    assert submit(admin, "/new/tag", name="once").status_code == 409


def test_a_limit_of_a_tag_counts_for_its_peers(admin: httpx.Client, tag: str, peer: str) -> None:
    given = submit(admin, f"{tag}/limits", field="total_data", action="restrict", value="5GiB", period="month")
    assert given.url.path == f"{tag}/limits", given.text
    assert "5\u00a0GiB" in given.text
    submit(admin, f"{peer}/edit", name="anna", enabled="true", tags=tag.removeprefix("/tags/"))
    assert "5\u00a0GiB" in admin.get(f"{peer}/limits").text
    assert "1 peer" in admin.get(tag).text


def test_the_speed_of_a_tag_counts_for_its_peers(admin: httpx.Client, tag: str, peer: str) -> None:
    path = f"{tag}/limits"
    wrong = submit(admin, f"{path}/speeds", on=path, download_speed="fast", upload_speed="")
    assert wrong.status_code == 422
    given = submit(admin, f"{path}/speeds", on=path, download_speed="20mbit", upload_speed="")
    assert given.url.path == path, given.text
    submit(admin, f"{peer}/edit", name="anna", enabled="true", tags=tag.removeprefix("/tags/"))
    assert "20\u00a0Mbit/s" in admin.get(peer).text


def test_a_peer_has_notes_tags_and_settings_of_its_own(admin: httpx.Client, tag: str, peer: str) -> None:
    mine = {"name": "anna", "enabled": "true", "tags": tag.removeprefix("/tags/"), "notes": "in room 3\nuntil May"}
    shown = submit(admin, f"{peer}/edit", **mine, mtu="1300", networks="192.168.7.0/24")
    assert shown.url.path == peer, shown.text
    assert "in room 3<br>until May" in shown.text
    assert f'href="{tag}"' in shown.text
    assert "1300" in shown.text
    assert "192.168.7.0/24" in shown.text
    form = admin.get(f"{peer}/edit").text
    assert 'value="1300"' in form
    assert "until May" in form
    cleared = submit(admin, f"{peer}/edit", name="anna", enabled="true", notes="", mtu="", networks="")
    assert "in room 3" not in cleared.text
    assert "1300" not in cleared.text
    assert f'href="{tag}"' not in cleared.text
    assert "192.168.7.0/24" not in cleared.text


def test_a_peer_says_when_it_was_connected(admin: httpx.Client, panel: Panel, peer: str) -> None:
    with panel.store.write() as tx:
        shown = peers.shown(tx, peer.removeprefix("/peers/"))
        node = nodes.get(tx, "fra1")
        stats = {shown.public_key: PeerStats(endpoint="198.51.100.77:9", latest_handshake=int(clock.steady()))}
        said = [NodeSessions(node.id, shown.config_id, stats)]
        visits.write(tx, Visits().note(tx, said, clock.now() - 120, clock.steady()))
    page = admin.get(peer).text
    assert "198.51.100.77:9" in page
    assert ">fra1<" in page


def test_a_new_tag_is_typed_where_it_is_given(panel: Panel, admin: httpx.Client) -> None:
    made = submit(admin, "/peers/new", config="wg0", name="typed-tag", enabled="true", new_tags="brand-new, other")
    page = made.url.path.removesuffix("/access")
    with panel.store.read() as tx:
        assert [tag.name for tag in tags.of_peer(tx, page.split("/")[2])] == ["brand-new", "other"]
    assert 'name="new_tags"' in admin.get(f"{page}/edit").text
    submit(admin, f"{page}/edit", name="typed-tag", enabled="true", new_tags="third", **{"was:tags": ""})
    with panel.store.read() as tx:
        assert [tag.name for tag in tags.of_peer(tx, page.split("/")[2])] == ["brand-new", "other", "third"]
    refused = submit(admin, "/peers/new", config="wg0", name="typed-tag", new_tags="never-made")
    assert refused.status_code == 409
    wrong = submit(admin, "/peers/new", config="wg0", name="typed-two", new_tags="a/b")
    assert 'id="new_tags-wrong"' in wrong.text
    with panel.store.read() as tx:
        assert "never-made" not in {tag.name for tag in tags.page(tx)}
    with panel.store.write() as tx:
        peers.delete(tx, "test", configs.get(tx, "wg0"), [page.split("/")[2]])
        tags.delete_unused(tx, "test", [tag.id for tag in tags.page(tx) if tag.name in {"brand-new", "other", "third"}])
