"""A panel's rows, and its API on loopback: on a real database, without agents."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from tests.panel.authority import keep
from tests.panel.world import World, opened
from tests.prompt_server import PromptServer
from wgfleet.panel.api import Panel, create_app
from wgfleet.panel.dns.metrics import DnsMetrics
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.dns.rate_limits import Limiter
from wgfleet.panel.reconcile.engine.events import Event, Events
from wgfleet.panel.services.access import api_keys
from wgfleet.panel.settings import Settings
from wgfleet.panel.settings.dns import DnsSettings
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault

# For clients of plain HTTP. Without, each would read all the world's authorities, which takes 20 ms.
NO_AUTHORITY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

# For tests whose statements are all run on PostgreSQL by other tests too: those of many values that are refused, or
# shown, one by one, and those of what happens between statements that both databases answer alike.
one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class ListedEvents(Events):
    """Gives what it was made with, then waits like a quiet panel."""

    def __init__(self, *events: Event) -> None:
        super().__init__()
        self._events = events

    async def subscribe(self) -> AsyncGenerator[Event, None]:
        for event in self._events:
            yield event
        await asyncio.Event().wait()


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serve an application on loopback; give its URL."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    with PromptServer(config).served() as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with opened(database_url) as made:
        yield made


@pytest.fixture
def panel(database_url: str, tmp_path: Path) -> Iterator[Panel]:
    store = Store(database_url)
    # Nobody listens there: what a provider says of a group is then told later.
    dns = DnsSettings(
        cloudflare_token=SecretStr("a-token"),
        cloudflare_url="http://127.0.0.1:9",
        save_check_s=0.5,
        allowed_servers=("127.0.0.1",),
    )
    settings = Settings(data_dir=tmp_path, dns=dns)
    vault = Vault([bytes(32)])
    made_now = Panel(
        store=store,
        vault=vault,
        settings=settings,
        publisher=Publisher(DnsPlugins.installed(settings), Limiter(store, vault), DnsMetrics()),
        authorities=keep(store, vault),
        events=ListedEvents(Event("node", "n1", {"name": "fra1"}), Event("config", "c1", {})),
    )
    yield made_now
    made_now.refusals.close()
    store.close()


@pytest.fixture
def anonymous(panel: Panel) -> Iterator[httpx.Client]:
    """A client without a key."""
    with (
        served(create_app(panel)) as url,
        httpx.Client(base_url=url, trust_env=False, verify=NO_AUTHORITY, timeout=120) as client,
    ):
        yield client


@pytest.fixture
def client(panel: Panel, anonymous: httpx.Client) -> httpx.Client:
    """A client with the admin key."""
    with panel.store.write() as tx:
        key = api_keys.ensure_first_key(tx)
    anonymous.headers["Authorization"] = f"Bearer {key}"
    return anonymous


@pytest.fixture
def wg0(client: httpx.Client) -> dict[str, Any]:
    """A cluster config."""
    return made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24", "fd00:8::/64"])


@pytest.fixture
def fra1(client: httpx.Client) -> dict[str, Any]:
    """A node."""
    return made(client, "/api/nodes", name="fra1", endpoint_addresses=["192.0.2.1"])


def made(client: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    """POST a body and return what was made."""
    response = client.post(path, json=body)
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer
