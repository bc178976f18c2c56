"""Pages of backups: made by hand, listed and downloaded by those who may read secrets."""

import re

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person, submit
from wgfleet.panel.api import Panel
from wgfleet.panel.services import backups, configs
from wgfleet.panel.services.access import users
from wgfleet.panel.services.access.callers import Role


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make(panel, peers=4)


def test_a_backup_is_made_listed_and_downloaded(admin: httpx.Client) -> None:
    assert "There is no backup" in admin.get("/backups").text
    answer = submit(admin, "/backups/new", what="wg0/fra1", reason="before I try something")
    assert answer.url.path == "/backups"
    assert "before I try something" in answer.text
    path = re.search(r"/backups/\w{32}/download", answer.text)
    assert path is not None
    file = admin.get(path[0])
    assert "PrivateKey" in file.text
    assert file.headers["content-disposition"] == 'attachment; filename="wg0.conf"'


@pytest.mark.parametrize(
    ("what", "status"), [("wg0/none", 404), ("none/fra1", 404), ("wg0", 422), ("office/par1", 404)]
)
def test_what_cannot_be_saved_is_refused(admin: httpx.Client, what: str, status: int) -> None:
    assert submit(admin, "/backups/new", what=what).status_code == status


def test_those_made_by_hand_do_not_grow_without_end(panel: Panel, admin: httpx.Client) -> None:
    for number in range(backups.MOST + 2):
        submit(admin, "/backups/new", what="wg0/par1", reason=f"number {number}")
    with panel.store.read() as tx:
        found = [each.reason for each in backups.page(tx) if each.node_name == "par1"]
    assert len(found) == backups.MOST
    assert found[0] == f"number {backups.MOST + 1}"


def test_who_reads_sees_the_list_only(admin: httpx.Client, person: Person) -> None:
    page = submit(admin, "/backups/new", what="wg0/fra1").text
    viewer, path = person(Role.VIEWER), re.search(r"/backups/\w{32}/download", page)
    assert path is not None
    assert path[0] not in viewer.get("/backups").text
    assert viewer.get(path[0]).status_code == 403
    assert viewer.get("/backups/new").status_code == 403


def test_who_is_limited_sees_and_makes_those_of_some_configs(panel: Panel, admin: httpx.Client, person: Person) -> None:
    page = submit(admin, "/backups/new", what="wg0/fra1").text
    path = re.search(r"/backups/\w{32}/download", page)
    assert path is not None
    limited = person(Role.OPERATOR, "limited")
    with panel.store.write() as tx:
        user = users.get(tx, "limited")
        user.limit_configs, user.limit_groups = [configs.id_of(tx, "office")], []
    assert "There is no backup" in limited.get("/backups").text
    assert "wg0" not in limited.get("/backups/new").text
    assert submit(limited, "/backups/new", what="wg0/fra1").status_code == 404
    assert submit(limited, "/backups/new", what="office/fra1").status_code == 200
    assert limited.get(path[0]).status_code == 404
