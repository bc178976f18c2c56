"""Pages in a real browser: nothing that its policy refuses, and what scripts add works, by keyboard alone as well."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Error, Page, Route

from tests.imports.samples import Keys
from tests.panel.web import sample
from tests.panel.web.chromium import code_in
from tests.panel.web.conftest import PASSWORD, PATIENCE_MS, Person, Visit, complaints, peer_path, submit
from tests.panel.world import World
from wgfleet.panel.api import Panel
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import users
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.access.users import UserSpec
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import users as user_rows

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make_for_pages(panel)


def test_a_search_shows_its_results_while_somebody_types(visit: Visit) -> None:
    page = visit("/peers")
    page.get_by_role("searchbox").fill("anna")
    page.get_by_role("link", name="anna-phone").wait_for()
    page.get_by_role("link", name="user-001").wait_for(state="detached")
    assert "search=anna" in page.url
    page.locator("#announcements", has_text="1 result").wait_for(state="attached")


def test_who_is_signed_out_while_a_page_is_open_comes_back_to_it(
    chromium: Browser, address: str, person: Person, panel: Panel
) -> None:
    token = person(Role.VIEWER, "left").cookies["wgfleet"]
    context = chromium.new_context(base_url=address)
    context.add_cookies([{"name": "wgfleet", "value": token, "url": address}])
    page = context.new_page()
    page.goto("/peers?search=anna")
    with panel.store.write() as tx:
        user_rows.end_sign_ins(tx, users.get(tx, "left").id)
    page.get_by_role("searchbox").fill("anna-")
    page.get_by_text("You were signed out").wait_for()
    page.get_by_label("Name").fill("left")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("link", name="anna-phone").wait_for()
    assert page.url == f"{address}/peers?search=anna"
    context.close()


def test_a_search_is_not_undone_by_a_refresh_that_began_before_it(visit: Visit) -> None:
    page = visit("/peers")
    held: list[Route] = []
    page.route(lambda url: "/peers" in url and "search=" not in url, lambda route: held.append(route))  # noqa: PLW0108 - a method of a list has no signature, which is looked at
    page.evaluate("document.querySelector('#results [data-live]').dispatchEvent(new Event('live'))")
    while not held:
        page.wait_for_timeout(20)
    page.get_by_role("searchbox").fill("anna")
    page.get_by_role("link", name="user-001").wait_for(state="detached")
    for each in held:
        with contextlib.suppress(Error):  # the page has given it up
            each.continue_()
    page.wait_for_timeout(1000)
    assert page.get_by_role("link", name="user-001").count() == 0
    assert page.get_by_role("link", name="anna-phone").count() == 1


def test_what_is_ticked_stays_so_when_the_list_is_refreshed_and_is_what_is_changed(visit: Visit) -> None:
    page = visit("/peers?sort=name")
    change = page.get_by_role("button", name="Change those ticked")
    assert not change.is_visible()
    for name in ("user-001", "user-002"):
        page.get_by_role("checkbox", name=f"Choose {name}").check()
    with page.expect_response(lambda answer: "/peers" in answer.url):
        page.evaluate("document.querySelector('#results [data-live]').dispatchEvent(new Event('live'))")
    page.wait_for_timeout(500)
    assert page.get_by_role("checkbox", checked=True).count() == 2
    every = page.get_by_role("checkbox", name="Tick all shown")
    every.check()
    shown = page.locator(".tick").count()
    assert page.locator(".tick:checked").count() == shown > 2
    assert f'" ({shown})"' in change.evaluate("each => getComputedStyle(each, '::after').content")
    every.uncheck()
    assert not change.is_visible()
    for name in ("user-001", "user-002"):
        page.get_by_role("checkbox", name=f"Choose {name}").check()
    change.click()
    page.get_by_text("2 peers that were ticked are changed.").wait_for()


def test_a_dialog_opens_has_a_name_and_closes(visit: Visit, admin: httpx.Client) -> None:
    page = visit(peer_path(admin))
    page.get_by_role("link", name="Delete").click()
    dialog = page.get_by_role("dialog", name="Delete user-003")
    dialog.get_by_role("textbox").wait_for()
    dialog.get_by_role("link", name="Cancel").click()
    dialog.wait_for(state="hidden")


def test_what_changes_is_on_the_screen_by_itself(visit: Visit, panel: Panel) -> None:
    page = visit("/nodes")
    page.locator("html[data-live=connected]").wait_for(state="attached")
    with panel.store.write() as tx:
        found = node_rows.find(tx, "par1")
        assert found is not None
        node_rows.set_values(tx, found.id, {"summary": "something new"})
    page.get_by_text("something new").wait_for()


def test_who_shows_a_code_sees_when_its_device_is_connected(visit: Visit, panel: Panel) -> None:
    world = World(panel.store, panel.vault)
    with panel.store.read() as tx:
        config, node = configs.get(tx, "wg0"), nodes.get(tx, "fra1")
    (peer,) = world.peers(config, "just-made")
    page = visit(f"/peers/{peer.id}/access")
    now = page.get_by_role("status").filter(has_text="The device is now")
    now.get_by_text("not connected").wait_for()
    other = visit(f"/peers/{peer.id}")
    other.get_by_role("heading", name="Why it is not connected").wait_for()
    world.seen(config, node, {peer.public_key: "198.51.100.200:40000"})
    now.get_by_text("connected", exact=True).wait_for()
    other.get_by_role("heading", name="Why it is not connected").wait_for(state="detached")


def opened_while(page: Page, change: Callable[[], object]) -> None:
    """Open the list of operations, and have something change when it was made and is not on the screen yet."""

    def change_first(route: Route) -> None:
        made = route.fetch()
        change()
        route.fulfill(response=made)

    page.add_init_script("window.setInterval = () => 0")  # so that it does not ask again by the clock
    page.route("**/operations", change_first, times=1)
    with page.expect_response(lambda answer: answer.request.headers.get("hx-request") == "true"):
        page.goto("/operations")


def test_what_changes_while_a_page_is_loaded_is_asked_for(visit: Visit, panel: Panel) -> None:
    opened_while(visit("/profile"), lambda: panel.events.note("operation", "o1"))


def test_what_a_tab_hears_while_another_is_loaded_is_asked_for_there(visit: Visit) -> None:
    first = visit("/login")
    first.add_init_script(
        "window.EventSource = class extends EventSource { constructor(a) { super(a); window.stream = this } }"
    )
    first.goto("/profile")
    first.locator("html[data-live=connected]").wait_for(state="attached")
    heard = """stream.dispatchEvent(new MessageEvent("changes", {data: '{"changes": ["operation"]}'}))"""
    opened_while(first.context.new_page(), lambda: first.evaluate(heard))


def test_times_stay_in_words_when_they_are_refreshed(visit: Visit) -> None:
    page = visit("/nodes/fra1")
    times = page.locator("#now relative-time")
    said = times.all_inner_texts()
    assert said
    with page.expect_response(lambda answer: answer.url.endswith("/nodes/fra1")) as refreshed:
        page.evaluate("document.querySelector('#now').dispatchEvent(new Event('live'))")
    refreshed.value.finished()
    page.wait_for_timeout(500)
    assert not [each for each in times.all_inner_texts() if "UTC" in each]


def test_many_tabs_share_one_stream(visit: Visit) -> None:
    first = visit("/nodes")
    first.locator("html[data-live=connected]").wait_for(state="attached")
    for _ in range(7):
        tab = first.context.new_page()
        tab.goto("/nodes")
        tab.locator("html[data-live=connected]").wait_for(state="attached")
    streams = first.context.pages[-1].evaluate(
        "performance.getEntriesByType('resource').filter(entry => entry.name.includes('/live')).length"
    )
    assert streams == 0


def signed_in_by_name(chromium: Browser, address: str) -> Page:
    """Sign in at the panel by its host name, which passkeys need, in a browser with an authenticator of its own."""
    context = chromium.new_context(base_url=address.replace("127.0.0.1", "localhost"))
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    authenticator = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    able = {"isUserVerified": True, "automaticPresenceSimulation": True}
    session.send("WebAuthn.addVirtualAuthenticator", {"options": authenticator | able})
    page.goto("/login")
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/")
    return page


def test_a_passkey_is_made_and_signs_in(chromium: Browser, address: str, admin: httpx.Client) -> None:
    assert admin.get("/").status_code == 200
    page = signed_in_by_name(chromium, address)
    page.goto("/profile")
    page.get_by_role("link", name="Add a passkey").click()
    dialog = page.get_by_role("dialog", name="Add a passkey")
    dialog.get_by_label("Name").fill("this browser")
    dialog.get_by_label("Current password").fill("not the present one")
    dialog.get_by_role("button", name="Go on").click()
    dialog.get_by_role("alert").get_by_text("is not the present password").wait_for()
    dialog.get_by_label("Current password").fill(PASSWORD)
    dialog.get_by_role("button", name="Go on").click()
    page.get_by_role("rowheader", name="this browser").wait_for()
    assert complaints(page) == []
    page.context.clear_cookies()
    page.goto("/login?next=/peers")
    assert complaints(page) == []
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.get_by_role("heading", name="Peers", exact=True).wait_for()
    page.goto("/profile")
    page.get_by_role("button", name="Remove the passkey this browser").click()
    page.get_by_text("None yet.").wait_for()
    page.context.clear_cookies()
    page.goto("/login")
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.get_by_role("alert").get_by_text("unknown here").wait_for()
    page.context.close()


def test_a_search_is_opened_and_gone_through_by_keyboard_alone(visit: Visit) -> None:
    page = visit("/nodes")
    page.keyboard.press("Control+k")
    dialog = page.get_by_role("dialog", name="Search")
    dialog.get_by_role("searchbox").wait_for()
    page.keyboard.type("user-00")
    dialog.get_by_role("link", name="user-003").wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.matches('.hits a')")
    page.keyboard.press("Enter")
    page.wait_for_url("**/peers/*")


def test_a_key_that_is_pressed_as_soon_as_the_page_is_there_opens_the_search_too(visit: Visit) -> None:
    page = visit("/login")
    page.add_init_script(
        """document.addEventListener("DOMContentLoaded", () =>
            document.dispatchEvent(new KeyboardEvent("keydown", {key: "k", ctrlKey: true})))"""
    )
    page.goto("/nodes")
    page.get_by_role("dialog", name="Search").get_by_role("searchbox").wait_for()
    assert page.url.endswith("/nodes")


def tab_to(page: Page, what: str) -> None:
    """Press Tab until something of that name, or field of that id, has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        named = "document.activeElement.id || document.activeElement.innerText"
        if page.evaluate(named).strip() == what:
            return
    pytest.fail(f"{what} cannot be reached by Tab")


def test_a_network_a_peer_and_a_drain_need_no_mouse(visit: Visit, admin: httpx.Client) -> None:
    page = visit("/set-up")
    tab_to(page, "config_name")
    page.keyboard.type("wg7")
    tab_to(page, "pools")
    page.keyboard.type("10.77.0.0/24")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="File and QR code").wait_for()
    page.goto("/peers/new?config=wg0")
    page.locator("#name:focus").wait_for()  # browsers give it the focus with the first frame
    page.keyboard.type("made-by-keys")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="File and QR code").wait_for()
    tab_to(page, "To the peer")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="made-by-keys").wait_for()
    page.goto("/nodes/par1")
    tab_to(page, "Drain")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Drain par1")
    dialog.wait_for()
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    page.keyboard.press("Enter")
    dialog.wait_for()
    tab_to(page, "Drain")
    page.keyboard.press("Enter")
    page.wait_for_url("**/operations/*")
    submit(admin, "/nodes/par1/uncordon")


def test_a_link_to_a_file_puts_itself_into_the_form_and_leaves_no_secret_in_the_address(
    visit: Visit, admin: httpx.Client
) -> None:
    page = visit(f"{peer_path(admin)}/links")
    page.get_by_role("button", name="Create it").click()
    link = page.locator("#made").inner_text()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.url} {request.headers.get('referer')}"))
    page.goto("about:blank")
    page.goto(link)
    assert page.url.endswith("/shared")
    for language, display, use in (("de", "Display", "Use"), ("en", "Anzeige", "Übernehmen")):
        page.get_by_text(display, exact=True).click()
        page.locator("select[name=wgfleet-language]").select_option(language)
        page.get_by_role("button", name=use, exact=True).click()
        page.wait_for_function(f"document.documentElement.lang === '{language}'")
    page.get_by_role("button", name="Show the file").click()
    shown = code_in(page.locator("img.qr"))
    with page.expect_download() as download:
        page.get_by_role("button", name="Download", exact=True).click()
    file = download.value.path().read_text()
    assert "PrivateKey" in file
    assert shown == "".join(line for line in file.splitlines(keepends=True) if not line.startswith("#"))
    assert link.partition("#")[2] not in " ".join(asked)


@pytest.mark.parametrize("before_it", ["#", "?link="])
def test_a_link_of_a_user_puts_itself_into_the_form_and_leaves_no_secret_in_the_address(
    visit: Visit, panel: Panel, before_it: str
) -> None:
    with panel.store.write() as tx:
        _, link = users.create(tx, "test", UserSpec(f"u{len(before_it)}", Role.VIEWER))
    page = visit("/set-password")
    asked: list[str] = []
    page.goto("about:blank")
    page.on("request", lambda request: asked.append(f"{request.url} {request.headers.get('referer')}"))
    page.goto(f"/set-password{before_it}{link}")
    page.wait_for_function("document.activeElement.id === 'password'")
    assert page.url.endswith("/set-password")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_text("The password is set").wait_for()
    assert all(link not in each for each in asked[1:]), "but for the old link itself"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_of_peers_becomes_the_text_of_its_form(visit: Visit, encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "peers.csv"
    file.write_bytes("name\n\u0633\u0627\u0631\u0627\n".encode(encoding))
    page = visit("/peers/many/table")
    page.get_by_label("CSV file").set_input_files(file)
    page.get_by_role("button", name="Show what it does").click()
    page.get_by_text("1 new, 0 changed").wait_for()
    assert "\u0633\u0627\u0631\u0627" in page.locator("details li").all_inner_texts()


def test_chosen_files_of_another_program_are_sent_whole(visit: Visit, tmp_path: Path) -> None:
    keys = Keys()
    server, anna = tmp_path / "moved.conf", tmp_path / "anna's phone.conf"
    server.write_text(
        f"[Interface]\nPrivateKey = {keys.private('server')}\nListenPort = 51977\nAddress = 10.201.0.1/24\n"
        f"[Peer]\n# anna-moved\nPublicKey = {keys.public('anna')}\nAllowedIPs = 10.201.0.2/32\n"
    )
    anna.write_text(
        f"[Interface]\nPrivateKey = {keys.private('anna')}\nAddress = 10.201.0.2/32\nDNS = 9.9.9.9\n"
        f"[Peer]\nPublicKey = {keys.public('server')}\nEndpoint = old.example.org:51977\nAllowedIPs = 10.0.0.0/8\n"
    )
    page = visit("/new/import")
    page.get_by_label("Its files").set_input_files([server, anna])
    page.get_by_role("button", name="Show what it does").click()
    page.get_by_text("moved is a new config: 1 new peers").wait_for()
    assert "anna-moved" in page.locator("table").inner_text()
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_role("heading", name="What is left to do").wait_for()
    assert "They say old.example.org." in page.locator("main").inner_text()


def test_a_chart_has_the_numbers_of_its_table(visit: Visit) -> None:
    page = visit("/usage")
    page.locator(".uplot canvas").wait_for()
    assert page.locator("#numbers tbody tr").count() == 24
