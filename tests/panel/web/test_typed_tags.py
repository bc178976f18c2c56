"""Tags that are typed on a peer's page: added to those it has by then, and within a limit only those there are."""

from collections.abc import Iterator

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person, submit
from tests.panel.web.test_two_tabs import Fields
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.jobs.job import JobAction, JobField
from wgfleet.panel.services import audit, configs
from wgfleet.panel.services.access import users
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.fleet import peers, tags
from wgfleet.panel.services.jobs import commands
from wgfleet.panel.services.jobs.commands import JobSpec

HINT = "an administrator gives a new tag to its first peer"


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make(panel, peers=2)


@pytest.fixture
def peer_id(panel: Panel) -> Iterator[str]:
    with panel.store.read() as tx:
        yield peers.page(tx, configs.id_of(tx, "wg0"))[0].id
    with panel.store.write() as tx:
        for tag in tags.page(tx):
            tags.delete(tx, "test", tag)


def tags_of(panel: Panel, peer_id: str) -> list[str]:
    with panel.store.read() as tx:
        return [tag.name for tag in tags.of_peer(tx, peer_id)]


def made_tags(panel: Panel, *names: str) -> list[str]:
    with panel.store.write() as tx:
        return [tags.create(tx, "test", {"name": name}).id for name in names]


def entries(panel: Panel) -> int:
    with panel.store.read() as tx:
        return audit.page(tx, limit=1)[1]


def limited(panel: Panel, person: Person, name: str) -> httpx.Client:
    client = person(Role.OPERATOR, name)
    with panel.store.write() as tx:
        user = users.get(tx, name)
        user.limit_configs, user.limit_groups = [configs.id_of(tx, "wg0")], []
    return client


def test_within_a_limit_a_word_that_is_no_tag_there_is_refused_alike_whether_it_is_one_elsewhere(
    panel: Panel, person: Person, peer_id: str
) -> None:
    operator = limited(panel, person, "limited-typist")
    elsewhere, here = made_tags(panel, "of-others", "of-mine")
    with panel.store.write() as tx:
        others = peers.page(tx, configs.id_of(tx, "office"))[0].id
        tags.change_peers(tx, "test", tags.get(tx, elsewhere), add=[others])
        tags.change_peers(tx, "test", tags.get(tx, here), add=[peer_id])
    before = entries(panel)
    form = {"name": "typist", "enabled": "true", "config": "wg0"}
    for path in ("/peers/new", f"/peers/{peer_id}/edit"):
        said = set()
        for typed in ("of-others", "of-nobody"):
            page = submit(operator, path, **form, new_tags=f"of-mine, {typed}")
            assert page.status_code == 422, path
            assert elsewhere not in page.text
            assert 'id="new_tags-wrong"' in page.text
            assert HINT in page.text
            assert typed in page.text
            said.add(page.text.split('id="new_tags-wrong"')[1].split("</")[0].replace(typed, "TYPED"))
        assert len(said) == 1, said
    assert entries(panel) == before, "nothing was made"
    assert tags_of(panel, peer_id) == ["of-mine"]
    made = submit(operator, "/peers/new", **form, new_tags="of-mine").url.path
    assert tags_of(panel, made.split("/")[2]) == ["of-mine"]


def both_save(admin: httpx.Client, path: str, *changes: dict[str, list[str]]) -> None:
    """Have some save forms of one page that were all opened before the first of them saved."""
    opened = [Fields(admin.get(path).text, path).sent for _ in changes]
    for sent, each in zip(opened, changes, strict=True):
        answer = admin.post(path, data=sent | each, follow_redirects=False)
        assert answer.status_code == 303, answer.text[-3000:]


def test_what_two_people_type_at_once_is_there_afterwards(panel: Panel, admin: httpx.Client, peer_id: str) -> None:
    both_save(admin, f"/peers/{peer_id}/edit", {"new_tags": ["dta"]}, {"new_tags": ["dtb"]})
    assert tags_of(panel, peer_id) == ["dta", "dtb"]


def test_who_types_a_tag_leaves_what_another_ticked_and_unticked(
    panel: Panel, admin: httpx.Client, peer_id: str
) -> None:
    ticked, unticked, stays = made_tags(panel, "ticked", "unticked", "stays")
    with panel.store.write() as tx:
        for each in (unticked, stays):
            tags.change_peers(tx, "test", tags.get(tx, each), add=[peer_id])
    both_save(admin, f"/peers/{peer_id}/edit", {"tags": [ticked, stays]}, {"new_tags": ["typed"], "notes": ["mine"]})
    assert tags_of(panel, peer_id) == ["stays", "ticked", "typed"]


def test_ticks_and_a_typed_tag_are_saved_together(panel: Panel, admin: httpx.Client, peer_id: str) -> None:
    old, new = made_tags(panel, "old", "new")
    with panel.store.write() as tx:
        tags.change_peers(tx, "test", tags.get(tx, old), add=[peer_id])
    both_save(admin, f"/peers/{peer_id}/edit", {"tags": [new], "new_tags": ["typed"]})
    assert tags_of(panel, peer_id) == ["new", "typed"]


@pytest.mark.parametrize("path", ["/peers/new", "/peers/{}/edit"])
def test_more_tags_than_a_peer_may_have_are_refused_before_any_is_made(
    panel: Panel, admin: httpx.Client, peer_id: str, path: str
) -> None:
    before, typed = entries(panel), ",".join(f"much-{number}" for number in range(2_000))
    page = submit(admin, path.format(peer_id), name="typist-2", enabled="true", config="wg0", new_tags=typed, mtu="x")
    assert page.status_code == 422
    assert "a peer has at most 32 tags, not 2,000" in page.text.replace("2000", "2,000")
    assert entries(panel) == before


@pytest.mark.parametrize("typed", [False, True])
def test_what_limits_of_a_tag_do_is_agreed_to_before_a_peer_gets_it(
    panel: Panel, admin: httpx.Client, peer_id: str, typed: bool
) -> None:
    (cut,) = made_tags(panel, "cut")
    with panel.store.write() as tx:
        spec = JobSpec(JobField.DATE, action=JobAction.DELETE, value=1)
        commands.add(tx, "test", commands.owner_of(tags.get(tx, cut)), spec)
    path, before = f"/peers/{peer_id}/edit", entries(panel)
    sent = Fields(admin.get(path).text, path).sent
    sent |= {"new_tags": ["cut, not-yet"], "notes": ["given"]} if typed else {"tags": [cut], "new_tags": ["not-yet"]}
    asked = admin.post(path, data=sent, follow_redirects=False)
    assert (asked.status_code, "would be deleted at once" in asked.text) == (200, True), asked.text[-3000:]
    assert (tags_of(panel, peer_id), entries(panel)) == ([], before), "nothing was made"
    again = Fields(asked.text, path).sent
    assert "agreed" not in again
    assert admin.post(path, data=again | {"agreed": ["true"]}, follow_redirects=False).status_code == 303
    assert tags_of(panel, peer_id) == ["cut", "not-yet"]
