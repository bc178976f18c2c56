"""Refusals: what services and providers say when they cannot do something is a reason, which catalogs have."""

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from wgfleet.panel import web
from wgfleet.panel.errors import NotFound, PanelError, PermanentError, TransientError, told
from wgfleet.panel.web import languages, reasons
from wgfleet.protocol.reasons import Reason, joined, words_of

PACKAGE = Path(web.__file__).parents[2]
NO_PAGE = {  # what stops a panel that starts, or what commands alone show
    "panel/acme_client.py",
    "panel/acme_network.py",
    "panel/faultpoints.py",
    "panel/files_lock.py",
    "panel/listening.py",
    "panel/main.py",
    "panel/server_certificate.py",
    "panel/services/fleet/join_tokens.py",
    "panel/settings",
    "panel/store/checkpoints.py",
    "panel/store/lease.py",
    "panel/store/migrations",
    "panel/store/notes.py",
    "panel/store/revisions.py",
    "panel/store/schema.py",
    "panel/store/sealed.py",
    "panel/store/wakes.py",
    "panel/vault.py",
}
SOURCES = [
    path
    for path in sorted((PACKAGE / "panel").rglob("*.py"))
    if not any(path.is_relative_to(PACKAGE / each) for each in NO_PAGE)
]


def _kinds(base: type[Exception]) -> Iterator[str]:
    yield base.__name__
    for kind in base.__subclasses__():
        yield from _kinds(kind)


def _refusals() -> set[str]:
    for path in SOURCES:
        module = path.parent if path.name == "__init__.py" else path.with_suffix("")
        import_module(".".join(("wgfleet", *module.relative_to(PACKAGE).parts)))
    return {name for base in (PanelError, TransientError, PermanentError) for name in _kinds(base)}


def untranslated(source: str, kinds: set[str]) -> list[str]:
    """Return the refusals whose text is no reason, and reasons that no catalog can have."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        text = node.args[1] if name == "FieldError" and len(node.args) > 1 else node.args[0]
        if name in kinds | {"FieldError"}:
            bare = isinstance(text, ast.JoinedStr | ast.BinOp) or isinstance(getattr(text, "value", None), str)
        else:
            bare = name == "Reason" and isinstance(text, ast.JoinedStr | ast.BinOp)
        if bare:
            found.append(ast.unparse(node))
    return found


def test_what_is_refused_is_said_in_the_language_of_the_reader() -> None:
    kinds = _refusals()
    bare = {str(path.relative_to(PACKAGE)): untranslated(path.read_text(), kinds) for path in SOURCES}
    assert {path: found for path, found in bare.items() if found} == {}


@pytest.mark.parametrize(
    "text", ['Conflict(f"no {x}")', 'Invalid("no")', 'FieldError("a", "no")', 'Reason(f"no {x}")', 'Invalid("a" + b)']
)
def test_a_refusal_in_english_alone_is_found(text: str) -> None:
    assert untranslated(text, {"Conflict", "Invalid"}) == [ast.unparse(ast.parse(text).body[0])]


def test_an_error_within_a_refusal_and_several_reasons_are_translated_too() -> None:
    inner = NotFound(Reason("there is no node {reference!r}", reference="n1"))
    outer = Reason("the provider refuses: {error}", error=inner)
    assert outer == "the provider refuses: there is no node 'n1'"
    translate = languages.translations("de").gettext
    german = "der Anbieter lehnt ab: es gibt keinen Knoten 'n1'"
    assert reasons.in_words(translate, outer) == german
    several = joined([outer, "as it is"])
    assert several == f"{outer}; as it is"
    assert isinstance(several, Reason)
    assert reasons.in_words(translate, Reason.restored(several.kept())) == f"{german}; as it is"


def test_what_a_reconciler_fails_on_is_kept_as_its_reason() -> None:
    error = TransientError(Reason("no answer from {host}: {why}", host="h", why="gone"))
    for said in (told(error), words_of(error)):
        assert isinstance(said, Reason)
        kept = Reason.restored(said.kept())
        assert isinstance(kept, Reason)
        assert kept.template == "no answer from {host}: {why}"
    assert isinstance(told(RuntimeError("secret")), Reason)
    assert "secret" not in told(RuntimeError("secret"))
    assert words_of(RuntimeError("as it is")) == "as it is"


def test_a_number_of_a_kept_reason_has_its_form() -> None:
    reason = Reason("{host} has blocked this token for {wait_s:.0f} s", host="h", wait_s=2.51)
    assert Reason.restored(reason.kept()) == reason == "h has blocked this token for 3 s"
    assert isinstance(Reason.restored(reason.kept()), Reason)
