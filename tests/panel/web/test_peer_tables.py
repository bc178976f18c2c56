"""The page of tables: nothing is done before each line was shown, and another table than that is shown again."""

import io
import re
import zipfile

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person, submit
from wgfleet.panel.api import Panel, peer_table_runs
from wgfleet.panel.domain.jobs.job import JobAction, JobField
from wgfleet.panel.services import configs
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.configs import ConfigSpec
from wgfleet.panel.services.fleet import peers, tags
from wgfleet.panel.services.fleet.peers import PeerSpec
from wgfleet.panel.services.jobs import commands
from wgfleet.panel.services.jobs.commands import JobSpec

PAGE = "/peers/many/table"
FIELDS = {"config": "wg0", "existing": "refuse"}


@pytest.fixture(scope="module", autouse=True)
def _world(panel: Panel) -> None:
    sample.make(panel, peers=12)


def seen_of(page: httpx.Response) -> dict[str, str]:
    found = re.search(r'name="seen" value="(\w+)"', page.text)
    return {"do": "true", "seen": found[1]} if found else {}


def test_a_table_is_shown_then_done(admin: httpx.Client) -> None:
    table = 'name;notes\r\ntab-1;"two\r\nlines"\r\ntab-2;\r\n'
    shown = submit(admin, PAGE, **FIELDS, table=table)
    assert (shown.status_code, "tab-2" in shown.text) == (200, True)
    assert "tab-1" not in admin.get("/peers?search=tab-").text
    other = submit(admin, PAGE, **FIELDS, table=table + "tab-3;\r\n", **seen_of(shown))
    assert (other.url.path, "tab-3" in other.text) == (PAGE, True), "another table than was shown"
    done = submit(admin, PAGE, **FIELDS, table=table, **seen_of(shown))
    assert done.url.path == "/peers", done.text
    assert "tab-2" in done.text
    again = submit(admin, PAGE, **FIELDS, table=table)
    assert (seen_of(again), "there is a peer" in again.text) == ({}, True)


def test_what_was_downloaded_can_be_sent_back(admin: httpx.Client) -> None:
    links = re.findall(r'href="(/configs/[^"]+/peers/csv[^"]*)"', admin.get(PAGE).text)
    answer = admin.get(next(link for link in links if "semicolon" in link))
    assert "attachment" in answer.headers["content-disposition"]
    assert ("user-001" in answer.text, "PrivateKey" in answer.text) == (True, False)
    config = answer.headers["content-disposition"].partition('"')[2].removesuffix('-peers.csv"')
    fields = {"config": config, "existing": "update"}
    assert not seen_of(submit(admin, PAGE, **fields, table=answer.text))
    listed = admin.get(f"/peers?config={config}&search=user-00").text
    part = re.search(r'href="(/configs/[^"]+/peers/csv[^"]*)"', listed)
    assert part
    some = admin.get(part[1].replace("&amp;", "&"))
    assert ("user-001" in some.text, "user-010" in some.text) == (True, False)
    assert len(admin.get(f"{some.url}&enabled=yes&live=no").text) < len(some.text)
    table = answer.text.replace("user-001;", "user-001-new;")
    shown = submit(admin, PAGE, **fields, table=table)
    submit(admin, PAGE, **fields, table=table, **seen_of(shown))
    assert "user-001-new" in admin.get("/peers?search=user-001").text


def test_many_changes_lead_to_their_operation(admin: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_table_runs, "MOST_AT_ONCE", 1)
    names = re.findall(r"user-00\d", admin.get("/peers?config=wg0&search=user-00").text)
    fields = {"config": "wg0", "existing": "update", "table": "name,notes\n" + "".join(f"{n},x\n" for n in {*names})}
    done = submit(admin, PAGE, **fields, **seen_of(submit(admin, PAGE, **fields)))
    assert (done.status_code, done.url.path.rpartition("/")[0]) == (200, "/operations"), done.text
    assert "Change of many peers" in done.text


@pytest.mark.parametrize("table", ["", "hello", "name\n", "name\n" + "x" * 100])
def test_what_cannot_be_is_said(admin: httpx.Client, table: str) -> None:
    answer = submit(admin, PAGE, **FIELDS, table=table)
    assert 'role="alert"' in answer.text or "<code>name</code>" in answer.text
    assert not seen_of(answer)


def test_who_may_only_read_downloads_alone(person: Person, admin: httpx.Client) -> None:
    viewer = person(Role.VIEWER)
    assert viewer.get(PAGE).status_code == 403
    assert viewer.get("/configs/wg0/peers/csv").status_code == 200
    assert admin.get("/configs/nothing/peers/csv").status_code == 404


def test_the_files_of_those_that_a_list_shows_are_for_who_may_read_secrets(admin: httpx.Client, person: Person) -> None:
    viewer = person(Role.VIEWER)
    found = []
    for path in ("/configs/wg0", "/peers?config=wg0&search=user-01"):
        link = re.search(r'href="(/configs/[^"]+/files[^"]*)"', admin.get(path).text)
        assert link, path
        with zipfile.ZipFile(io.BytesIO(admin.get(link[1].replace("&amp;", "&")).content)) as archive:
            found.append(set(archive.namelist()))
        assert "/files" not in viewer.get(path).text
    assert found[1] == {name for name in found[0] if name.startswith("user-01")} != found[0]
    assert viewer.get("/configs/wg0/files").status_code == 403


@pytest.mark.parametrize("mode", ["cluster", "independent"])
def test_files_are_offered_where_there_are_any_and_else_it_says_why(
    admin: httpx.Client, panel: Panel, mode: str
) -> None:
    with panel.store.write() as tx:
        spec = ConfigSpec(f"bare-{mode[:4]}", mode, [f"10.{77 + len(mode)}.0.0/24"], 53000 + len(mode))
        config = configs.create(tx, panel.vault, "test", spec)
        peers.create(tx, "test", config, peers.draft(panel.vault, [PeerSpec("lonely")]))
    assert admin.get(f"/configs/{spec.name}/files").status_code == 409
    for path in (f"/configs/{spec.name}", f"/peers?config={spec.name}"):
        page = admin.get(path).text
        assert f"/configs/{spec.name}/files" not in page
        assert "no files yet:" in page
        assert "serving node, so" in page


def test_whom_the_limits_of_a_tag_delete_is_shown_before_a_table_gives_it(panel: Panel, admin: httpx.Client) -> None:
    with panel.store.write() as tx:
        tag = tags.create(tx, "test", {"name": "cut"})
        spec = JobSpec(JobField.DATE, action=JobAction.DELETE, value=1)
        commands.add(tx, "test", commands.owner_of(tag), spec)
    shown = submit(admin, PAGE, config="wg0", existing="update", table="name,tags\nuser-003,cut\n")
    assert "would be deleted at once, and their files never work again" in shown.text
    assert seen_of(shown)
