"""Pages of peers: found by what is in the address, made with a file to scan, and deleted by name only."""

import re
from html import unescape

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person, submit, token_of
from wgfleet.panel.api import Panel
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import users
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.fleet import node_groups, nodes, peers, tags
from wgfleet.panel.services.fleet.nodes import NodeSpec

PARTIAL = {"HX-Request": "true", "HX-Target": "div#results", "HX-Request-Type": "partial"}


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make(panel, peers=58)


def names(page: str) -> list[str]:
    return [unescape(name) for name in re.findall(r'<a href="/peers/\w{32}"><bdi>([^<]*)</bdi></a></th>', page)]


def following(page: str) -> str:
    found = re.search(r'href="([^"]*)" rel="next"', page)
    assert found is not None
    return found[1].replace("&amp;", "&")


def test_every_peer_is_on_one_page(admin: httpx.Client) -> None:
    first = admin.get("/peers").text
    second = admin.get(following(first)).text
    assert len(names(first)) == 50
    assert len({*names(first), *names(second)}) == 61
    assert 'rel="next"' not in second


def test_names_are_text(admin: httpx.Client) -> None:
    page = admin.get("/peers?search=bold").text
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; co" in page
    assert "<b>bold" not in page


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("search=anna", ["anna-phone"]),
        ("search=anna&config=&node=&live=&enabled=", ["anna-phone"]),
        ("search=10.9.0.2", ["printer"]),
        ("search=user-00&config=office", []),
        ("config=office", ["printer"]),
        ("live=yes&search=user-003", ["user-003"]),
        ("live=no&search=user-003", []),
        ("live=no&config=office", ["printer"]),
        ("enabled=no", []),
        ("sort=-name&config=wg0", ["user-057"]),
        ("sort=name&config=wg0", ["<b>bold</b> & co"]),
        ("sort=-handshake&config=wg0", ["user-001"]),
    ],
)
def test_what_is_chosen_is_in_the_address(admin: httpx.Client, query: str, expected: list[str]) -> None:
    found = names(admin.get(f"/peers?{query}").text)
    assert (found[:1] if "sort" in query else found) == expected


def test_a_home_has_its_peers(admin: httpx.Client) -> None:
    of_each = [names(admin.get(f"/peers?config=wg0&node={node}").text) for node in ("fra1", "par1", "ams1")]
    assert sum(map(len, of_each)) == 60
    assert all(of_each)


@pytest.mark.parametrize("order", ["name", "-name", "made", "-made", "traffic", "-traffic", "handshake", "-handshake"])
def test_each_order_goes_on_where_the_page_ended(admin: httpx.Client, order: str) -> None:
    first = admin.get(f"/peers?sort={order}").text
    whole = [*names(first), *names(admin.get(following(first)).text)]
    assert len(whole) == len(set(whole)) > 55


def test_a_search_answers_with_its_results_alone(admin: httpx.Client) -> None:
    part = admin.get("/peers?search=user-01", headers=PARTIAL).text
    assert "<html" not in part
    assert 'data-announce="10 results"' in part


@pytest.mark.parametrize("path", ["/peers?search=%00", "/peers?sort=secret", "/peers?config=none", "/peers/none"])
def test_what_does_not_exist_is_said(admin: httpx.Client, path: str) -> None:
    answer = admin.get(path)
    assert answer.status_code in {404, 422}
    assert "That did not work" in answer.text


@pytest.mark.parametrize("path", ["/peers/new", "/peers/new?config=office"])
def test_a_new_peer_is_switched_on_and_has_a_preshared_key_wherever_one_comes_from(
    admin: httpx.Client, path: str
) -> None:
    page = admin.get(path).text
    for box in ("preshared_key", "enabled"):
        assert f'name="{box}" value="true" checked' in page


def test_a_box_that_was_left_out_stays_so_when_the_form_is_shown_again(admin: httpx.Client) -> None:
    answer = submit(admin, "/peers/new", config="wg0", name="")
    assert answer.status_code == 422
    assert 'name="enabled" value="true">' in answer.text


def test_a_peer_is_made_and_its_file_is_shown(admin: httpx.Client) -> None:
    answer = submit(admin, "/peers/new", config="wg0", name="made-here", preshared_key="true", enabled="true")
    assert answer.url.path.endswith("/access")
    assert "PrivateKey" in answer.text
    peer_id = answer.url.path.split("/")[2]
    assert admin.get(f"/peers/{peer_id}/qr").headers["content-type"] == "image/png"
    file = admin.get(f"/peers/{peer_id}/file")
    assert file.headers["content-disposition"].startswith("attachment")
    assert file.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "user-001"), ("public_key", "abc"), ("addresses", "192.0.2.1"), ("keepalive", "x"), ("networks", "a")],
)
def test_a_wrong_field_says_what_is_wrong_and_the_others_stay(admin: httpx.Client, field: str, value: str) -> None:
    fields = {"config": "wg0", "name": "another", "keepalive": "7"} | {field: value}
    answer = submit(admin, "/peers/new", **fields)
    assert answer.status_code in {409, 422}
    assert f'id="{field}-wrong"' in answer.text
    assert f'value="{fields["name"]}"' in answer.text
    assert f'value="{fields["keepalive"]}"' in answer.text


def test_a_peer_is_changed_and_switched_off(admin: httpx.Client) -> None:
    peer = re.search(r"/peers/(\w{32})", admin.get("/peers?search=user-009").text)
    assert peer is not None
    path = f"/peers/{peer[1]}"
    answer = submit(admin, f"{path}/edit", name="user-nine", keepalive="0", networks="", group="")
    assert answer.url.path == path
    assert "user-nine" in answer.text
    assert "It is switched off here" in answer.text


def test_a_peer_is_deleted_only_by_its_name(admin: httpx.Client) -> None:
    peer = re.search(r"/peers/(\w{32})", admin.get("/peers?search=user-008").text)
    assert peer is not None
    path = f"/peers/{peer[1]}/delete"
    assert submit(admin, path, typed_name="user-00").status_code == 422
    assert submit(admin, path, typed_name="user-008").url.path == "/peers"
    assert admin.get(f"/peers/{peer[1]}").status_code == 404


def test_who_reads_sees_no_button_and_no_secret(person: Person) -> None:
    viewer = person(Role.VIEWER)
    peer = re.search(r"/peers/(\w{32})", viewer.get("/peers?search=user-002").text)
    assert peer is not None
    page = viewer.get(f"/peers/{peer[1]}").text
    assert "/access" not in page
    assert "/delete" not in page
    for path in ("access", "file", "qr", "edit", "delete"):
        assert viewer.get(f"/peers/{peer[1]}/{path}").status_code == 403
    data = {"form_token": token_of(page), "typed_name": "user-002"}
    assert viewer.post(f"/peers/{peer[1]}/delete", data=data).status_code == 403


def test_who_is_limited_to_a_config_sees_its_peers_only(panel: Panel, person: Person) -> None:
    limited = person(Role.OPERATOR, "limited")
    with panel.store.write() as tx:
        user = users.get(tx, "limited")
        user.limit_configs, user.limit_groups = [configs.id_of(tx, "office")], []
    assert names(limited.get("/peers").text) == ["printer"]
    assert names(limited.get("/peers?search=user").text) == []
    assert limited.get("/peers?config=wg0").status_code == 404
    answer = submit(limited, "/peers/new", config="wg0", name="smuggled")
    assert answer.status_code == 404
    assert "user-001" not in limited.get("/").text


def test_who_is_limited_sees_no_name_of_a_tag_a_group_or_a_node_of_others(panel: Panel, person: Person) -> None:
    limited = person(Role.OPERATOR, "limited-names")
    with panel.store.write() as tx:
        user = users.get(tx, "limited-names")
        user.limit_configs, user.limit_groups = [configs.id_of(tx, "office")], []
        for name in ("tag-own", "tag-others"):
            tags.create(tx, "test", {"name": name})
        for name in ("group-own", "group-others"):
            node_groups.create(tx, "test", name)
        mine, others = (peers.page(tx, configs.id_of(tx, name))[0].id for name in ("office", "wg0"))
        tags.change_peers(tx, "test", tags.get(tx, "tag-own"), add=[mine])
        tags.change_peers(tx, "test", tags.get(tx, "tag-others"), add=[others])
        own_group = node_groups.get(tx, "group-own").id
        peers.update(tx, panel.vault, "test", peers.get(tx, mine), {"group_id": own_group}, panel_hosts={})
        nodes.create(tx, "test", NodeSpec("node-others", ["192.0.2.77"]))
    for path in (
        "/peers",
        "/peers/new",
        f"/peers/{mine}/edit",
        "/peers/many/change",
        f"/peers/many/change?peer={others}",
    ):
        page = limited.get(path).text
        assert "tag-own" in page, path
        for name in ("tag-others", "group-others", "node-others"):
            assert name not in page, (path, name)
    assert 'value="group-own" selected' in limited.get(f"/peers/{mine}/edit").text, "it stays as it is"
    for query in ("tag=tag-", "node=node-"):
        assert [limited.get(f"/peers?{query}{name}").status_code for name in ("others", "nil")] == [404, 404], query
    assert names(limited.get("/peers?tag=tag-own").text) == ["printer"]
    with panel.store.write() as tx:
        for name in ("tag-own", "tag-others"):
            tags.delete(tx, "test", tags.get(tx, name))
        nodes.delete(tx, "test", nodes.get(tx, "node-others"))
        peers.update(tx, panel.vault, "test", peers.get(tx, mine), {"group_id": None}, panel_hosts={})


def test_peers_have_an_owner_on_their_pages_and_are_found_by_it(
    panel: Panel, admin: httpx.Client, person: Person
) -> None:
    person(Role.SELF_SERVICE, "olga")
    path = submit(admin, "/peers/new", config="wg0", name="of-olga", enabled="true", owner="olga").url.path
    page = path.removesuffix("/access")
    assert names(admin.get("/peers?owner=olga").text) == ["of-olga"]
    assert names(admin.get("/peers?owner=olga&search=of-ol").text) == ["of-olga"]
    assert names(admin.get("/peers?owner=olga&config=office").text) == names(admin.get("/peers?owner=x").text) == []
    assert 'href="/peers?owner=olga"' in admin.get(page).text
    assert "filter_owner" in admin.get("/peers/many/change?config=wg0&owner=olga").text
    assert b"of-olga" in admin.get("/configs/wg0/peers/csv?owner=olga").content
    assert b"user-001" not in admin.get("/configs/wg0/peers/csv?owner=olga").content
    form = admin.get(f"{page}/edit").text
    assert 'value="olga"' in form
    kept = submit(admin, f"{page}/edit", name="of-olga", enabled="true", owner="olga", **{"was:owner": "olga"})
    assert kept.status_code == 200
    assert names(admin.get("/peers?owner=olga").text) == ["of-olga"]
    refused = submit(admin, f"{page}/edit", name="of-olga", owner="nobody-at-all", **{"was:owner": "olga"})
    assert refused.status_code == 404
    assert 'id="owner-wrong"' in refused.text
    submit(admin, f"{page}/edit", name="of-olga", enabled="true", owner="", **{"was:owner": "olga"})
    assert names(admin.get("/peers?owner=olga").text) == []
    with panel.store.write() as tx:
        users.delete(tx, "test", users.get(tx, "olga"))


def test_one_is_switched_off_and_on_and_who_notices_is_said_before(admin: httpx.Client) -> None:
    found = re.search(r"/peers/\w{32}", admin.get("/peers?search=user-004").text)
    assert found
    assert "will be cut off" in admin.get(f"{found[0]}/switch").text, "it is connected"
    off = submit(admin, f"{found[0]}/switch", enabled="false").text
    assert "switched off" in off
    assert '<span class="state good">connected' not in off
    assert "let it in again" in admin.get(f"{found[0]}/switch").text
    assert "switched off" not in submit(admin, f"{found[0]}/switch", enabled="true").text


def test_a_list_says_whom_a_limit_keeps_out(panel: Panel, admin: httpx.Client) -> None:
    found = re.search(r"/peers/(\w{32})", admin.get("/peers?search=user-005").text)
    assert found
    with panel.store.write() as tx:
        peer = peers.get(tx, found[1])
        peer.restricted_at, peer.restricted_because = 1.0, "50 GB are used up"
    assert "kept out by a limit" in admin.get("/peers?search=user-005").text
    page = admin.get(found[0]).text
    assert "kept out by a limit" in page
    assert "50 GB are used up" in page
