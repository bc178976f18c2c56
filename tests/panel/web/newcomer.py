"""What somebody does who has never seen the panel, in a real browser against a lab of real nodes and devices.

From the address that the terminal shows to a node that dies while its page is looked at. `Newcomer.seconds` has how
long each step took, from the first key to what the world or the page shows in the end.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pyotp
from playwright.sync_api import Browser, Locator, Page

from tests.panel.web.chromium import code_in
from wgfleet.lab import fleet, stock
from wgfleet.lab.hosts import Host
from wgfleet.lab.state import Lab

NAME, PASSWORD = "anna", "four words that nobody says"
CONFIG, NODE_ADDRESS = "office", "10.9.0.1"
PATIENCE_MS = 60_000
REACHED_S = 60.0
FACTOR_S = 30  # how long a code of an authenticator app is the one
# The lab's CA is not the browser's, and nothing there is behind a proxy.
OF_THE_LAB = ("--ignore-certificate-errors", "--no-proxy-server")
LIVE = "html[data-live=connected]"


class Newcomer:
    """Somebody with a browser and a terminal on each machine; `complaints`: what the browser's console said."""

    def __init__(self, lab: Lab, browser: Browser) -> None:
        self.lab = lab
        self.seconds: dict[str, float] = {}
        context = browser.new_context(base_url=fleet.panel_url(lab), viewport={"width": 1200, "height": 1000})
        context.set_default_timeout(PATIENCE_MS)
        self.complaints: list[str] = []
        self.page = self._opened(context.new_page())

    def _opened(self, page: Page) -> Page:
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step."""
        begun = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - begun, 2)

    def whole_way(self) -> None:
        """Go all of it, from a panel that starts for the first time; two machines are to become nodes."""
        with self.step("panel started"):
            fleet.first_start(self.lab)
        self.set_up()
        self.sign_in_with_a_second_factor()
        for number, node in enumerate(fleet.hosts(self.lab, "node"), 1):
            with self.step(f"node {number} enrolled"):
                self.enroll(node)
        self.make_config()
        self.connect_a_device()
        drained = self.drain()
        killed = self.kill()
        assert drained != killed
        self.open_tabs(killed)

    def fill(self, **fields: str) -> None:
        for label, text in fields.items():
            self.page.get_by_label(label.replace("_", " "), exact=True).fill(text)

    def press(self, name: str, inside: Locator | None = None) -> None:
        (inside or self.page).get_by_role("button", name=name, exact=True).click()

    def follow(self, name: str) -> None:
        self.page.get_by_role("main").get_by_role("link", name=name, exact=True).first.click()

    def set_up(self) -> None:
        """From the terminal's address to the first device, connected through this machine."""
        page = self.page
        with self.step("panel set up, code shown"):
            page.goto(fleet.set_up_address(self.lab))
            self.fill(Name=NAME, Password=PASSWORD, The_same_again=PASSWORD)
            self.press("Go on")
            page.get_by_label("Public address of this machine").fill(self.lab.host("panel").address)
            self.press("Create and show the code")
            text = code_in(page.locator("img.qr"))
        with self.step("first device connected"):
            use(self.lab.host("client-1"), text, fleet.NODE_TUNNEL_ADDRESS)

    def sign_in_with_a_second_factor(self) -> None:
        page = self.page
        with self.step("second factor set up"):
            page.get_by_text(NAME, exact=True).click()
            page.get_by_role("link", name="Your account").click()
            self.follow("Set up a second factor")
            page.get_by_role("dialog").get_by_label("Current password").fill(PASSWORD)
            self.press("Go on", page.get_by_role("dialog"))
            app = pyotp.parse_uri(code_in(page.locator("img.qr")))
            assert isinstance(app, pyotp.TOTP)
            self.fill(Code=app.at(int(time.time()) - FACTOR_S))  # the next one is good at once
            self.press("Confirm")
            self.follow("I have kept them")
        with self.step("signed in with it"):
            page.get_by_text(NAME, exact=True).first.click()
            self.press("Sign out")
            self.fill(Name=NAME, Password=PASSWORD)
            self.press("Sign in")
            self.fill(Code=app.now())
            self.press("Sign in")
            page.get_by_role("heading", name="Fleet").wait_for()

    def enroll(self, node: Host) -> None:
        """Add a node, and run on it what the page says, until the page says that it is connected."""
        page = self.page
        page.get_by_role("navigation", name="Pages", exact=True).get_by_role("link", name="Nodes").click()
        self.follow("Add a node")
        self.fill(Name=node.name, Addresses_for_devices=node.address)
        self.press("Add it")
        line = page.locator("#line").inner_text()
        self.follow("Watch it join")
        with self.without_loading():
            fleet.join(node, line)
            page.get_by_text("connected", exact=True).wait_for()

    def make_config(self) -> None:
        page = self.page
        with self.step("config made, three nodes serve it"):
            page.get_by_role("navigation", name="Pages", exact=True).get_by_role("link", name="Configs").click()
            self.follow("Create a config")
            self.fill(Name=CONFIG, Networks="10.9.0.0/16")
            self.press("Create")
            for _ in range(3):
                self.follow("Assign a node")
                self.press("Assign it")
            with self.without_loading():
                page.get_by_text("3 of 3 in use").wait_for()

    def connect_a_device(self) -> None:
        page = self.page
        with self.step("peer made, code shown"):
            self.follow("Create a peer")
            self.fill(Name="anna-laptop")
            self.press("Create")
            text = code_in(page.locator("img.qr"))
        with self.step("it connects"):
            use(self.lab.host("client-2"), text, NODE_ADDRESS)
        with self.without_loading(), self.step("page of the code says that it is connected"):
            page.get_by_role("status").get_by_text("connected", exact=True).wait_for()

    def drain(self) -> str:
        """Drain the node where the device is, until the operation's page says that it ended."""
        page, name = self.page, self._home()
        with self.step("node drained, page says that it ended"):
            page.get_by_role("link", name=f"Drain {name}").click()
            dialog = page.get_by_role("dialog", name=f"Drain {name}")
            assert "Its 1 peer gets a home at another node" in dialog.inner_text()
            self.press("Drain", dialog)
            page.wait_for_url("**/operations/*")
            with self.without_loading():
                page.get_by_text("succeeded", exact=True).first.wait_for()
        stock.wait_reply(self.lab.host("client-2"), NODE_ADDRESS, timeout_s=REACHED_S)
        return name

    def kill(self) -> str:
        """Have the node die where the device is now, while its config is looked at."""
        name = self._home()
        page, host = self.page, self.lab.host(name)
        row = page.get_by_role("row", name=re.compile(f"^{name}"))
        row.get_by_text("serving", exact=True).wait_for()
        page.locator(LIVE).wait_for(state="attached")
        with self.without_loading(), self.step("killed node shown as down"):
            host.kill_all()
            row.get_by_text("down", exact=True).wait_for()
        with self.step("its device goes on"):
            stock.wait_reply(self.lab.host("client-2"), NODE_ADDRESS, timeout_s=REACHED_S)
        return name

    def _home(self) -> str:
        """Return which node has the only peer, by the page of the config."""
        self.page.goto(f"/configs/{CONFIG}")
        row = self.page.get_by_role("row").filter(has=self.page.get_by_role("cell", name="1", exact=True))
        return row.get_by_role("link").first.inner_text()

    def open_tabs(self, dead: str) -> None:
        """Open six tabs that say that a node is away; bring it back, and see that each says so."""
        context, tabs = self.page.context, [self.page]
        with self.step("six tabs opened"):
            tabs += [self._opened(context.new_page()) for _ in range(5)]
            for tab, path in zip(tabs, ("/", "/nodes", f"/nodes/{dead}") * 2, strict=True):
                tab.goto(path)
                tab.get_by_text("away", exact=True).wait_for()
                tab.locator(LIVE).wait_for(state="attached")
        with self.step("node back, on all of them"):
            fleet.start_again(self.lab.host(dead), self.lab)
            for tab in tabs:
                tab.get_by_text("away", exact=True).wait_for(state="detached")
        with self.step("seventh page"):
            seventh = self._opened(context.new_page())
            seventh.goto("/events")
            seventh.get_by_role("heading", name="Events", exact=True).wait_for()

    @contextmanager
    def without_loading(self) -> Iterator[None]:
        """See that the page in which this begins is the one in which it ends."""
        self.page.evaluate("window.thisOne = true")
        yield
        assert self.page.evaluate("window.thisOne === true"), "the page was loaded again"


def use(device: Host, text: str, target: str) -> None:
    """Scan a code with a device: bring its tunnel up, and see that packets come back."""
    stock.write_file(device, text)
    stock.up(device)
    stock.wait_reply(device, target, timeout_s=REACHED_S)
