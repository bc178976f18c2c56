"""`wgfleet import`: what is refused is said by the options of the command."""

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from wgfleet.panel.keypairs import new_key_pair

pytestmark = pytest.mark.slow


def test_what_an_import_is_refused_for_is_said_by_its_option(wgfleet: Run, tmp_path: Path) -> None:
    private, _ = new_key_pair()
    file = tmp_path / "our server.conf"
    file.write_text(f"[Interface]\nPrivateKey = {private}\nListenPort = 51820\nAddress = 10.7.0.1/24\n")
    refused = wgfleet("import", "wg-quick", str(file), "--yes")
    assert (refused.returncode, refused.stderr.startswith("error: --config: the interface, or its file")) == (1, True)
    assert "'our server'" in refused.stderr
    assert wgfleet("import", "wg-quick", str(file), "--config", "wg7", "--yes").stderr.endswith(
        "0 peers were imported into wg7\n"
    )
    again = wgfleet("import", "wg-quick", str(file), "--config", "wg8", "--yes")
    assert (again.returncode, "as config 'wg7'" in again.stderr) == (1, True)
