"""Sentences of the audit log: each kind of entry that the panel writes has one, with links to what there is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person
from wgfleet.panel import web
from wgfleet.panel.api import Panel
from wgfleet.panel.services import audit
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.fleet import tags
from wgfleet.panel.store import configs, nodes
from wgfleet.panel.web.audit_sentences import ACTORS, SENTENCES
from wgfleet.protocol.reasons import Reason

PANEL = Path(web.__file__).parents[1]
PLACES = {"who", "what", "config", "node"}


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make(panel, peers=2)


def _texts(node: ast.expr) -> list[str]:
    """Return what an argument can be, as far as the call says it."""
    if isinstance(node, ast.IfExp):
        return _texts(node.body) + _texts(node.orelse)
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def _written() -> Iterator[tuple[str, str]]:
    for path in sorted(PANEL.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and name in {"audit.record", "record"} and len(node.args) > 3:
                yield from ((kind, done) for kind in _texts(node.args[3]) for done in _texts(node.args[2]))
            if isinstance(node, ast.Call) and name == "audit.record_refused":
                yield from ((kind, "refused") for kind in _texts(node.args[3]))
            if isinstance(node, ast.Call) and name == "record_history":
                yield from (("endpoint_group", done) for done in _texts(node.args[2]))


def test_each_kind_of_entry_that_is_written_has_a_sentence() -> None:
    written = set(_written())
    assert len(written) > 90
    assert {each for each in written if each[1] not in SENTENCES.get(each[0], {})} == set()


def test_sentences_have_no_other_places() -> None:
    said = [text for of_kind in SENTENCES.values() for text in of_kind.values()]
    assert {place for text in said for place in re.findall(r"{(\w+)}", text)} == PLACES
    assert {place for text in ACTORS.values() for place in re.findall(r"{(\w+)}", text)} == {"name"}


def test_an_entry_is_a_sentence_with_links_in_the_readers_language(panel: Panel, person: Person) -> None:
    with panel.store.write() as tx:
        config, node = configs.find(tx, "wg0"), nodes.find(tx, "fra1")
        assert config is not None
        assert node is not None
        both = f"{config.id}/{node.id}"
        audit.record(tx, "user:<b>", "assigned", "config_node", both, config="wg0", node="fra1")
        audit.record(
            tx, "panel", "port_refused", "config_node", both, port=1, reason=Reason("its endpoint group is gone")
        )
    page = person(Role.VIEWER).get("/audit").text
    assert (
        '<a href="/audit?actor=user%3A%3Cb%3E"><bdi>&lt;b&gt;</bdi></a> assigned node '
        '<a href="/nodes/fra1"><bdi>fra1</bdi></a> to config <a href="/configs/wg0"><bdi>wg0</bdi></a>'
    ) in page
    german = person(Role.VIEWER, **{"Accept-Language": "de"}).get("/audit").text
    assert "hat den Knoten" in german
    assert "Der neue öffentliche Port des Knotens" in german
    assert "its endpoint group is gone" not in german


def test_things_have_their_present_names_and_what_is_gone_has_no_link(panel: Panel, person: Person) -> None:
    with panel.store.write() as tx:
        tag = tags.create(tx, "user:anna", {"name": "office"})
        audit.record(tx, "user:anna", "updated", "tag", tag.id, color="red")
        audit.record(tx, "key:ci", "deleted", "node", "0" * 32, name="gone1")
        audit.record(tx, "user:anna", "updated", "rule_set", "1" * 32, rules=2)
        audit.record(tx, "user:anna", "updated", "user", "2" * 32, name="bob", role="viewer")
    viewer, admin = person(Role.VIEWER).get("/audit").text, person(Role.ADMIN).get("/audit").text
    assert f'changed tag <a href="/tags/{tag.id}"><bdi>office</bdi></a>' in viewer
    assert "API key <bdi>ci</bdi></a> deleted node <bdi>gone1</bdi>" in viewer
    assert "<bdi>…111111</bdi>" in viewer
    assert "changed user <bdi>bob</bdi>" in viewer
    assert f'changed user <a href="/settings/users/{"2" * 32}"><bdi>bob</bdi></a>' in admin
