"""What else is known of an entry is called in the reader's language, whatever a service notes."""

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

import wgfleet.panel
from wgfleet.panel.api import SUBJECTS
from wgfleet.panel.api.models import Body
from wgfleet.panel.domain import operations
from wgfleet.panel.domain.certificates import CertificateKind
from wgfleet.panel.domain.dns.states import SyncState
from wgfleet.panel.domain.first_look import FirstLook
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.identities import ProviderKind
from wgfleet.panel.domain.jobs.job import JobAction, JobField
from wgfleet.panel.domain.operations import OperationKind, OperationState
from wgfleet.panel.domain.peer_changes import PeerAction
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import configs
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.store.tables import Config, EndpointGroup, Node, Peer, Tag
from wgfleet.panel.web import languages
from wgfleet.panel.web.detail_names import DETAIL_NAMES, name_of
from wgfleet.panel.web.detail_values import value_of
from wgfleet.panel.web.formats import details

RESULTS = get_args(operations.Result)
SAME = {"agent", "client", "panel", "cluster"}  # in German too
SENTENCE = {"config", "config_id", "error", "name", "node", "peer_id", "reason"}  # what the entry itself says


def noted() -> set[str]:
    """Return the names of all details that calls of the audit log's functions give, and those of results in them."""
    found: set[str] = set()
    for path in Path(wgfleet.panel.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr.startswith("record")
            ):
                of = node.func.value
                if isinstance(of, ast.Name) and of.id == "audit":
                    found |= {each.arg for each in node.keywords if each.arg}
    return found | {each.name for kind in (*RESULTS, *RESULTS[0].__subclasses__()) for each in fields(kind)}


def test_every_detail_that_is_noted_has_a_name() -> None:
    found = noted()
    assert len(found) > 50
    assert found - SENTENCE <= DETAIL_NAMES.keys()


def test_every_field_that_a_call_changes_has_a_name() -> None:
    assert SUBJECTS, "which have brought the bodies"
    changes = {each for each in subclasses(Body) if each.__name__.startswith("Changed")}
    rows = (Config, EndpointGroup, Node, Peer, Tag)
    columns = {column.name for row in rows for column in row.__table__.columns}
    found = {field for model in changes for field in model.model_fields} | (columns & {"group_id", "owner_id"})
    found |= {name for name in columns if name.startswith(("dns_", "floating_", "min_")) and "sealed" not in name}
    assert len(found) > 60
    assert {name for name in found if not name.startswith("cloudflare_")} - SENTENCE <= DETAIL_NAMES.keys()


def subclasses(of: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for each in of.__subclasses__():
        yield each
        yield from subclasses(each)


ENUMERATIONS = {
    "action": JobAction,
    "before": Health,
    "does": PeerAction,
    "field": JobField,
    "first_look": FirstLook,
    "kind": (*OperationKind, *ProviderKind, *CertificateKind),
    "mode": configs.MODES,
    "role": Role,
    "state": (*Health, *Phase, *OperationState, *SyncState),
}


@pytest.mark.parametrize("language", ["de", "fa"])
def test_states_and_other_words_of_ours_are_in_the_readers_language(language: str) -> None:
    german = languages.translations(language).gettext
    for name, values in ENUMERATIONS.items():
        for value in values:
            assert value_of(name, str(value)) is not None, (name, value)
            english, said = (details({name: str(value)}, translate) for translate in (str, german))
            assert said.partition(": ")[2] not in {"", str(value)} - SAME, (name, value)
            assert english.endswith(f": {value}"), "logs of agents have them as they are"


def test_details_are_in_the_readers_language() -> None:
    german = languages.translations("de").gettext
    assert details({"changed": ["name", "keepalive"], "filter": {"tag": "state"}}, german) == (
        "geändert: name, Keepalive; Filter: {Markierung state}"
    )
    assert details({"expires_at": None, "force": True, "of_a_plugin": 3}, german) == (
        "läuft ab: keine; erzwungen: ja; of a plugin: 3"
    )
    assert name_of("") == ""
