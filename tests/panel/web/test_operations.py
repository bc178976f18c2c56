"""Pages of operations: filtered by the address, with steps and log, and cancelled where that can be."""

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person, submit
from tests.panel.world import World
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import users
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.store.tables import Operation


@pytest.fixture(scope="module")
def world(panel: Panel) -> World:
    return sample.make(panel, peers=12)


@pytest.fixture(scope="module")
def removal(panel: Panel, world: World) -> Operation:
    with panel.store.read() as tx:
        wg0, fra = configs.get(tx, "wg0"), nodes.get(tx, "fra1")
    operation = world.remove(wg0, fra, force=True, window_s=3600)
    assert [world.step(operation) for _ in range(2)] == [MoveStep.BACKUP, MoveStep.PLACE]
    return operation


def test_one_that_runs_says_how_far_it_is(admin: httpx.Client, removal: Operation) -> None:
    page = admin.get(f"/operations/{removal.id}").text
    assert 'aria-current="step"' in page
    assert "its removal began" in page, "its log"
    assert "peers got new homes" in page
    assert f'data-live="operation/{removal.id} tick"' in page
    assert f"/operations/{removal.id}" in admin.get("/configs/wg0").text


@pytest.mark.parametrize(
    ("query", "there"), [("", True), ("?kind=remove_node&state=running", True), ("?kind=failover", False)]
)
@pytest.mark.usefixtures("removal")
def test_the_list_is_filtered_by_its_address(admin: httpx.Client, query: str, *, there: bool) -> None:
    assert ("<bdi>fra1</bdi>" in admin.get(f"/operations{query}").text) is there


def test_a_viewer_sees_it_and_cancels_nothing(person: Person, removal: Operation) -> None:
    viewer = person(Role.VIEWER)
    assert f"/operations/{removal.id}/cancel" not in viewer.get(f"/operations/{removal.id}").text
    assert viewer.get(f"/operations/{removal.id}/cancel").status_code == 403


def test_who_is_limited_sees_those_within(panel: Panel, person: Person, removal: Operation) -> None:
    limited = person(Role.VIEWER, "limited")
    with panel.store.write() as tx:
        user = users.get(tx, "limited")
        user.limit_configs, user.limit_groups = [configs.id_of(tx, "office")], []
    assert "fra1" not in limited.get("/operations").text
    assert limited.get(f"/operations/{removal.id}").status_code == 404


def test_it_is_cancelled_with_what_that_means(admin: httpx.Client, world: World, removal: Operation) -> None:
    path = f"/operations/{removal.id}/cancel"
    assert "The node serves on" in admin.get(path).text
    assert "It is cancelled by" in submit(admin, path).text
    assert world.step(removal) is MoveStep.CLOSE
    ended = admin.get(f"/operations/{removal.id}").text
    assert "cancelled by user:admin" in ended
    assert path not in ended
    assert "has ended already" in admin.get(path).text
    assert submit(admin, path).status_code == 409
