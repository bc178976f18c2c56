"""Where an agent keeps what it is."""

from pathlib import Path

import pytest

from wgfleet.agent.state.identity import StateDirectory


def test_who_looks_for_the_agent_of_the_panels_own_node_is_told_where_it_is(tmp_path: Path) -> None:
    usual = StateDirectory(tmp_path / "wgfleet-agent")
    with pytest.raises(ValueError, match="holds no enrolled agent; run `wgfleet agent enroll` first"):
        usual.read_agent()
    panels = StateDirectory(tmp_path / "wgfleet" / "agent")
    panels.root.mkdir(parents=True)
    panels.agent.write_bytes(b"{}")
    with pytest.raises(ValueError, match=f"repeat it with --state-dir {panels.root}$"):
        usual.read_agent()
