"""A panel with its pages on loopback, and people who look at them. The tests of a module share one: they are many.

SQLite is enough: pages ask the same services as the API, whose tests run on both databases.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page

from tests.migrated import migrated_at
from tests.panel.authority import keep
from tests.panel.conftest import NO_AUTHORITY, ListedEvents, served
from tests.panel.web.chromium import launched
from wgfleet.panel import passwords
from wgfleet.panel.api import Panel, create_app
from wgfleet.panel.dns.metrics import DnsMetrics
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.dns.rate_limits import Limiter
from wgfleet.panel.reconcile.engine.events import Event
from wgfleet.panel.services.access import sign_ins, users
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.access.users import UserSpec
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import Store
from wgfleet.panel.tokens import digest
from wgfleet.panel.vault import Vault
from wgfleet.panel.web import install

PASSWORD = "four words that nobody says"  # noqa: S105 - of people who live in tests
SET_UP = "wgu_shown-by-the-terminal"
Browser = Callable[..., httpx.Client]
Person = Callable[..., httpx.Client]
Visit = Callable[..., Page]
AXE = Path(__file__).parents[3] / "build/assets/node_modules/axe-core/axe.min.js"
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    folder = tmp_path_factory.mktemp("panel")
    url = migrated_at(folder / "panel.sqlite")
    store, vault, settings = Store(url), Vault([bytes(32)]), Settings(data_dir=folder)
    yield Panel(
        store=store,
        vault=vault,
        settings=settings,
        publisher=Publisher(DnsPlugins.installed(settings), Limiter(store, vault), DnsMetrics()),
        authorities=keep(store, vault),
        set_up_digest=digest(SET_UP),
        events=ListedEvents(Event("node", "n1", {"name": "fra1"}), Event("config", "c1", {})),
    )
    store.close()


@pytest.fixture(scope="session")
def password_hash() -> str:
    return passwords.hashed(PASSWORD)


@pytest.fixture(scope="module")
def address(panel: Panel) -> Iterator[str]:
    """Where the pages and the API are."""
    app = create_app(panel)
    install(app, panel)
    with served(app) as url:
        yield url


@pytest.fixture
def browser(address: str) -> Iterator[Browser]:
    """Make a browser that has not been here before."""
    opened: list[httpx.Client] = []

    def make(**headers: str) -> httpx.Client:
        opened.append(
            httpx.Client(
                base_url=address,
                trust_env=False,
                verify=NO_AUTHORITY,
                timeout=120,
                follow_redirects=True,
                headers=headers,
            )
        )
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def person(panel: Panel, browser: Browser, password_hash: str) -> Person:
    """Make somebody with a role who is signed in; the password is `PASSWORD`."""

    def make(role: Role = Role.ADMIN, name: str | None = None, **headers: str) -> httpx.Client:
        who = name or str(role)
        with panel.store.write() as tx:
            if not any(user.name == who for user in users.page(tx)):
                _, link = users.create(tx, "test", UserSpec(who, role))
                users.set_password_by_link(tx, link, password_hash)
            tx.flush()
            _, token = sign_ins.begin(tx, panel.vault, sign_ins.claim(tx, who), None, "127.0.0.1", "test")
        client = browser(**headers)
        client.cookies.set("wgfleet", token, domain="127.0.0.1")
        return client

    return make


@pytest.fixture
def admin(person: Person) -> httpx.Client:
    return person(Role.ADMIN)


def token_of(page: str) -> str:
    """Return the token that the forms of a page carry."""
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', page)
    assert found is not None, page
    return found[1]


def submit(client: httpx.Client, path: str, *, on: str | None = None, **fields: str | list[str]) -> httpx.Response:
    """Load a page, and send a form of it to a path."""
    page = client.get(on or path)
    return client.post(path, data={"form_token": token_of(page.text), **fields})


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """One browser for all tests of a module: it takes seconds to start.

    Not for a session: while Playwright runs, its event loop does in this thread, and no other test could begin one.
    """
    with launched() as browser:
        yield browser


@pytest.fixture
def visit(chromium: Chromium, address: str, admin: httpx.Client) -> Iterator[Visit]:
    """Open a page as an administrator; whatever the console says is a failure."""
    said: list[str] = []
    opened = []

    def open_page(path: str, theme: str = "light", width: int = 1200) -> Page:
        context = chromium.new_context(
            color_scheme="dark" if theme == "dark" else "light",
            viewport={"width": width, "height": 800},
            base_url=address,
            bypass_csp=False,
            reduced_motion="reduce",
        )
        context.set_default_timeout(PATIENCE_MS)
        context.add_cookies([{"name": "wgfleet", "value": admin.cookies["wgfleet"], "url": address}])
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path)
        opened.append(context)
        return page

    yield open_page
    for context in opened:
        context.close()
    assert said == []


def complaints(page: Page, options: Mapping[str, object] | None = None) -> list[object]:
    """Return what axe finds. Playwright evaluates apart from the page, whose policy has no place for its script."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())
    found = page.evaluate(
        "async (options) => (await axe.run(options)).violations.map(v => [v.id, v.nodes.map(n => n.html)])",
        {"resultTypes": ["violations"], **(options or {})},
    )
    return list(found)


def peer_path(admin: httpx.Client) -> str:
    found = re.search(r"/peers/\w{32}", admin.get("/peers?search=user-003").text)
    assert found is not None
    return found[0]
