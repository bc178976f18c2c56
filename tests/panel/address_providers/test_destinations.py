"""What an address provider may connect to: nothing inside the panel's machine or network without a setting."""

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import BaseModel

from wgfleet.panel.address_providers import AddressNode, AddressProviderType, plugins
from wgfleet.panel.address_providers.plugins import AddressPlugins
from wgfleet.panel.errors import Invalid, PermanentError
from wgfleet.panel.parts import prepare
from wgfleet.panel.settings import Settings
from wgfleet.panel.settings.floating import FloatingAddressSettings

NODE = AddressNode("n1", "fra1", ("203.0.113.7",))


class CloudOptions(BaseModel):
    url: str = ""
    key_file: str = ""
    mirrors: list[str] = []


class Cloud:
    """Connects to a port of the host that it was given."""

    name = "cloud"
    on_agent = False
    Options: type[BaseModel] = CloudOptions

    def __init__(self, options: Any) -> None:
        self._host, _, self._port = options.url.removeprefix("http://").rpartition(":")

    def holder(self, address: str, nodes: Sequence[AddressNode]) -> AddressNode | None:  # noqa: ARG002 - the interface
        with socket.create_connection((self._host, int(self._port)), timeout=5):
            return None

    def assign(self, address: str, node: AddressNode) -> None:
        self.holder(address, [node])

    def close(self) -> None:
        """Nothing is open."""


def cloud_plugins() -> AddressPlugins:
    return AddressPlugins({"cloud": cast("AddressProviderType", Cloud)})


@pytest.fixture(autouse=True)
def _nothing_allowed() -> Iterator[None]:
    plugins.allow([])
    yield
    plugins.allow([])


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "169.254.169.254", "10.0.0.1", "[::1]", "[fe80::1]"])
def test_what_is_inside_is_refused_when_it_is_saved_and_when_it_is_opened(host: str) -> None:
    found = cloud_plugins()
    options = {"url": f"http://{host}:80"}
    for act in (found.canonical, found.open):
        with pytest.raises(Invalid, match=r"not on the internet.*floating\.allowed_servers") as refused:
            act("cloud", options)
        assert refused.value.field == "address_options.url"
    with pytest.raises(Invalid, match="not on the internet") as refused:
        found.canonical("cloud", {"mirrors": ["http://cloud.example.com", f"http://{host}"]})
    assert refused.value.field == "address_options.mirrors[1]"


def test_a_name_that_stands_for_something_inside_is_refused_when_it_is_connected_to(
    monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_named: answer)
    provider = cloud_plugins().open("cloud", {"url": f"http://rebinds.example.com:{port}"})
    with pytest.raises(PermanentError, match=r"floating\.allowed_servers"):
        provider.holder("203.0.113.10", [NODE])
    with pytest.raises(PermanentError, match=r"floating\.allowed_servers"):
        provider.assign("203.0.113.10", NODE)


def test_no_option_has_the_panel_read_a_file() -> None:
    for value in ({"key_file": "/etc/shadow"}, {"url": "file:///etc/shadow"}, {"url": "~/.config/cloud"}):
        with pytest.raises(Invalid, match="names a file"):
            cloud_plugins().canonical("cloud", value)


def test_the_settings_of_a_panel_allow_servers_inside(port: int, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, floating=FloatingAddressSettings(allowed_servers=("127.0.0.1",)))
    parts, _ = prepare(settings)
    parts.store.close()
    provider = cloud_plugins().open("cloud", {"url": f"http://127.0.0.1:{port}"})
    assert provider.holder("203.0.113.10", [NODE]) is None


@pytest.mark.parametrize("name", ["fra1", "zurich1", "host-2", "vpn-server", "file"])
def test_private_addresses_of_nodes_are_no_servers_whatever_the_nodes_are_called(name: str) -> None:
    options = {
        "access_key_id": "AKIAIOSFODNN7EXAMPLE",
        "token": "secret",
        "region": "eu-central-1",
        "instances": {name: "i-0abcdef1"},
        "private_addresses": {name: ["10.0.1.11"]},
    }
    found = plugins.installed()
    assert found.canonical("aws", options) == options
    found.open("aws", options).close()
    with pytest.raises(Invalid, match="not on the internet"):
        found.canonical("aws", {**options, "api_url": "http://10.0.0.1"})
