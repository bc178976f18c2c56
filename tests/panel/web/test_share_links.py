"""Pages of links to files: a stranger gets the file with the secret alone, and it stands in no address."""

import re

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Browser, Person, submit, token_of
from wgfleet.panel import passwords
from wgfleet.panel.api import Panel
from wgfleet.panel.api.attempts import PASSWORDS, PASSWORDS_OF_LINK
from wgfleet.panel.api.panel import LINK_USES
from wgfleet.panel.domain.jobs.job import JobField
from wgfleet.panel.errors import TooMany, Unauthorized
from wgfleet.panel.services import audit
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.clients import share_links
from wgfleet.panel.services.clients.share_links import LinkPasswordMissing
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.services.jobs import commands
from wgfleet.panel.services.jobs.commands import JobSpec
from wgfleet.panel.store.tables import Config, Peer

HELLO = {"secret": "hello"}
WORDS = "blue harbor 42"


@pytest.fixture(scope="module", autouse=True)
def _world(panel: Panel) -> None:
    sample.make(panel, peers=12)


@pytest.fixture
def path(admin: httpx.Client) -> str:
    found = re.search(r"/peers/(\w{32})", admin.get("/peers?search=user-007").text)
    assert found
    return f"/peers/{found[1]}/links"


def new_link(admin: httpx.Client, path: str, **fields: str) -> str:
    page = submit(admin, path, days="7", **fields).text
    found = re.search(r'id="made"[^>]*>([^<]+)<', page)
    assert found
    return found[1]


def test_the_page_says_what_was_used_what_is_left_and_when_it_ends(
    admin: httpx.Client, browser: Browser, panel: Panel, path: str
) -> None:
    peer_id = path.split("/")[2]
    with panel.store.write() as tx:
        owner = commands.owner_of(peers.get(tx, peer_id))
        for field, value in ((JobField.TOTAL_DATA, 50_000_000_000), (JobField.DATE, 4_000_000_000)):
            commands.add(tx, "test", owner, JobSpec(field, value=value))
    link = new_link(admin, path)
    page = submit(browser(), "/shared", secret=link).text
    assert "What it used, and its limits" in page
    assert "50\u00a0GB in all" in page
    assert "2096-10-02" in page


def test_a_stranger_gets_the_file_once(admin: httpx.Client, browser: Browser, path: str) -> None:
    link = new_link(admin, path, one_time="true")
    address, _, secret = link.partition("#")
    assert address.endswith("/shared")
    assert secret not in admin.get(path).text
    user = browser()
    shown = user.get("/shared")
    assert (shown.status_code, shown.headers["referrer-policy"]) == (200, "no-referrer")
    assert "data-from-fragment" in shown.text
    page = submit(user, "/shared", secret=link)  # pasted as a whole
    assert page.headers["cache-control"] == "no-store"
    assert "data:image/png;base64," in page.text
    assert "PrivateKey" in page.text
    file = user.post("/shared/file", data={"form_token": token_of(page.text), "secret": secret})
    assert "attachment" in file.headers["content-disposition"]
    assert "PrivateKey" in file.text
    fields = {"form_token": token_of(page.text), "secret": secret, "format": "mikrotik"}
    assert "/interface/wireguard/add" in user.post("/shared/file", data=fields).text
    other = submit(browser(), "/shared", secret=secret)
    assert (other.status_code, "PrivateKey" in other.text) == (401, False)
    assert ">3<" in admin.get(path).text.replace("\n", ""), "how often it was fetched"


@pytest.mark.parametrize("why", ["peer", "config", "limit"])
def test_who_is_not_let_in_reads_so(admin: httpx.Client, browser: Browser, panel: Panel, path: str, why: str) -> None:
    link = new_link(admin, path)
    assert "Ask who gave" not in submit(browser(), "/shared", secret=link).text
    with panel.store.write() as tx:
        peer = tx.session.get_one(Peer, path.split("/")[2])
        config = tx.session.get_one(Config, peer.config_id)
        before = peer.enabled, config.enabled, peer.restricted_at
        peer.enabled, config.enabled = why != "peer", why != "config"
        peer.restricted_at = 1.0 if why == "limit" else None
    page = submit(browser(), "/shared", secret=link)
    with panel.store.write() as tx:
        peer = tx.session.get_one(Peer, path.split("/")[2])
        peer.enabled, tx.session.get_one(Config, peer.config_id).enabled, peer.restricted_at = before
    assert page.status_code == 200
    assert "Ask who gave" in page.text


def test_one_until_a_date_and_its_withdrawal(admin: httpx.Client, browser: Browser, path: str) -> None:
    link = new_link(admin, path)
    assert all("PrivateKey" in submit(browser(), "/shared", secret=link).text for _ in range(2))
    for each in re.findall(rf"{path}/\w{{32}}/delete", admin.get(path).text):
        submit(admin, each, on=path)
    assert submit(browser(), "/shared", secret=link).status_code == 401


def test_what_is_no_link_is_refused_and_guesses_are_counted(panel: Panel, browser: Browser) -> None:
    user = browser()
    assert submit(user, "/shared", **HELLO).status_code == 422
    assert user.get("/shared/file").status_code == 405
    found = [submit(user, "/shared", secret=f"wgd_{number}").status_code for number in range(12)]
    assert found[0] == 401
    assert found[-1] == 429
    fields = {"name": "nobody", "password": "not this one at all"}
    assert submit(user, "/login", **fields).status_code == 401, "nobody is kept from signing in by it"
    with panel.notes.changing() as notes:  # others come from this address too
        notes.execute("DELETE FROM attempts")


def test_a_link_with_a_password_opens_with_both_and_asks_once(
    admin: httpx.Client, browser: Browser, panel: Panel, path: str
) -> None:
    refused = submit(admin, path, days="0", password=WORDS)
    assert (refused.status_code, WORDS in refused.text) == (422, False)
    link = new_link(admin, path, one_time="true", password=WORDS)
    assert "with a password" in admin.get(path).text
    stranger, user = browser(), browser()
    asked = submit(user, "/shared", secret=link)
    assert (asked.status_code, 'type="password"' in asked.text, "PrivateKey" in asked.text) == (200, True, False)
    wrong = submit(stranger, "/shared", secret=link, password=WORDS[::-1])
    assert (wrong.status_code, "PrivateKey" in wrong.text, WORDS[::-1] in wrong.text) == (401, False, False)
    page = submit(user, "/shared", secret=link, password=WORDS)
    assert (page.status_code, "PrivateKey" in page.text, WORDS in page.text) == (200, True, False)
    fields = dict(re.findall(r'name="(secret|proof)" value="([^"]+)"', page.text))
    file = user.post("/shared/file", data={"form_token": token_of(page.text), **fields})
    assert "PrivateKey" in file.text
    stolen = stranger.post("/shared/file", data={"form_token": token_of(stranger.get("/shared").text), **fields})
    assert (stolen.status_code, "PrivateKey" in stolen.text) == (401, False)
    with panel.store.read() as tx:
        (entry,) = audit.page(tx, entity_type="share_link", action="refused", limit=9)[0]
    assert (entry.actor, entry.details["reason"]) == ("anonymous", "password")


def test_wrong_passwords_end_for_the_one_who_guesses_and_for_nobody_else(
    panel: Panel, admin: httpx.Client, browser: Browser, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = new_link(admin, path, password=WORDS)
    monkeypatch.setattr(passwords, "matches", lambda given, _kept: given == WORDS)
    found = [submit(browser(), "/shared", secret=link, password=f"guess {n}").status_code for n in range(PASSWORDS + 1)]
    assert found == [401] * PASSWORDS + [429]
    assert submit(browser(), "/shared", secret=link, password=WORDS).status_code == 429, "of this address"
    with panel.store.read() as tx:
        known = share_links.known(tx, link.partition("#")[2])
    for number in range(2 * PASSWORDS_OF_LINK):
        with pytest.raises(Unauthorized), panel.link_passwords.guess(known.id, f"10.0.0.{number}", LinkPasswordMissing):
            share_links.check_password(known, "no")
    last = f"10.0.0.{2 * PASSWORDS_OF_LINK - 1}"
    with pytest.raises(TooMany), panel.link_passwords.guess(known.id, last, LinkPasswordMissing):
        raise AssertionError
    with panel.link_passwords.guess(known.id, "10.9.9.9", LinkPasswordMissing):
        share_links.check_password(known, WORDS)


def test_a_link_is_not_opened_without_end(panel: Panel, admin: httpx.Client, browser: Browser, path: str) -> None:
    links = [new_link(admin, path), new_link(admin, path)]
    with panel.store.read() as tx:
        used = share_links.known(tx, links[0].partition("#")[2]).id
    for _ in range(LINK_USES - 1):
        panel.link_uses.used(f"link {used}")
    assert [submit(browser(), "/shared", secret=links[0]).status_code for _ in range(2)] == [200, 429]
    assert submit(browser(), "/shared", secret=links[1]).status_code == 200


def test_who_may_not_read_files_makes_no_links(person: Person, path: str) -> None:
    assert person(Role.VIEWER).get(path).status_code == 403


@pytest.mark.parametrize("days", ["", "-1", "0", "91", "1.5", "9" * 5000, "\u096d", "x"])
def test_days_that_cannot_be_are_said(admin: httpx.Client, path: str, days: str) -> None:
    answer = submit(admin, path, days=days)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
