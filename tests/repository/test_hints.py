"""Every hint has a call of the API, a command and a page, and all exist."""

import json
import re
from typing import Any

import pytest
from fastapi.openapi.utils import get_openapi

from tests.repository.test_docs import complaint
from wgfleet.cli import hints as commands
from wgfleet.panel import api
from wgfleet.panel.api import hints as calls
from wgfleet.panel.api import problems
from wgfleet.panel.errors import Conflict, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.web import hints as pages
from wgfleet.panel.web.site import ROUTERS

FULL = {"config": "wg0", "node": "fra1"}
# The call or the command that was refused, with a parameter or an option.
AGAIN = {HintCode.FORCE, HintCode.RELAY, HintCode.OTHER_POOLS, HintCode.OTHER_PORT}
PAGES = {route.path for router in ROUTERS for route in router.routes if "GET" in route.methods}
CALLING = sorted(set(HintCode) - AGAIN)


@pytest.fixture(scope="module")
def paths() -> dict[str, Any]:
    routes = [route for subject in api.SUBJECTS for route in subject.router.routes]
    found: dict[str, Any] = get_openapi(title="wgfleet", version="0", routes=routes)["paths"]
    return found


def problem(*hints: Hint) -> dict[str, Any]:
    """What the API answers to a refusal with these hints."""
    answer = problems.answer(409, "conflict", "it is so", hints=hints)
    found: dict[str, Any] = json.loads(bytes(answer.body))
    return found


@pytest.mark.parametrize("code", CALLING)
def test_a_hint_names_a_call_that_the_api_has(code: HintCode, paths: dict[str, Any]) -> None:
    call = calls.CALLS[code]
    path, _, query = call.path.partition("?")
    there = {re.sub(r"{\w+}", "{}", known): operations for known, operations in paths.items()}
    operation = there[re.sub(r"{\w+}", "{}", path)][call.method.lower()]
    parameters = {parameter["name"] for parameter in operation.get("parameters", [])}
    assert {pair.partition("=")[0] for pair in query.split("&") if pair} <= parameters


@pytest.mark.parametrize("code", CALLING)
def test_a_hint_names_a_command_that_the_cli_has(code: HintCode) -> None:
    assert complaint(commands.COMMANDS[code][1]) is None


def test_every_code_has_words_in_the_api_and_in_the_cli() -> None:
    assert set(calls.CALLS) | AGAIN == set(HintCode)
    assert set(commands.COMMANDS) | AGAIN == set(HintCode)


@pytest.mark.parametrize("code", HintCode)
def test_every_code_has_words_and_a_page_of_ours(code: HintCode) -> None:
    way_out = pages.WAYS_OUT[code]
    assert way_out.words
    path = way_out.path.partition("?")[0]
    assert not path or path in PAGES


def test_force_is_a_parameter_of_the_calls_and_an_option_of_the_commands_that_are_refused(
    paths: dict[str, Any],
) -> None:
    forced = {
        f"{method.upper()} {path}"
        for path, operations in paths.items()
        for method, operation in operations.items()
        if "force" in {parameter["name"] for parameter in operation.get("parameters", [])}
    }
    assert forced == {
        "DELETE /api/configs/{config}/nodes/{node_id}",
        "PATCH /api/configs/{config}/nodes/{node_id}",
        "POST /api/configs/{config}/nodes/{node_id}/preview",
        "DELETE /api/configs/{config}/nodes/{node_id}/relays",
        "GET /api/configs/{config}/nodes/{node_id}/relays/deletion",
        "DELETE /api/nodes/{node}",
        "PATCH /api/nodes/{node}",
        "POST /api/nodes/{node}/preview",
        "GET /api/nodes/{node}/deletion",
        "POST /api/nodes/{node}/drain",
        "POST /api/node-groups/{group}/drain",
        "POST /api/sign-in-providers/{provider}/sync",
    }
    for command in (
        "config unassign wg0 fra1",
        "config public-port wg0 fra1 443",
        "node delete fra1",
        "node update fra1",
        "node drain fra1",
        "group drain eu",
        "relay end wg0 fra1 --all",
        "provider sync office",
    ):
        assert complaint(f"{command} --force") is None


@pytest.mark.parametrize("code", HintCode)
def test_both_put_the_arguments_in_and_show_placeholders_for_missing_ones(code: HintCode) -> None:
    for hint in (Hint(code, **FULL), Hint(code)):
        answer = problem(hint)
        assert answer["hints"] == [{"code": code.value, "arguments": hint.arguments}]
        assert answer["reason"] == "it is so"
        for text in (answer["detail"], commands.sentence(answer)):
            assert text.startswith("it is so; ")
            assert not set("{}") & set(text)


def test_a_problem_is_a_whole_sentence_for_somebody_with_curl() -> None:
    ways_out = (Hint(HintCode.ASSIGN_NODE, config="wg0"), Hint(HintCode.UNCORDON_NODE), Hint(HintCode.FORCE))
    answer = problem(*ways_out)
    assert answer["detail"] == (
        "it is so; assign a node (POST /api/configs/wg0/nodes), uncordon a node (POST /api/nodes/NODE/uncordon), "
        "or repeat with force=true"
    )
    assert commands.sentence(answer) == (
        "it is so; assign a node (`wgfleet config assign wg0 NODE`), uncordon a node (`wgfleet node uncordon NODE`), "
        "or repeat with --force"
    )


def test_what_lists_one_kind_or_another_says_so_once() -> None:
    answer = problem(Hint(HintCode.LIST_NODES), Hint(HintCode.LIST_NODE_GROUPS))
    assert answer["detail"] == "it is so; list them with GET /api/nodes, or GET /api/node-groups"
    assert commands.sentence(answer) == "it is so; list them with `wgfleet node list`, or `wgfleet group list`"


def test_arguments_are_quoted_for_where_they_stand() -> None:
    answer = problem(Hint(HintCode.LIST_PEERS, config="a b/?"))
    assert answer["detail"] == "it is so; list them with GET /api/configs/a%20b%2F%3F/peers"
    assert commands.sentence(answer) == "it is so; list them with `wgfleet peer list 'a b/?'`"


def test_a_problem_without_a_way_out_has_no_hints() -> None:
    answer = problem()
    assert answer["detail"] == "it is so"
    assert {"reason", "hints"}.isdisjoint(answer)
    assert commands.sentence(answer) == "it is so"


@pytest.mark.parametrize(
    "hints",
    [
        [{"code": "of_a_newer_panel", "arguments": {}}],
        [{"code": "list_nodes", "arguments": {}}, {"code": "of_a_newer_panel"}],
        [{"arguments": {}}],
        ["list_nodes"],
        "list_nodes",
    ],
)
def test_the_cli_shows_the_apis_text_where_it_does_not_know_a_hint(hints: Any) -> None:
    answer = {"detail": "it is so; do GET /api/things", "reason": "it is so", "hints": hints}
    assert commands.sentence(answer) == "it is so; do GET /api/things"
    without_reason = {"detail": "it is so; do GET /api/nodes", "hints": [{"code": "list_nodes", "arguments": {}}]}
    assert commands.sentence(without_reason) == "it is so; do GET /api/nodes"


def test_an_error_carries_any_number_of_hints() -> None:
    assert NotFound("gone").hints == ()
    assert Conflict("so", Hint(HintCode.FORCE), Hint(HintCode.LIST_NODES)).hints[1].code is HintCode.LIST_NODES
