"""Forms with several wrong fields name all of them at once: who mends these finds nothing else wrong."""

import re
from html.parser import HTMLParser

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import PASSWORD, peer_path, submit
from tests.panel.web.test_every_page import PAGES
from wgfleet.panel.api import Panel
from wgfleet.panel.services import rule_sets
from wgfleet.panel.services.fleet import node_groups, nodes, tags

LONG, UNKNOWN = "x" * 400 + "\x07", "none-such"
NOT_ABOUT_FIELDS = {"agreed", "agreed_speeds", "do", "seen", "sent", "ticket", "link"}
LEFT_OUT = re.compile(r"OPERATION|\?|/delete|/move|/log|/profile/password")  # guesses of a password are counted
FEWEST = 2
PARTS = {"server_addresses"}  # what is wrong with them depends on the pools


class SentForm:
    """What a browser would send of a form, and of which kinds the fields are."""

    def __init__(self, action: str) -> None:
        self.action = action
        self.sent: dict[str, list[str]] = {}
        self.kinds: dict[str, str] = {}

    def wrong(self, mixed: int) -> dict[str, list[str]]:
        """Return wrong values for all fields of text: `mixed` says which are no values, and which values are wrong."""
        kinds = {"text", "area", "number", "decimal", "password", "url", "search"}
        names = sorted(name for name, kind in self.kinds.items() if kind in kinds and name not in NOT_ABOUT_FIELDS)
        values = {name: (LONG, UNKNOWN)[(mixed >> place % 2) & 1] for place, name in enumerate(names)}
        return {name: [value + name if self.kinds[name] == "password" else value] for name, value in values.items()}

    def right(self, number: int) -> dict[str, list[str]]:
        """Return values that would be taken, as far as they depend on nothing else; `number`: of a name."""
        there = {
            "agent_host": f"192.0.3.{number}",
            "config": "wg0",
            "config_name": f"net{number}",
            "count": "2",
            "days": "3",
            "domain": f"vpn{number}.example.com",
            "endpoint_addresses": f"192.0.3.{number}",
            "name": f"name{number}",
            "name_prefix": f"some{number}-",
            "new_password": PASSWORD + "!",
            "password": PASSWORD,
            "password_again": PASSWORD + "!",
            "peer_name": "phone",
            "pools": f"10.77.{number}.0/24",
            "scopes": "read",
            "value": "2040-01-31",
            "issuer": "https://id.example.com",
            "url": "ldaps://directory.example.com",
        }
        empty = {name: [there[name]] for name in self.kinds if name in there and not any(self.sent.get(name, []))}
        return self.sent | empty


class SentForms(HTMLParser):
    """The forms of a page that change something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[SentForm] = []
        self._form: SentForm | None = None
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        name, value, kind = has.get("name", ""), has.get("value", ""), has.get("type", "text")
        if tag == "form" and has.get("method") == "post":
            self._form = SentForm(has.get("action", ""))
            self.found.append(self._form)
        if self._form is None:
            return
        if tag == "input" and name:
            self._form.kinds[name] = kind
            if kind not in {"checkbox", "radio"} or "checked" in has:
                self._form.sent.setdefault(name, []).append(value)
        elif tag in {"select", "textarea"}:
            self._open = name
            self._form.kinds[name] = {"select": "select", "textarea": "area"}[tag]
            if tag == "textarea":
                self._form.sent[name] = [""]
        elif tag == "option" and self._open and ("selected" in has or self._open not in self._form.sent):
            self._form.sent[self._open] = [value]

    def handle_data(self, data: str) -> None:
        if self._form is not None and self._form.kinds.get(self._open) == "area":
            self._form.sent[self._open][0] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag in {"select", "textarea"}:
            self._open = ""


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make_for_pages(panel)
    with panel.store.write() as tx:
        for name in ("near", UNKNOWN):
            node_groups.create(tx, "test", name)
        for name in ("vip", UNKNOWN):
            tags.create(tx, "test", {"name": name})
        rule_sets.create(tx, "test", {"name": UNKNOWN})
        tx.flush()
        nodes.update(tx, "test", nodes.get(tx, "par1"), {"group": "near"})


def named(page: str) -> set[str]:
    return set(re.findall(r'id="([\w.]+)-wrong"', page))


def test_each_form_names_all_that_is_wrong_with_it(admin: httpx.Client) -> None:
    peer, tried, number = peer_path(admin), 0, 0
    pages = [path.replace("PEER", peer) for path in PAGES if not LEFT_OUT.search(path)]
    for path in pages:
        for place, shown in enumerate(SentForms(admin.get(path).text).found):
            if len(shown.wrong(0)) < FEWEST or shown.action.startswith("/log"):
                continue
            for mixed in range(4):
                number += 1
                form = SentForms(admin.get(path).text).found[place]
                wrong, right = form.wrong(mixed), form.right(number)
                first = named(admin.post(form.action, data=right | wrong, follow_redirects=False).text)
                rest = {name: values for name, values in wrong.items() if name not in first | PARTS}
                then = admin.post(form.action, data=right | rest, follow_redirects=False)
                assert not named(then.text) - first, (form.action, mixed, first)
                tried += len(first) > 1
    assert tried > 50


def test_a_new_password_is_judged_with_the_old_one(admin: httpx.Client) -> None:
    fields = {"password": "another one", "new_password": "short", "password_again": "shorter"}
    assert named(submit(admin, "/profile/password", **fields).text) == fields.keys()
