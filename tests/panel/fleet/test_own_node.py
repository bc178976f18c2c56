"""Which row is the panel's own node: whatever people call it, and never that of a machine which the panel left."""

from pathlib import Path

import pytest

from wgfleet.panel import machine
from wgfleet.panel.api import Panel
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.services.fleet.nodes import NodeSpec
from wgfleet.panel.settings import Settings
from wgfleet.panel.settings.panel_node import PanelNodeSettings
from wgfleet.panel_node.supervisor import find_or_create

HERE, ELSEWHERE = "203.0.113.7", "203.0.113.8"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(machine, "host_name", lambda: "vpn1")
    monkeypatch.setattr(machine, "outbound_addresses", lambda: (HERE,))
    return Settings(data_dir=tmp_path)


def renamed(panel: Panel, settings: Settings, name: str) -> str:
    with panel.store.write() as tx:
        node = find_or_create(tx, settings)
        nodes.update(tx, "test", node, {"name": name})
        return node.id


@pytest.mark.parametrize("state_is_kept", [True, False])
def test_a_node_that_was_renamed_is_the_panels_own(panel: Panel, settings: Settings, state_is_kept: bool) -> None:
    own = renamed(panel, settings, "berlin")
    with panel.store.write() as tx:
        nodes.create(tx, "test", NodeSpec("vpn1", [ELSEWHERE]))  # another that got the name of this machine
        assert find_or_create(tx, settings, own if state_is_kept else None).id == own
        assert [each.name for each in nodes.page(tx)] == ["berlin", "vpn1"]


def test_a_node_that_was_renamed_follows_the_settings(panel: Panel, settings: Settings) -> None:
    own = renamed(panel, settings, "berlin")
    there = settings.model_copy(update={"panel_node": PanelNodeSettings(endpoint_addresses=(ELSEWHERE,))})
    with panel.store.write() as tx:
        found = find_or_create(tx, there, own)
        assert (found.id, found.name) == (own, "berlin")
        assert ELSEWHERE in {*found.endpoint_addresses, *found.next_endpoint_addresses}


def test_a_panel_that_moved_leaves_the_node_of_its_old_machine(
    panel: Panel, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = renamed(panel, settings, "berlin")
    monkeypatch.setattr(machine, "host_name", lambda: "vpn2")
    monkeypatch.setattr(machine, "outbound_addresses", lambda: (ELSEWHERE,))
    with panel.store.write() as tx:
        with pytest.raises(Conflict, match="the agent of node 'berlin' is at"):
            find_or_create(tx, settings)
        assert nodes.get(tx, old).endpoint_addresses == [HERE]


def test_a_machine_whose_name_a_node_with_its_own_agent_has_is_refused(panel: Panel, settings: Settings) -> None:
    with panel.store.write() as tx:
        nodes.create(tx, "test", NodeSpec("vpn1", [HERE]))
        with pytest.raises(Conflict, match="node 'vpn1' has this machine's name and its own agent"):
            find_or_create(tx, settings)
