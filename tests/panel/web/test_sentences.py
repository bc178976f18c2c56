"""Sentences that are no refusals: of imports, destination rules and drift; each is a reason, which catalogs have."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.imports.samples import Keys
from tests.panel.web import sample
from tests.panel.web.conftest import Person, token_of
from wgfleet.panel import web
from wgfleet.panel.api import Panel
from wgfleet.panel.domain import drift_words
from wgfleet.panel.domain.destination_changes import lost
from wgfleet.panel.services import audit
from wgfleet.panel.store import assignments, nodes
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.web import languages, reasons
from wgfleet.panel.web.isolation import without_isolation
from wgfleet.protocol.destinations import DestinationRule, RuleSet
from wgfleet.protocol.diff import Drift
from wgfleet.protocol.reasons import Reason

PACKAGE = Path(web.__file__).parents[2]
SPEAKING = [
    *sorted((PACKAGE / "imports").glob("*.py")),
    *(
        PACKAGE / "panel" / each
        for each in (
            "domain/destination_changes.py",
            "domain/destination_effects.py",
            "domain/dns/plan.py",
            "domain/drift_words.py",
            "domain/import_hooks.py",
            "domain/imports.py",
            "services/import_checks.py",
            "services/import_details.py",
            "services/import_plans.py",
            "services/import_rules.py",
        )
    ),
]
"""Modules whose texts people read."""
FOR_PROGRAMS = {
    "Reason",
    "_key",
    "template",
    "execute",
    "compile",
    "clamped",
    "preshared",
    "public_key",
    "parse_address",
}
NO_SENTENCES = re.compile(r"allow |owner: |deny |.*(BEGIN|SELECT)")  # rules as people type them, notes, and SQL


def _calls(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> Iterator[str]:
    while node in parents:
        node = parents[node]
        if isinstance(node, ast.Call):
            yield getattr(node.func, "id", getattr(node.func, "attr", ""))


def bare_sentences(source: str) -> list[str]:
    """Return texts of several words that no catalog can have: they are not within a reason."""
    parents = {child: parent for parent in ast.walk(ast.parse(source)) for child in ast.iter_child_nodes(parent)}
    found = []
    for node, parent in parents.items():
        if isinstance(parent, ast.Expr | ast.JoinedStr | ast.FormattedValue):
            continue
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(each.value) if isinstance(each, ast.Constant) else "{}" for each in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        words = re.findall(r"[a-z]{2,}|{}", text)
        if len(words) > 1 and re.search(r"[a-z]{2} | [a-z]{2}", text) and not NO_SENTENCES.match(text):
            found += [] if FOR_PROGRAMS & set(_calls(node, parents)) else [text]
    return found


@pytest.mark.parametrize("path", SPEAKING, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_people_read_is_made_as_a_reason(path: Path) -> None:
    assert bare_sentences(path.read_text()) == []


@pytest.mark.parametrize(
    "source", ['said.append(f"{name} is left out")', 'x = ["other users"]', 'f("a b cd", f"{a} to {b}")']
)
def test_a_bare_sentence_is_found(source: str) -> None:
    assert bare_sentences(source)


def test_sentences_of_views_are_passed_on_as_they_were_made() -> None:
    """A model that looks at them makes plain texts of them, which are English."""
    bare = [
        f"{path.name}: {line.strip()}"
        for path in sorted((PACKAGE / "panel/api").glob("*.py"))
        for line in path.read_text().splitlines()
        if re.match(r"    (remarks|effects|warnings|drift|carried_over): list\[str\] =", line)
    ]
    assert bare == []


def test_what_a_change_of_rules_takes_is_said_in_german() -> None:
    before = RuleSet("open", (), otherwise_allowed=True)
    after = RuleSet("web", (DestinationRule(allow=False, networks=("192.0.2.0/24",)),), otherwise_allowed=True)
    (said,) = lost(before, after)
    assert said == "everything to 192.0.2.0/24"
    assert reasons.in_words(languages.translations("de").gettext, said) == "alles nach 192.0.2.0/24"


def test_drift_is_said_in_the_readers_language_and_what_an_agent_says_as_it_is() -> None:
    translate = languages.translations("de").gettext
    known = drift_words.line(Drift("addresses.fd00::1/64", "present", "absent: IPv6 is disabled on this machine"))
    assert known == str(Drift("addresses.fd00::1/64", "present", "absent: IPv6 is disabled on this machine"))
    assert reasons.in_words(translate, known) == (
        "addresses.fd00::1/64: gewollt vorhanden, gefunden fehlt: IPv6 ist auf dieser Maschine abgeschaltet"
    )
    own = drift_words.line(Drift("forwarding", "True", "some {words} of an agent"))
    assert reasons.in_words(translate, own) == "forwarding: gewollt ja, gefunden some {words} of an agent"


class TestPages:
    """Pages in German and Persian."""

    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def fleet(panel: Panel) -> None:
        sample.make(panel, peers=2)

    @pytest.mark.parametrize(("language", "word"), [("de", "gewollt vorhanden"), ("fa", "خواسته هست")])
    def test_the_page_of_a_node_says_what_differs(self, panel: Panel, person: Person, language: str, word: str) -> None:
        with panel.store.write() as tx:
            node, config = nodes.find(tx, "fra1"), config_rows.find(tx, "wg0")
            assert node is not None
            assert config is not None
            row = assignments.get(tx, config.id, node.id)
            assert row is not None
            assignments.applied(tx, row.id, drift=[drift_words.line(Drift("routes.10.8.0.0/16", "present", "absent"))])
        reader = person(**{"Accept-Language": language})
        assert word in without_isolation(reader.get("/nodes/fra1").text)
        assert word in without_isolation(reader.get("/configs/wg0").text)
        with panel.store.read() as tx:
            kept = assignments.get(tx, config.id, node.id)
            assert kept is not None
            assert kept.drift == ["routes.10.8.0.0/16: wanted present, found absent"]

    def test_the_page_of_an_import_says_all_in_persian(self, person: Person) -> None:
        keys = Keys()
        text = (
            f"[Interface]\nPrivateKey = {keys.private('server')}\nListenPort = 51999\nAddress = 10.99.0.5/24\n"
            "PostUp = iptables -t nat -A POSTROUTING -j MASQUERADE; echo hi\n"
            f"[Peer]\nPublicKey = {keys.public('a')}\nAllowedIPs = 10.99.0.5/32, 172.16.0.0/24\n"
        )
        reader = person(**{"Accept-Language": "fa"})
        form = {
            "form_token": token_of(reader.get("/new/import").text),
            "source": "wg-quick",
            "text": text,
            "config": "moved",
        }
        page = reader.post("/new/import", data=form).text
        assert "گره‌ها خود masquerade می‌کنند" in page  # noqa: RUF001 - Persian
        assert "نشانی دیگری می‌گیرد" in page
        english = re.findall(r'<span lang="en" dir="\w+">([^<]*)</span>', page[page.index("<main") :])
        assert english == []
        refused = reader.post("/new/import", data={**form, "text": "nonsense"}).text
        assert "نه بخش است و نه NAME = VALUE" in refused

    def test_details_of_the_audit_log_keep_their_reasons(self, panel: Panel, person: Person) -> None:
        with panel.store.write() as tx:
            why = Reason("they were made while the name was given up")
            audit.record(tx, audit.PANEL, "dns_left", "endpoint_group", "x" * 32, reason=why, left=["192.0.2.1"])
        assert "sie wurden angelegt" in person(**{"Accept-Language": "de"}).get("/audit?action=dns_left").text
        with panel.store.read() as tx:
            (entry,), _ = audit.page(tx, action="dns_left", limit=1)
            assert entry.details["reason"] == "they were made while the name was given up"


@pytest.mark.parametrize(("language", "characters"), [("de", "Zeichen"), ("fa", "نویسه")])
def test_a_long_value_is_cut_in_the_language_of_the_sentence(language: str, characters: str) -> None:
    made = Reason("there is no node group {name!r}", name="x" * 10_000)
    words = reasons.in_words(languages.translations(language).gettext, made)
    assert f"'{'x' * 60}'... (10,000 {characters})" in words
