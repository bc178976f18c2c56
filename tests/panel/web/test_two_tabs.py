"""Two people change one thing by its page: who saves later undoes nothing that the form did not change."""

from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from tests.panel.web import sample
from wgfleet.panel.api import Panel
from wgfleet.panel.api.configs import views as config_views
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.services import configs, rule_sets
from wgfleet.panel.services.access import users
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.access.users import UserSpec
from wgfleet.panel.services.fleet import endpoint_groups, node_groups, nodes, peers, tags
from wgfleet.panel.services.fleet.endpoint_groups import EndpointGroupSpec
from wgfleet.panel.store import Tx
from wgfleet.panel.store import peers as peer_rows


class Fields(HTMLParser):
    """What a browser would send of the form of a page: names and values."""

    def __init__(self, page: str, action: str) -> None:
        super().__init__()
        self.sent: dict[str, list[str]] = {}
        self._action = action
        self._inside = False
        self._select: str | None = None
        self._area: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = dict(attrs)
        name, value = has.get("name") or "", has.get("value") or ""
        if tag == "form":
            self._inside = (has.get("action") or "").endswith(self._action)
        elif not self._inside:
            return
        elif tag == "input" and name and (has.get("type") not in {"checkbox", "radio"} or "checked" in has):
            self.sent.setdefault(name, []).append(value)
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select and ("selected" in has or self._select not in self.sent):
            self.sent[self._select] = [value]
        elif tag == "textarea":
            self._area = name
            self.sent[name] = [""]

    def handle_data(self, data: str) -> None:
        if self._area is not None:
            self.sent[self._area][0] += data.replace("\n", "\r\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False
        elif tag == "textarea":
            self._area = None
        elif tag == "select":
            self._select = None


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make(panel, peers=6)
    with panel.store.write() as tx:
        users.create(tx, "test", UserSpec("carl", Role.OPERATOR))


def peer_path(panel: Panel) -> str:
    with panel.store.read() as tx:
        return f"/peers/{peers.page(tx, configs.id_of(tx, 'wg0'))[0].id}/edit"


def later(admin: httpx.Client, path: str, meanwhile: dict[str, str], mine: dict[str, str], off: str = "") -> None:
    """Have one save what changed meanwhile in a form that was opened at the same time as another, saved later."""
    first, second = (Fields(admin.get(path).text, path).sent for _ in range(2))
    if off:
        assert first.pop(off, None) is not None
    for sent, changes in ((first, meanwhile), (second, mine)):
        data = sent | {name: [value] for name, value in changes.items()} | {"agreed": ["true"]}
        answer = admin.post(path, data=data, follow_redirects=False)
        assert answer.status_code == 303, answer.text[-3000:]


def both(admin: httpx.Client, path: str, theirs: dict[str, str], mine: dict[str, str], off: str = "") -> str:
    """Have two change one field of a form; return the page that the later one gets, who saves all the same then."""
    first, second = (Fields(admin.get(path).text, path).sent for _ in range(2))
    if off:
        assert first.pop(off, None) is not None
    agreed = {"agreed": ["true"]}
    theirs_sent = first | {name: [value] for name, value in theirs.items()} | agreed
    assert admin.post(path, data=theirs_sent, follow_redirects=False).status_code == 303
    asked = admin.post(path, data=second | {name: [value] for name, value in mine.items()} | agreed)
    assert asked.status_code == 409, asked.text[-3000:]
    again = Fields(asked.text, path).sent
    assert {name: again[name] for name in mine} == {name: [value] for name, value in mine.items()}
    saved = admin.post(path, data=again | agreed, follow_redirects=False)
    assert saved.status_code == 303, saved.text[-3000:]
    return asked.text


def test_who_changes_what_somebody_else_has_changed_meanwhile_is_asked(admin: httpx.Client, panel: Panel) -> None:
    path = peer_path(panel)
    page = both(admin, path, {"notes": "theirs"}, {"notes": "mine", "mtu": "1390"})
    assert "Nothing was saved yet" in page
    assert page.count("Somebody else has changed it to") == 1
    assert "“theirs” meanwhile" in page
    with panel.store.read() as tx:
        row = peer_rows.get(tx, path.split("/")[2])
        assert row is not None
        assert (row.notes, row.mtu) == ("mine", 1390)
    assert "Somebody else has emptied it" in both(admin, path, {"notes": ""}, {"notes": "mine again"})
    later(admin, path, {"notes": "the same"}, {"notes": "the same"})


def test_each_page_asks_who_changes_what_somebody_else_has_changed(admin: httpx.Client, panel: Panel) -> None:
    with panel.store.write() as tx:
        node_groups.create(tx, "test", "asked")
        tag = tags.create(tx, "test", {"name": "asked"}).id
        rule_set = rule_sets.create(tx, "test", {"name": "asked"}).id
        node = nodes.page(tx)[0].name
        users.create(tx, "test", UserSpec("dora", Role.OPERATOR))
        if endpoint_groups.find(tx, configs.get(tx, "wg0")) is None:
            endpoint_groups.put(tx, panel.vault, "test", configs.get(tx, "wg0"), EndpointGroupSpec("vpn.example.com"))
    both(admin, "/settings/users/dora/edit", {"device_limit": "3"}, {"device_limit": "4"})
    assert "“viewer" in both(admin, "/settings/users/dora/edit", {"role": "viewer"}, {"role": "self-service"})
    both(admin, "/configs/office/edit", {"keepalive": "31"}, {"keepalive": "32"})
    both(admin, f"/nodes/{node}/edit", {"weight": "3"}, {"weight": "4"})
    both(admin, "/node-groups/asked", {"site": "a"}, {"site": "b"})
    both(admin, f"/tags/{tag}", {"mtu": "1300"}, {"mtu": "1310"})
    both(admin, f"/rule-sets/{rule_set}", {"rules": "deny 10.0.0.0/8"}, {"rules": "deny 10.1.0.0/16"})
    both(admin, "/configs/wg0/endpoint-group", {"ttl": "91"}, {"ttl": "92"})


@pytest.mark.parametrize("place", ["peer", "tag", "config"])
def test_who_gives_a_rule_set_where_somebody_else_gave_one_meanwhile_is_asked(
    admin: httpx.Client, panel: Panel, place: str
) -> None:
    with panel.store.write() as tx:
        tag = tags.create(tx, "test", {"name": f"rules of a {place}"}).id
        theirs, mine = (rule_sets.create(tx, "test", {"name": f"{each} {place}"}).id for each in ("theirs", "mine"))
    paths = {"peer": peer_path(panel).replace("/edit", "/rules"), "tag": f"/tags/{tag}/rules"}
    path = paths.get(place, "/configs/office/rules")
    assert f"“theirs {place}” meanwhile" in both(admin, path, {"rule_set": theirs}, {"rule_set": mine})
    later(admin, path, {"rule_set": theirs}, {})
    assert Fields(admin.get(path).text, path).sent["rule_set"] == [theirs]


def test_tags_that_somebody_else_gave_meanwhile_are_named(admin: httpx.Client, panel: Panel) -> None:
    with panel.store.write() as tx:
        one, two = (tags.create(tx, "test", {"name": name}).id for name in ("tag one", "tag two"))
    assert "“tag one” meanwhile" in both(admin, peer_path(panel), {"tags": one}, {"tags": two})


@pytest.mark.parametrize("place", ["peer", "tag", "config"])
def test_who_sets_a_speed_that_somebody_else_has_set_meanwhile_is_asked(
    admin: httpx.Client, panel: Panel, place: str
) -> None:
    with panel.store.write() as tx:
        tag = tags.create(tx, "test", {"name": f"speed of a {place}"}).id
    paths = {"peer": peer_path(panel).replace("/edit", "/limits"), "tag": f"/tags/{tag}/limits"}
    path = paths.get(place, "/configs/office/limits")
    first, second = (Fields(admin.get(path).text, f"{path}/speeds").sent for _ in range(2))
    answers = [
        admin.post(
            f"{path}/speeds",
            data=sent | {"download_speed": [speed], "agreed_speeds": ["true"]},
            follow_redirects=False,
        )
        for sent, speed in ((first, "30mbit"), (second, "40mbit"))
    ]
    assert [answer.status_code for answer in answers] == [303, 409]
    assert "“30 Mbit/s” meanwhile" in answers[1].text
    again = Fields(answers[1].text, f"{path}/speeds").sent | {"agreed_speeds": ["true"]}
    assert admin.post(f"{path}/speeds", data=again, follow_redirects=False).status_code == 303
    assert Fields(admin.get(path).text, f"{path}/speeds").sent["download_speed"] == ["40 Mbit/s"]


def test_a_peer_that_was_switched_off_stays_off(admin: httpx.Client, panel: Panel) -> None:
    path = peer_path(panel)
    later(admin, path, {"notes": "stolen: keep it off"}, {"mtu": "1380"}, off="enabled")
    with panel.store.read() as tx:
        row = peer_rows.get(tx, path.split("/")[2])
        assert row is not None
        assert (row.enabled, row.mtu) == (False, 1380)
    assert "stolen: keep it off" in admin.get(path).text


def test_a_user_who_lost_rights_does_not_get_them_back(admin: httpx.Client, panel: Panel) -> None:
    path = "/settings/users/carl/edit"
    later(admin, path, {"role": "viewer", "configs": "wg0"}, {"device_limit": "4"})
    with panel.store.read() as tx:
        carl = users.get(tx, "carl")
        assert (carl.role, carl.limit_configs, carl.device_limit) == ("viewer", [configs.id_of(tx, "wg0")], 4)
    later(admin, path, {"device_limit": ""}, {"configs": ""})
    with panel.store.read() as tx:
        carl = users.get(tx, "carl")
        assert (carl.role, carl.limit_configs, carl.device_limit) == ("viewer", None, None)


@pytest.mark.parametrize(
    ("meanwhile", "off", "expected"),
    [
        ({"denied_networks": "192.168.0.0/16"}, "", {"denied_networks": ["192.168.0.0/16"]}),
        ({}, "client_to_client", {"client_to_client": False}),
        ({}, "enabled", {"enabled": False}),
    ],
)
def test_what_a_config_forbids_stays_forbidden(
    admin: httpx.Client, panel: Panel, meanwhile: dict[str, str], off: str, expected: dict[str, Any]
) -> None:
    later(admin, "/configs/office/edit", meanwhile, {"keepalive": str(20 + len(off))}, off=off)
    with panel.store.read() as tx:
        (found,) = config_views(tx, [configs.get(tx, "office")])
    assert {name: getattr(found, name) for name in expected} == expected
    assert found.keepalive == 20 + len(off)


def test_a_node_and_a_name_keep_what_others_set(admin: httpx.Client, panel: Panel) -> None:
    def weights(tx: Tx) -> tuple[float, int | None]:
        row = nodes.page(tx)[0]
        return row.weight, row.capacity

    with panel.store.read() as tx:
        name = nodes.page(tx)[0].name
    later(admin, f"/nodes/{name}/edit", {"capacity": "100"}, {"weight": "2"})
    with panel.store.read() as tx:
        assert weights(tx) == (2.0, 100)
    with panel.store.write() as tx:
        if endpoint_groups.find(tx, configs.get(tx, "wg0")) is None:
            endpoint_groups.put(tx, panel.vault, "test", configs.get(tx, "wg0"), EndpointGroupSpec("vpn.example.com"))
    later(admin, "/configs/wg0/endpoint-group", {}, {"ttl": "90"}, off="auto_migrate")
    with panel.store.read() as tx:
        group = endpoint_groups.get(tx, configs.get(tx, "wg0"))
        assert (group.auto_migrate, group.ttl) == (False, 90)


def test_a_name_is_published_as_another_has_set_it(
    admin: httpx.Client, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Publisher, "refusals", lambda *_: [])
    path = "/configs/wg0/endpoint-group"
    with panel.store.write() as tx:
        config = configs.get(tx, "wg0")
        if endpoint_groups.find(tx, config) is None:
            endpoint_groups.put(tx, panel.vault, "test", config, EndpointGroupSpec("vpn.example.com"))

    def now() -> list[str]:
        found = Fields(admin.get(path).text, path).sent
        return [found[name][0] for name in ("ttl", "dns.provider", "dns.zone")]

    options = '{"server": "198.41.0.4", "key_name": "k", "key_secret": "c2VjcmV0LW9mLXRoZS1uYW1l"}'
    provider = {"dns.provider": "rfc2136", "dns.zone": "example.com", "dns.options": options, "dns.mode": "dry_run"}
    later(admin, path, provider, {"ttl": "95"})
    assert now() == ["95", "rfc2136", "example.com"]
    later(admin, path, {"dns.drift": "report", "dns.record_name": "a.example.com"}, {"ttl": "96"})
    later(admin, path, {"dns.mode": "upsert_only"}, {"dns.drift": "repair"})
    found = Fields(admin.get(path).text, path).sent
    assert [found[f"dns.{name}"] for name in ("record_name", "mode", "drift")] == [
        ["a.example.com"],
        ["upsert_only"],
        ["repair"],
    ]
    assert "198.41.0.4" in found["dns.options"][0]
    later(admin, path, {}, {"dns.provider": ""})
    assert now() == ["96", "", ""]


def test_who_saves_without_a_change_changes_nothing(admin: httpx.Client, panel: Panel) -> None:
    path = peer_path(panel)
    before = admin.get(path).text
    later(admin, path, {}, {})
    assert Fields(admin.get(path).text, path).sent.keys() == Fields(before, path).sent.keys()


def test_a_form_that_was_refused_remembers_what_it_showed_first(admin: httpx.Client, panel: Panel) -> None:
    path = peer_path(panel)
    sent = Fields(admin.get(path).text, path).sent
    refused = admin.post(path, data=sent | {"mtu": ["7"]})
    assert refused.status_code == 422
    again = Fields(refused.text, path).sent
    assert again["was:mtu"] == sent["was:mtu"]
    assert again["mtu"] == ["7"]


def test_a_rule_set_keeps_what_another_forbids(admin: httpx.Client, panel: Panel) -> None:
    with panel.store.write() as tx:
        path = f"/rule-sets/{rule_sets.create(tx, 'test', {'name': 'two tabs'}).id}"
    later(admin, path, {"otherwise_allowed": "false"}, {"rules": "allow 10.0.0.0/8\r\ndeny 192.168.0.0/16"})
    with panel.store.read() as tx:
        found = rule_sets.get(tx, "two tabs")
        assert (found.otherwise_allowed, len(found.rules)) == (False, 2)


def test_a_group_keeps_its_site(admin: httpx.Client, panel: Panel) -> None:
    with panel.store.write() as tx:
        node_groups.create(tx, "test", "twotabs")
    later(admin, "/node-groups/twotabs", {"site": "fra-2"}, {"priority": "7"})
    with panel.store.read() as tx:
        found = node_groups.get(tx, "twotabs")
        assert (found.site, found.priority) == ("fra-2", 7)


def test_a_provider_that_was_switched_off_stays_off(admin: httpx.Client) -> None:
    oidc = {"issuer": "https://id.example.com", "client_id": "wgfleet"}
    given = {**oidc, "name": "Company", "secret": "s" * 20, "roles": "staff = viewer"}
    sent = Fields(admin.get("/new/provider/oidc").text, "/new/provider/oidc").sent
    made = admin.post("/new/provider/oidc", data=sent | given, follow_redirects=False)
    assert made.status_code == 303, made.text
    path = f"{httpx.URL(made.headers['location']).path}/edit"
    later(admin, path, {"groups_claim": "teams"}, {"roles": "staff = viewer\r\nboss = admin"}, off="enabled")
    assert "“rooms” meanwhile" in both(admin, path, {"groups_claim": "rooms"}, {"groups_claim": "halls"})
    found = Fields(admin.get(path).text, path).sent
    assert "enabled" not in found
    assert found["groups_claim"] == ["halls"]
    assert "boss = admin" in found["roles"][0]


@pytest.mark.parametrize("place", ["peer", "tag", "config"])
def test_speeds_keep_what_another_set(admin: httpx.Client, panel: Panel, place: str) -> None:
    with panel.store.write() as tx:
        if place == "tag":
            path = f"/tags/{tags.create(tx, 'test', {'name': 'two tabs'}).id}/limits"
        else:
            path = peer_path(panel).replace("/edit", "/limits") if place == "peer" else "/configs/office/limits"
    agreed = {"agreed_speeds": "true"}
    action = f"{path}/speeds"
    first, second = (Fields(admin.get(path).text, action).sent for _ in range(2))
    for sent, name in ((first, "download_speed"), (second, "upload_speed")):
        data = sent | {name: ["20mbit"]} | agreed
        assert admin.post(action, data=data, follow_redirects=False).status_code == 303
    found = Fields(admin.get(path).text, action).sent
    assert (found["download_speed"], found["upload_speed"]) == (["20 Mbit/s"], ["20 Mbit/s"])
    limit = Fields(admin.get(path).text, path).sent | {"field": ["total_data"], "value": ["5GiB"]}
    assert admin.post(path, data=limit, follow_redirects=False).status_code == 303, "what is as it was shown is sent"
