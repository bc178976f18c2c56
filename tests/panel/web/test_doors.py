"""Who is let in to the pages, and what no page of somebody else can do in a visitor's name."""

from urllib.parse import quote

import httpx
import pyotp
import pytest

from tests.panel.web.conftest import PASSWORD, Browser, Person, submit, token_of
from wgfleet.panel.api import Panel
from wgfleet.panel.services import audit
from wgfleet.panel.services.access import users
from wgfleet.panel.services.access.callers import Caller, Role
from wgfleet.panel.services.access.users import UserSpec
from wgfleet.panel.web import visitors
from wgfleet.panel.web.site import ROUTERS

LOCATIONS = [
    "//evil.example/",
    "//[",
    "https://evil.example/",
    "/\\evil.example",
    "javascript:alert(1)",
    "/a\nb",
    "x",
    "",
]


def test_a_stranger_is_sent_to_the_page_that_signs_in_and_from_there_back(browser: Browser) -> None:
    answer = browser().get("/?a=1", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2F%3Fa%3D1")


def test_a_person_signs_in_and_out(admin: httpx.Client) -> None:
    assert "admin" in admin.get("/").text
    kept = admin.cookies["wgfleet"]
    assert kept.startswith("wgs_")
    assert submit(admin, "/logout", on="/").url.path == "/login"
    assert "wgfleet" not in admin.cookies
    admin.cookies.set("wgfleet", kept)
    assert admin.get("/", follow_redirects=False).status_code == 303, "what the cookie had is worth nothing any more"


def ended(browser: Browser, method: str = "GET", path: str = "/peers?search=a", **headers: str) -> httpx.Response:
    """Ask for something with a sign-in that was ended."""
    client = browser(**{name.replace("_", "-"): value for name, value in headers.items()})
    client.cookies.set("wgfleet", "wgs_of-yesterday", domain="127.0.0.1")
    return client.request(method, path, follow_redirects=False)


def test_whose_sign_in_has_ended_is_told_and_comes_back_to_the_page(browser: Browser, address: str) -> None:
    shown = ended(browser).headers["location"]
    assert shown == "/login?next=%2Fpeers%3Fsearch%3Da&ended=yes"
    assert "You were signed out" in browser().get(shown).text
    assert "You were signed out" not in browser().get("/login?next=%2Fpeers").text
    assert "was not carried out" not in browser().get(shown).text
    script = {"HX_Request": "true", "HX_Current_URL": f"{address}/peers?node=a%26b"}
    fragment = ended(browser, path="/live", **script)
    assert (fragment.status_code, fragment.headers["hx-redirect"]) == (
        401,
        "/login?next=%2Fpeers%3Fnode%3Da%2526b&ended=yes",
    )
    sent = ended(browser, "POST", "/peers/new", Referer=f"{address}/peers/new?config=wg0").headers["location"]
    assert sent == "/login?next=%2Fpeers%2Fnew%3Fconfig%3Dwg0&ended=unsent"
    assert "was not carried out" in browser().get(sent).text
    assert ended(browser, "POST", "/logout").headers["location"] == "/login?ended=unsent"
    assert ended(browser, path=f"/peers?search={'a' * 2000}").headers["location"] == "/login?ended=yes", (
        "no page takes it"
    )


def test_whose_form_comes_after_a_sign_out_in_another_tab_reads_that_it_was_not_carried_out(
    admin: httpx.Client, address: str
) -> None:
    fields = {"form_token": token_of(admin.get("/new/tag").text), "name": "lost"}
    submit(admin, "/logout", on="/")
    answer = admin.post("/new/tag", data=fields, headers={"Referer": f"{address}/new/tag"})
    assert (answer.url.path, answer.url.params["next"]) == ("/login", "/new/tag")
    assert "was not carried out" in answer.text
    assert "was not carried out" not in admin.post("/logout", data=fields).text


@pytest.mark.parametrize(
    "page", [*LOCATIONS, "http://evil.example/peers", "http://[", "{}//evil.example/", "{}/login?next=x"]
)
def test_nobody_whose_sign_in_has_ended_is_led_elsewhere(browser: Browser, address: str, page: str) -> None:
    named = page.replace("{}", address).replace("\n", "").replace("\\", "")
    fragment = ended(browser, path="/", HX_Request="true", HX_Current_URL=named)
    assert fragment.headers["hx-redirect"] == "/login?ended=yes"
    assert ended(browser, "POST", "/peers/new", Referer=named).headers["location"] == "/login?ended=unsent"


def test_each_sign_in_has_a_cookie_of_its_own(admin: httpx.Client, browser: Browser) -> None:
    other = browser()
    other.cookies.set("wgfleet", "wgs_chosen-by-somebody-else")
    submit(other, "/login", name="admin", password=PASSWORD)
    given = [cookie.value for cookie in other.cookies.jar if cookie.name == "wgfleet" and cookie.domain == "127.0.0.1"]
    assert len(given) == 1
    assert given[0] not in {admin.cookies["wgfleet"], "wgs_chosen-by-somebody-else"}


@pytest.mark.parametrize("beside", ['seen={"a":["b c"]}', "a b=c", 'x="', "=;=;;", "été=1", "wgfleet-theme=\\"])
def test_cookies_of_other_programs_of_the_host_sign_nobody_out(admin: httpx.Client, beside: str) -> None:
    kept = admin.cookies["wgfleet"]
    admin.cookies.clear()
    asked = {b"Cookie": f"{beside}; wgfleet={kept}; {beside}".encode()}
    assert admin.get("/", headers=asked, follow_redirects=False).status_code == 200


@pytest.mark.parametrize("location", LOCATIONS)
def test_nobody_is_sent_elsewhere(location: str) -> None:
    assert visitors.own_path(location) == "/"


def test_a_path_of_ours_is_gone_on_to(person: Person, browser: Browser) -> None:
    person()
    answer = submit(browser(), "/login", name="admin", password=PASSWORD, next="/?a=%2F")
    assert answer.url.raw_path == b"/?a=%2F"


@pytest.mark.parametrize("path", ["/logout", "/login/code", "/no/such/page", "/%6cogout?a=1"])
def test_what_only_takes_forms_is_not_gone_back_to(person: Person, browser: Browser, path: str) -> None:
    signed_in = person()
    answer = submit(browser(), "/login", name="admin", password=PASSWORD, next=path)
    assert (answer.status_code, answer.url.path) == (200, "/")
    assert signed_in.get(f"/login?next={quote(path, safe='')}").url.path == "/"
    assert submit(browser(), "/preferences", on="/login", next=path).url.path == "/login"
    assert (
        submit(browser(), "/login", name="admin", password=PASSWORD, next="/configs/wg%30").url.path == "/configs/wg0"
    )


def test_a_wrong_password_is_refused_audited_and_limited(panel: Panel, person: Person, browser: Browser) -> None:
    person()
    client = browser()
    page = client.get("/login").text
    fields = {"form_token": token_of(page), "name": "admin", "password": "not this one at all"}
    german = {"Accept-Language": "de"}
    answers = [client.post("/login", data=fields, headers=german if number > 8 else {}) for number in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    sent = {"form_token": fields["form_token"], "link": "wgu_none", "password": PASSWORD, "password_again": PASSWORD}
    for answer in (answers[10], client.post("/set-password", data=sent)):
        assert (answer.status_code, int(answer.headers["Retry-After"]) >= 1) == (429, True), answer.url
    assert "Retry-After" not in answers[0].headers
    assert "the name or the password is wrong" in answers[0].text
    assert "der Name oder das Passwort ist falsch" in answers[9].text
    assert "zu viele abgelehnte Anmeldungen (" in answers[10].text
    assert 'value="admin"' in answers[0].text
    assert "not this one at all" not in answers[0].text
    with panel.notes.changing() as notes:  # others come from this address too
        notes.execute("DELETE FROM attempts")
    with panel.store.read() as tx:
        entries, _ = audit.page(tx, action="refused")
    assert "password" in [entry.details["reason"] for entry in entries]


def test_a_second_factor_is_asked_for_by_itself(panel: Panel, person: Person, browser: Browser) -> None:
    person(Role.ADMIN, "careful")
    with panel.store.write() as tx:
        user = users.get(tx, "careful")
        caller = Caller(user.id, user.name, frozenset(), stale_use=False, session_id="any")
        secret, _ = users.begin_second_factor(tx, panel.vault, caller, "wgfleet")
        recovery = users.confirm_second_factor(tx, panel.vault, caller, pyotp.TOTP(secret).now())
    client, stranger = browser(), browser()
    asked = submit(client, "/login", name="careful", password=PASSWORD)
    assert asked.url.path == "/login"
    assert "wgfleet" not in client.cookies
    ticket = asked.text.partition('name="ticket" value="')[2].partition('"')[0]
    wrong = client.post("/login/code", data={"form_token": token_of(asked.text), "ticket": ticket, "code": "123"})
    assert wrong.status_code == 401
    assert 'id="code-wrong"' in wrong.text
    code = {"ticket": ticket, "code": recovery[0]}
    elsewhere = stranger.post("/login/code", data={"form_token": token_of(stranger.get("/login").text), **code})
    assert elsewhere.status_code == 422, "a ticket is bound to the browser whose password was right"
    right = client.post("/login/code", data={"form_token": token_of(asked.text), **code})
    assert right.status_code == 200
    assert right.url.path == "/"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
    ],
)
def test_a_form_of_another_site_is_refused(admin: httpx.Client, headers: dict[str, str], status: int) -> None:
    fields = {"form_token": token_of(admin.get("/").text), "next": "/", "wgfleet-theme": "dark"}
    assert admin.post("/preferences", data=fields, headers=headers).status_code == status


NAMED = {"{config}", "{node}", "{group}", "{user}", "{provider}", "{tag}"}
"""What people give names to, in paths."""


def test_no_path_of_a_page_is_that_of_a_thing_with_a_certain_name() -> None:
    paths = {(m, route.path) for router in ROUTERS for route in router.routes for m in route.methods}
    taken = [
        (fixed, of_thing)
        for method, fixed in paths
        for other_method, of_thing in paths
        if method == other_method and fixed != of_thing and could_be(fixed.split("/"), of_thing.split("/"))
    ]
    assert taken == []


def could_be(fixed: list[str], of_thing: list[str]) -> bool:
    """Say whether a path leads to another page where a thing has the name of one of its parts."""
    if len(fixed) != len(of_thing):
        return False
    pairs = [(a, b) for a, b in zip(fixed, of_thing, strict=True) if a != b]
    return any(b in NAMED for _, b in pairs) and all(b in NAMED or "{" in a for a, b in pairs)


@pytest.mark.parametrize("kind", ["config", "node"])
def test_a_thing_that_is_called_new_has_its_page(admin: httpx.Client, kind: str) -> None:
    fields = {"config": {"pools": "10.99.0.0/24", "mode": "cluster"}, "node": {"endpoint_addresses": "203.0.113.77"}}
    submit(admin, f"/new/{kind}", name="new", **fields[kind])
    page = admin.get(f"/{kind}s/new").text
    assert "<h1" in page
    assert "new" in page.partition("<h1")[2].partition("</h1>")[0].replace("Create a new", "")


@pytest.mark.parametrize("token", ["", "0", "ä", "0" * 64])
def test_a_form_without_our_token_is_refused(admin: httpx.Client, token: str) -> None:
    assert admin.post("/logout", data={"form_token": token}).status_code == 403
    assert admin.get("/", follow_redirects=False).status_code == 200


def test_a_token_is_worth_nothing_to_somebody_else(admin: httpx.Client, browser: Browser) -> None:
    token = token_of(browser().get("/login").text)
    assert admin.post("/logout", data={"form_token": token}).status_code == 403


def test_the_api_takes_no_cookie(admin: httpx.Client) -> None:
    assert admin.get("/api/me").status_code == 401


@pytest.mark.parametrize("path", ["/login", "/", "/no-such-page", "/static/none.js"])
def test_every_answer_has_the_headers_that_browsers_obey(admin: httpx.Client, path: str) -> None:
    headers = admin.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_cookies_are_for_this_host_and_no_script(browser: Browser) -> None:
    answer = browser().get("/login")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=lax" in answer.headers["set-cookie"]
    assert visitors.name_of("wgfleet", secure=True) == "__Host-wgfleet"


def test_who_may_only_look_sees_pages_and_changes_nothing(person: Person) -> None:
    viewer = person(Role.VIEWER)
    assert viewer.get("/").status_code == 200


def test_a_link_sets_a_password(panel: Panel, browser: Browser) -> None:
    with panel.store.write() as tx:
        _, link = users.create(tx, "test", UserSpec("anna", Role.VIEWER))
    client = browser()
    fields = {"link": link, "password": PASSWORD, "password_again": "another one of twelve"}
    assert "is not the same" in submit(client, "/set-password", **fields).text
    answer = submit(client, "/set-password", **{**fields, "password_again": PASSWORD})
    assert answer.status_code == 200
    assert 'value="anna"' in answer.text
    assert submit(client, "/login", name="anna", password=PASSWORD).url.path == "/"
