"""Names in Persian sentences are isolated, so that they turn nothing around them; in other languages nothing is."""

import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person, submit
from wgfleet.panel.api import Panel
from wgfleet.panel.services import configs
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.web.isolation import isolated, without_isolation
from wgfleet.panel.web.languages import translations
from wgfleet.panel.web.reasons import in_words
from wgfleet.protocol.reasons import Reason

PERSIAN = {"Accept-Language": "fa"}


@pytest.fixture(scope="module", autouse=True)
def _fleet(panel: Panel) -> None:
    sample.make(panel, peers=3)


def test_places_of_values_are_isolated_in_persian_alone() -> None:
    assert isolated("گره %(name)s: %(num)s") == "گره \u2068%(name)s\u2069: %(num)s"
    assert isolated("گره {node!r} در {config}") == "گره \u2068{node!r}\u2069 در \u2068{config}\u2069"
    assert isolated("node %(name)s") == "node %(name)s"
    assert without_isolation("\u2068wg0\u2069") == "wg0"


def test_a_reason_isolates_its_values() -> None:
    persian = translations("fa").gettext
    reason = Reason("there is no tag {reference!r}", reference="staff")
    assert "\u2068'staff'\u2069" in in_words(persian, reason)
    assert in_words(lambda text: text, reason) == "there is no tag 'staff'"


def test_pages_isolate_names_in_texts_and_in_attributes(person: Person) -> None:
    page = person(Role.ADMIN, **PERSIAN).get("/peers").text
    assert '\u2068user-001\u2069"' in page


def test_a_name_copied_from_a_sentence_is_the_name(panel: Panel, person: Person) -> None:
    admin = person(Role.ADMIN, **PERSIAN)
    with panel.store.read() as tx:
        peer = peers.page(tx, configs.id_of(tx, "wg0"))[0]
    page = admin.get(f"/peers/{peer.id}/delete").text
    assert f"\u2068{peer.name}\u2069" in page
    submit(admin, f"/peers/{peer.id}/delete", typed_name=f"\u2068{peer.name}\u2069")
    assert admin.get(f"/peers/{peer.id}").status_code == 404
