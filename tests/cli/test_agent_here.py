"""What commands on a node's machine say where they cannot do it: how this agent is started, and which socket it is."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from wgfleet.agent import announcing
from wgfleet.agent.overview import AgentOverview
from wgfleet.cli.agent import app
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


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            PermissionError(13, "Permission denied"),
            "no permission to make the socket /run/x/s.sock: run this as exabgp",
        ),
        (FileNotFoundError(2, "No such file or directory"), "there is no directory for the socket /run/x/s.sock"),
    ],
)
def test_an_announcer_that_cannot_make_its_socket_names_it(
    monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
) -> None:
    def fail(_networks: object, _path: Path) -> None:
        raise error

    monkeypatch.setattr(announcing, "announce", fail)
    told = CliRunner().invoke(app, ["announce", "--network", "203.0.113.0/24", "--socket", "/run/x/s.sock"])
    assert told.exit_code == 1
    assert said in " ".join(told.output.split())
    assert "Errno" not in told.output
