"""Sentences of audit entries as parts of a page: names in place of ids, and links to what there is a page of."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

from wgfleet.panel.api.audit import AuditEntryView
from wgfleet.panel.web.audit_sentences import ACTORS, OTHERWISE, SENTENCES
from wgfleet.panel.web.reasons import Translate

PAGES_OF = {
    "config": "/configs/",
    "endpoint_group": "/configs/",
    "node": "/nodes/",
    "join_token": "/nodes/",
    "peer": "/peers/",
    "operation": "/operations/",
    "node_group": "/node-groups/",
    "tag": "/tags/",
    "rule_set": "/rule-sets/",
    "user": "/settings/users/",
    "password": "/settings/users/",
    "password_link": "/settings/users/",
    "second_factor": "/settings/users/",
    "recovery_codes": "/settings/users/",
}
"""Where things have pages of their own."""
GONE = {"deleted", "revoked"}
SHORT = 6  # of an id that has no name any more
_CALLED = ("name", "peer", "config", "tag", "node")  # details that have the name of what an entry is about

Address = Callable[[str], str | None]
"""Returns the address of one of our paths; None where it is not to be shown."""


class AuditWording:
    """Says entries in a language. `names`: of configs, nodes and others that there are, by id."""

    def __init__(self, translate: Translate, names: Mapping[str, str], address: Address) -> None:
        self._translate, self._names, self._address = translate, names, address

    def sentence(self, entry: AuditEntryView) -> Markup:
        """Return who did what to what."""
        known = SENTENCES.get(entry.entity_type, {}).get(entry.action)
        config, _, node = entry.entity_id.partition("/")
        return Markup(escape(self._translate(known or OTHERWISE))).format(  # noqa: S704 - escaped before
            who=self._who(entry.actor),
            what=self._what(entry),
            config=self._of(config, entry.details.get("config"), "/configs/"),
            node=self._of(node, entry.details.get("node"), "/nodes/"),
            action=_text(entry.action),
            kind=entry.entity_type.replace("_", " "),
        )

    def named(self, identifier: str) -> str:
        """Return what a person calls something, or the end of its id."""
        return self._names.get(identifier, f"…{identifier[-SHORT:]}")

    def _who(self, actor: str) -> Markup:
        kind, _, name = actor.partition(":")
        words = self._translate(ACTORS[kind]) if kind in ACTORS else "{name}"
        said = Markup(escape(words)).format(name=_text(name or actor))  # noqa: S704 - escaped before
        return self._linked(said, f"/audit?actor={quote(actor)}")

    def _what(self, entry: AuditEntryView) -> Markup:
        values, identifier = entry.details, entry.entity_id
        called = next((values[each] for each in _CALLED if isinstance(values.get(each), str) and values[each]), None)
        name = self._names.get(identifier) or called or (self.named(identifier) if _is_id(identifier) else identifier)
        base, page = PAGES_OF.get(entry.entity_type), identifier
        if entry.entity_type == "share_link" and isinstance(values.get("peer_id"), str):
            base, page = "/peers/", values["peer_id"]
        is_gone = entry.action in GONE and entry.entity_type != "share_link"
        return self._linked(_text(name), None if base is None or is_gone else f"{base}{page}")

    def _of(self, identifier: str, called: Any, base: str) -> Markup:
        """Return a config or node by its present name, with its page; by what it was called, where it is gone."""
        if present := self._names.get(identifier):
            return self._linked(_text(present), f"{base}{present}")
        return _text(called if isinstance(called, str) else self.named(identifier))

    def _linked(self, said: Markup, path: str | None) -> Markup:
        address = None if path is None else self._address(path)
        return said if address is None else Markup('<a href="{}">{}</a>').format(address, said)


def _text(text: str) -> Markup:
    return Markup("<bdi>{}</bdi>").format(text)


def _is_id(text: str) -> bool:
    return len(text) == 32 and text.isalnum()  # noqa: PLR2004 - digits of an id
