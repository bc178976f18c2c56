"""Speeds in the commands: given to a peer, a tag and a config, shown with whose they are, and given back."""

import httpx
import pytest

from tests.cli.conftest import Run
from tests.cli.test_commands import document
from tests.panel.conftest import made

pytestmark = pytest.mark.slow


def test_speeds_are_given_shown_and_given_back(wgfleet: Run, client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    assert document(wgfleet("tag", "create", "slow", "--download", "5mbit", "--json"))["download_speed"] == 5_000_000
    created = wgfleet("peer", "create", "wg0", "anna", "--tag", "slow", "--upload", "1mbit")
    assert "5 Mbit/s" in created.stdout
    shown = wgfleet("peer", "show", "wg0/anna").stdout
    assert "5 Mbit/s (tag 'slow')" in shown
    assert "1 Mbit/s (peer)" in shown
    update = ("config", "update", "wg0", "--download", "100mbit", "--upload", "100mbit")
    refused = wgfleet(*update)
    assert refused.returncode == 2
    assert "held to 100 Mbit/s each at once" in refused.stderr
    assert "100 Mbit/s" in wgfleet(*update, "--yes").stdout
    assert wgfleet("peer", "update", "wg0/anna", "--inherit", "upload").returncode == 0
    assert "100 Mbit/s (config)" in wgfleet("peer", "show", "wg0/anna").stdout
    assert wgfleet("tag", "update", "slow", "--download", "0").returncode == 0
    assert document(wgfleet("peer", "show", "wg0/anna", "--json"))["download_speed"] is None
    wrong = wgfleet("peer", "update", "wg0/anna", "--download", "fast")
    assert (wrong.returncode, "'fast' is no speed" in wrong.stderr, "--download" in wrong.stderr) == (2, True, True)


@pytest.mark.usefixtures("wg0")
def test_what_is_refused_is_named_by_the_option_that_gave_it(wgfleet: Run) -> None:
    for option, value in (("--download", "5"), ("--upload", "5"), ("--exclude", "10.0.0.1/8")):
        assert wgfleet("peer", "create", "wg0", "anna", option, value).stderr.startswith(f"error: {option}: ")
