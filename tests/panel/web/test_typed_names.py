"""Names that are typed to confirm what destroys: whatever is in them, browsers take what the page asks for."""

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Visit, submit
from wgfleet.panel.api import Panel

NAMES = (
    "anna (work) +1",
    "a.b|c*d?",
    r"c:\\x",
    "^$ [1-2] {3}",
    "a/b - c & d",
    "\N{ARABIC LETTER REH}\N{ARABIC LETTER DAD}",
)


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make(panel, peers=3)


@pytest.mark.slow
def test_a_name_confirms_whatever_is_in_it_and_another_does_not(admin: httpx.Client, visit: Visit) -> None:
    page = visit("/")
    for name in NAMES:
        made = submit(admin, "/peers/new", config="wg0", name=name)
        page.goto(f"{made.url.path.removesuffix('/access')}/delete")
        field = page.locator("#typed_name")
        assert name in (field.get_attribute("title") or ""), "browsers say it where another one was typed"
        for typed, taken in ((f"{name}x", False), (name, True)):
            field.fill(typed)
            assert field.evaluate("field => field.checkValidity()") is taken, (name, typed)
        page.get_by_role("button", name="Delete").click()
        page.wait_for_url("**/peers")
