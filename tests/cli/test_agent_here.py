"""What `wgfleet agent status` says of an agent that does not run: the command that starts this one."""

import pytest

from wgfleet.agent.overview import AgentOverview
from wgfleet.cli.agent_here import _wrong


@pytest.mark.parametrize(
    ("witness", "state_dir", "way_out"),
    [
        (False, "/var/lib/wgfleet-agent", "systemctl start wgfleet-agent, or wgfleet agent run"),
        (False, "/srv/my agent", "wgfleet agent run --state-dir '/srv/my agent'"),
        (
            True,
            "/var/lib/wgfleet-witness",
            "systemctl start wgfleet-witness, or wgfleet agent run --witness --state-dir /var/lib/wgfleet-witness",
        ),
        (True, "/home/me/w", "wgfleet agent run --witness --state-dir /home/me/w"),
    ],
)
def test_an_agent_that_does_not_run_is_started_as_what_it_is(witness: bool, state_dir: str, way_out: str) -> None:
    found = AgentOverview(state_dir, "n1", "https://panel", 51900, witness, (), None, (), ())
    assert _wrong(found) == [f"the agent does not run: {way_out}"]
