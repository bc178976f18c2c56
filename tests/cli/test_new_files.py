"""`--needs-new-file`: peers whose file is out of date are listed, and changed."""

import httpx
import pytest

from tests.cli.conftest import Run
from tests.panel.clients.test_files import serve
from tests.panel.conftest import made
from wgfleet.panel.api import Panel

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("wg0")
def test_those_with_an_old_file_are_listed_and_changed(panel: Panel, client: httpx.Client, wgfleet: Run) -> None:
    serve(panel, client, "wg0", "fra1")
    for name in ("anna", "bert"):
        made(client, "/api/configs/wg0/peers", name=name)
    assert "there are none for --needs-new-file" in wgfleet("peer", "list", "wg0", "--needs-new-file").stderr
    assert wgfleet("peer", "file", "wg0/anna").returncode == 0
    client.patch("/api/configs/wg0", json={"dns": ["9.9.9.9"]})
    listed = wgfleet("peer", "list", "wg0", "--needs-new-file").stdout
    assert ("anna" in listed, "bert" in listed) == (True, False)
    others = wgfleet("peer", "list", "wg0", "--up-to-date").stdout
    assert ("anna" in others, "bert" in others) == (False, True)
    change = ("peer", "change", "wg0", "disable", "--needs-new-file")
    looked = wgfleet(*change, "--dry-run")
    assert (looked.returncode, "anna" in looked.stdout + looked.stderr) == (0, True), looked
    assert "bert" not in looked.stdout + looked.stderr
