"""Hostile and odd requests to every route: refused in the documented way, and never a failure of the panel."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import requests
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

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # much of a processor, which others may need first

EXAMPLES = 10  # for each route; 20 found nothing that these did not
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


class Fuzzed:
    """A panel that has something of everything, and its key."""

    def __init__(self, database_url: str, data_dir: Path) -> None:
        self.store, vault = Store(database_url), Vault([bytes(32)])
        schema.migrate(self.store)
        with self.store.write() as tx:
            self.key = api_keys.ensure_first_key(tx)
            config = configs.create(tx, vault, "panel", ConfigSpec("wg0", "cluster", ["10.8.0.0/24"]))
            node = nodes.create(tx, "panel", NodeSpec("fra1", ["192.0.2.1"]))
            assignments.assign(tx, vault, "panel", config, node)
            (peer,) = peers.create(tx, "panel", config, peers.draft(vault, [peers.PeerSpec("anna")])).peers()
            self.there = {"config": config.id, "node": node.id, "node_id": node.id, "peer_id": peer.id}
        publisher = Publisher(DnsPlugins({"null": Null}), Limiter(self.store, vault), DnsMetrics())
        settings = Settings(data_dir=data_dir)
        self.app = create_app(Panel(self.store, vault, settings, keep(self.store, vault), ListedEvents(), publisher))
        self.url = ""
        self.session = requests.Session()
        self.answered: Counter[int] = Counter()

    def ask(self, case: Any, *, of_what_is_there: bool) -> None:
        """Call it and look at the answer. A drawn id is that of nothing, so some requests name what is there."""
        named = self.there if of_what_is_there else {}
        own = dict(case.path_parameters or {})
        case.path_parameters = own | {name: named[name] for name in own if name in named}
        headers = {"Authorization": f"Bearer {self.key}"}
        answer = case.call_and_validate(
            base_url=self.url, session=self.session, headers=headers, checks=CHECKS, timeout=120
        )
        self.answered[answer.status_code // 100] += 1
        case.path_parameters = own


@pytest.fixture
def both(tmp_path: Path, postgresql_url: str) -> Iterator[list[Fuzzed]]:
    """A panel on each database."""
    urls = {"sqlite": f"sqlite:///{tmp_path / 'panel.sqlite'}", "postgresql": postgresql_url}
    with ExitStack() as stack:
        found = []
        for kind, url in urls.items():
            (tmp_path / kind).mkdir()
            panel = Fuzzed(url, tmp_path / kind)
            stack.callback(panel.store.close)
            stack.callback(panel.session.close)
            panel.url = stack.enter_context(served(panel.app))
            found.append(panel)
        yield found


def test_whatever_is_sent_gets_a_documented_answer(both: list[Fuzzed]) -> None:
    """What is drawn is sent to a panel on each database: to draw it takes longer than to answer."""
    failures: list[str] = []
    headers = {"Authorization": f"Bearer {both[0].key}"}
    document: Any = schemathesis.openapi.from_url(f"{both[0].url}/openapi.json", headers=headers, timeout=60)
    # The event stream never ends, which is not what this test is about.
    for result in document.exclude(path="/api/events").get_all_operations():
        operation = result.ok()
        right, wrong = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)
        # What is deleted would be gone.
        named = st.just(value=False) if operation.method.upper() == "DELETE" else st.booleans()

        @hypothesis.given(case=right | wrong, named=named)
        @hypothesis.settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        )
        def hostile(case: Any, named: bool) -> None:
            for panel in both:
                panel.ask(case, of_what_is_there=named)

        try:
            hostile()
        except Exception as error:  # noqa: BLE001 - one run shows what is wrong with every route
            failures.append(f"{operation.method.upper()} {operation.path}: {error}")
    assert failures == []
    # Both what is right and what is wrong was tried.
    for panel in both:
        assert panel.answered[2] > EXAMPLES
        assert panel.answered[4] > EXAMPLES
