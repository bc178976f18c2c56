"""Roles: each page lets in whom its scope and limit say, and shows nobody a link or a form that leads to a refusal."""

import asyncio
import re
from collections import Counter
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import fastapi.routing
import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import Match

from tests.panel.access.test_limits import expected
from tests.panel.access.test_rights import scopes_of
from tests.panel.web import sample
from tests.panel.web.conftest import Person, token_of
from tests.panel.web.links import Links
from wgfleet.panel.api import Panel
from wgfleet.panel.services import backups, configs, rule_sets
from wgfleet.panel.services.access import users
from wgfleet.panel.services.access.callers import OWN, ROLES, Role
from wgfleet.panel.services.configs import ConfigSpec
from wgfleet.panel.services.fleet import assignments, node_groups, nodes, peers, tags
from wgfleet.panel.services.fleet.nodes import NodeSpec
from wgfleet.panel.services.fleet.peers import PeerSpec
from wgfleet.panel.services.moves import removal
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.web.site import ROUTERS, create_site

ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
WHO = [(role, is_limited) for role in Role for is_limited in (False, True) if role != Role.ADMIN or not is_limited]
VISITS = 3
"""Of one page with the same filters, such as those of many peers."""
OTHERS = re.compile(r"\b(?:\w+-out|wg0|fra1|par1|ams1|user-\d+)\b")
"""Names of what nobody sees who is limited to the half that is in."""


@pytest.fixture(scope="module", autouse=True)
def halves(panel: Panel) -> dict[str, dict[str, str]]:
    """Make a fleet, and two of each thing that can be within a limit; return what paths call those."""
    world = sample.make(panel, peers=3)
    sample.publish(panel, world)
    found = {which: _half(panel, which, number) for number, which in enumerate(("in", "out"), 30)}
    with panel.store.read() as tx:
        wg0, par = configs.get(tx, "wg0"), nodes.get(tx, "par1")
    world.remove(wg0, par, force=True)
    return found


def _half(panel: Panel, which: str, number: int) -> dict[str, str]:
    with panel.store.write() as tx:
        group = node_groups.create(tx, "test", f"group-{which}")
        spec = NodeSpec(f"node-{which}", [f"192.0.2.{number}"], group=group.name)
        node = nodes.create(tx, "test", spec)
        config = configs.create(
            tx, panel.vault, "test", ConfigSpec(f"wg-{which}", "cluster", [f"10.{number}.0.0/24"], 52000 + number)
        )
        assignments.assign(tx, panel.vault, "test", config, node)
        row = assignment_rows.get(tx, config.id, node.id)
        assert row is not None
        assignments.serve(tx, row)
        peer = peers.create(tx, "test", config, peers.draft(panel.vault, [PeerSpec(f"peer-{which}")])).rows()[0]
        backup = backups.create(tx, panel.vault, "test", config, node, row, reason="test")
        begun = removal.start(tx, "test", config, node, grace_s=30, force=True)
        tag = tags.create(tx, "test", {"name": f"tag-{which}"})
        tags.change_peers(tx, "test", tag, add=[peer.id])
        rule_sets.create(tx, "test", {"name": f"set-{which}"})
        names = {"config": config.name, "node": node.name, "group": group.name, "address": "203.0.113.1"}
        return names | {"peer_id": peer.id, "backup_id": backup.id, "operation_id": begun.id}


def somebody(
    panel: Panel, person: Person, role: Role, *, is_limited: bool, groups: tuple[str, ...] = ("group-in",)
) -> httpx.Client:
    """Sign somebody in; who is limited sees one half, or a part of it."""
    name = f"{role}-limited-{len(groups)}" if is_limited else str(role)
    client = person(role, name)
    if is_limited:
        with panel.store.write() as tx:
            user = users.get(tx, name)
            user.limit_configs = [configs.id_of(tx, "wg-in")]
            user.limit_groups = [node_groups.get(tx, group).id for group in groups]
    return client


async def let_in(**_: Any) -> Response:
    """Stand in for what pages do."""
    return Response(status_code=HTTPStatus.IM_A_TEAPOT)


@pytest.mark.parametrize(("role", "is_limited"), WHO)
def test_each_page_lets_in_whom_scope_and_limit_say(
    panel: Panel,
    person: Person,
    halves: dict[str, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    role: Role,
    *,
    is_limited: bool,
) -> None:
    client = somebody(panel, person, role, is_limited=is_limited)
    token = token_of(client.get("/no-such-page").text)
    monkeypatch.setattr(fastapi.routing, "run_endpoint_function", let_in)
    wrong: list[str] = []

    async def call_all() -> None:
        site = httpx.ASGITransport(create_site(panel))
        cookies = {"wgfleet": client.cookies["wgfleet"]}
        async with httpx.AsyncClient(transport=site, base_url="http://panel", cookies=cookies, timeout=120) as visitor:
            for route in ROUTES:
                method = " ".join(route.methods or ())
                for which in halves if is_limited and "{" in route.path else ("out",):
                    path = route.path.format_map(_Known(halves[which]))
                    data = {"form_token": token} if method == "POST" else None
                    answer = await visitor.request(method, path, data=data)
                    wanted = expected(route, "user", ROLES[role], is_limited=is_limited, within=which == "in")
                    if answer.status_code not in wanted:
                        wrong.append(f"{method} {path} as {role}: {answer.status_code}, not {wanted}")

    asyncio.run(call_all())
    assert not wrong, "\n".join(wrong[:20])


class _Known(dict[str, str]):
    """What paths call things; those that no limit is about are called anything."""

    def __missing__(self, _key: str) -> str:
        return "1"


def route_of(method: str, path: str) -> APIRoute | None:
    scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}
    return next((route for route in ROUTES if route.matches(scope)[0] is Match.FULL), None)


def may(role: Role, route: APIRoute) -> bool:
    return all(scope == OWN or scope in ROLES[role] or role is Role.ADMIN for scope in scopes_of(route))


@pytest.mark.parametrize(("role", "is_limited"), WHO)
def test_no_link_and_no_form_leads_to_a_refusal(panel: Panel, person: Person, role: Role, *, is_limited: bool) -> None:
    """Walks all pages that somebody can come to. It finds dead links as well."""
    client = somebody(panel, person, role, is_limited=is_limited, groups=())
    waiting, seen, wrong = ["/devices" if role is Role.SELF_SERVICE else "/"], Counter[Any](), []
    known = set(waiting)
    while waiting:
        path = waiting.pop()
        answer = client.get(path)
        if answer.status_code != HTTPStatus.OK:
            wrong.append(f"{path}: {answer.status_code}")
        shown = OTHERS.findall(answer.text) if is_limited else []
        wrong += [f"{path} shows {name}, which is outside of the limit" for name in shown]
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        links = Links(answer.text)
        for form in links.forms:
            route = route_of("POST", urlsplit(form).path)
            if route is None or not may(role, route):
                wrong.append(f"{path} has a form to {form}")
        for link in links.pages:
            target = urljoin(path, link)
            route = route_of("GET", urlsplit(target).path)
            if route is None or not may(role, route):
                wrong.append(f"{path} has a link to {target}")
                continue
            kind = route.path, tuple(sorted(parse_qs(urlsplit(target).query)))
            if target not in known and seen[kind] < VISITS:
                seen[kind] += 1
                known.add(target)
                waiting.append(target)
    assert len(known) > (2 if role is Role.SELF_SERVICE else 20)
    assert not wrong, "\n".join(sorted(set(wrong)))
