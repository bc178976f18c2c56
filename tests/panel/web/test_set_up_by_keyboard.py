"""Set-up on a phone, by keyboard alone: what is wrong has the focus, and nothing is too small, too wide or hidden."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.panel.web.conftest import PASSWORD, PATIENCE_MS, SET_UP, complaints
from tests.panel.world import World
from wgfleet.panel.api import Panel
from wgfleet.panel.store import nodes

pytestmark = pytest.mark.slow
FINGER = 24  # px, as WCAG 2.2 has it (2.5.8)
MOST_STEPS = 40
FOCUSED = """() => {
  const found = document.activeElement, style = getComputedStyle(found);
  const ring = style.outlineStyle !== "none" || style.boxShadow !== "none";
  return {name: found.name || "", tag: found.tagName, ring: ring};
}"""
TOO_SMALL = """(least) => [...document.querySelectorAll("a, button, input, select, summary")]
  .filter(each => each.checkVisibility() && each.getBoundingClientRect().height < least && !each.closest("p, .unseen"))
  .map(each => each.outerHTML)"""


@pytest.fixture
def phone(chromium: Browser, address: str, panel: Panel) -> Iterator[Page]:
    """Open a browser that has never been here on a phone; this machine is a node."""
    world = World(panel.store, panel.vault)
    node = world.node("here")
    with panel.store.write() as tx:
        nodes.set_values(tx, node.id, {"is_panel_node": True})
    context = chromium.new_context(
        base_url=address,
        viewport={"width": 360, "height": 740},
        is_mobile=True,
        has_touch=True,
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


def looked_at(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(TOO_SMALL, FINGER) == []
    assert complaints(page) == []


def has_focus(page: Page, name: str) -> None:
    page.wait_for_function("name => document.activeElement.name === name", arg=name)


def tab_to(page: Page, name: str) -> None:
    """Go on to a field; each step on the way can be seen."""
    for _ in range(MOST_STEPS):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        assert found["ring"], found
        if found["name"] == name:
            return
    raise AssertionError(name)


def test_a_panel_is_set_up_on_a_phone_by_keyboard_alone(phone: Page) -> None:
    phone.goto(f"/set-up/administrator#{SET_UP}")
    assert phone.url.endswith("/set-up/administrator")
    looked_at(phone)
    has_focus(phone, "password")
    phone.keyboard.type(PASSWORD)
    tab_to(phone, "password_again")
    phone.keyboard.type("something else")
    phone.keyboard.press("Enter")
    phone.get_by_text("is not the same as the first one").first.wait_for()
    has_focus(phone, "password_again")
    looked_at(phone)
    phone.keyboard.press("Shift+Tab")
    has_focus(phone, "password")
    phone.keyboard.type(PASSWORD)
    tab_to(phone, "password_again")
    phone.keyboard.type(PASSWORD)
    phone.keyboard.press("Enter")
    phone.wait_for_url("**/set-up")
    looked_at(phone)
    phone.keyboard.press("Tab")
    phone.keyboard.press("Enter")  # to the content, past the bar
    tab_to(phone, "pools")
    phone.keyboard.press("Control+a")
    phone.keyboard.type("10.8.0.0/33")
    phone.keyboard.press("Enter")
    phone.get_by_text("is not a network").first.wait_for()
    has_focus(phone, "pools")
    looked_at(phone)
    phone.keyboard.press("Control+a")
    phone.keyboard.type("10.8.0.0/16")
    phone.keyboard.press("Enter")
    phone.wait_for_url("**/access")
    phone.get_by_text("A node is being set up").wait_for()
    looked_at(phone)
    phone.keyboard.press("Tab")
    phone.keyboard.press("Enter")
    phone.keyboard.press("Tab")
    assert phone.evaluate(FOCUSED)["tag"] == "A", "from the content on, not from the bar"
