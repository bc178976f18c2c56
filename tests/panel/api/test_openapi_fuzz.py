"""Hostile and odd requests to every route: refused in the documented way, and never a failure of the panel."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.panel.authority import keep
from tests.panel.conftest import ListedEvents, served
from tests.postgresql import PostgresqlServer
from wgfleet.panel.api import Panel, create_app
from wgfleet.panel.dns.metrics import DnsMetrics
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.dns.providers.null import Null
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.dns.rate_limits import Limiter
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import api_keys
from wgfleet.panel.services.configs import ConfigSpec
from wgfleet.panel.services.fleet import assignments, nodes, peers
from wgfleet.panel.services.fleet.nodes import NodeSpec
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import Store, schema
from wgfleet.panel.vault import Vault

pytestmark = pytest.mark.slow

EXAMPLES = 10  # for each of some 45 routes and each database; 20 found nothing that these did not
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def module_database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('fuzz') / 'panel.sqlite'}"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    with server.database() as url:
        yield url


@pytest.fixture(scope="module")
def document(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The OpenAPI document of a panel that has something of everything, and its key."""
    store = Store(module_database_url)
    schema.migrate(store)
    vault = Vault([bytes(32)])
    with store.write() as tx:
        key = api_keys.ensure_first_key(tx)
        config = configs.create(tx, vault, "panel", ConfigSpec("wg0", "cluster", ["10.8.0.0/24"]))
        node = nodes.create(tx, "panel", NodeSpec("fra1", ["192.0.2.1"]))
        assignments.assign(tx, vault, "panel", config, node)
        (peer,) = peers.create(tx, "panel", config, peers.draft(vault, [peers.PeerSpec("anna")])).peers()
        there = {"config": config.id, "node": node.id, "node_id": node.id, "peer_id": peer.id}
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    publisher = Publisher(DnsPlugins({"null": Null}), Limiter(store, vault), DnsMetrics())
    panel = Panel(store, vault, settings, keep(store, vault), ListedEvents(), publisher)
    with served(create_app(panel)) as url:
        headers = {"Authorization": f"Bearer {key}"}
        yield schemathesis.openapi.from_url(f"{url}/openapi.json", headers=headers, timeout=60), key, there
    store.close()


def test_whatever_is_sent_gets_a_documented_answer(document: Any) -> None:
    schema, key, there = document
    failures: list[str] = []
    answered: Counter[int] = Counter()
    # The event stream never ends, which is not what this test is about.
    for result in schema.exclude(path="/api/events").get_all_operations():
        operation = result.ok()
        right, wrong = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)

        # A drawn id is that of nothing, so half of the requests name what is there; what is deleted would be gone.
        named = st.just({}) if operation.method.upper() == "DELETE" else st.sampled_from([{}, there])

        @hypothesis.given(case=right | wrong, named=named)
        @hypothesis.settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        )
        def hostile(case: Any, named: Mapping[str, str]) -> None:
            case.path_parameters |= {name: named[name] for name in case.path_parameters or () if name in named}
            answer = case.call_and_validate(headers={"Authorization": f"Bearer {key}"}, checks=CHECKS, timeout=120)
            answered[answer.status_code // 100] += 1

        try:
            hostile()
        except Exception as error:  # noqa: BLE001 - one run shows what is wrong with every route
            failures.append(f"{operation.method.upper()} {operation.path}: {error}")
    assert failures == []
    # Both what is right and what is wrong was tried.
    assert answered[2] > EXAMPLES
    assert answered[4] > EXAMPLES
