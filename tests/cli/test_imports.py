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


def test_what_is_taken_here_is_said_with_the_option_that_helps(wgfleet: Run, tmp_path: Path) -> None:
    file = tmp_path / "office.conf"
    user = new_key_pair()[1]
    server = f"[Interface]\nPrivateKey = {new_key_pair()[0]}\nListenPort = 51833\nAddress = 10.9.0.1/24\n"
    file.write_text(f"{server}[Peer]\n# anna\nPublicKey = {user}\nAllowedIPs = 10.9.0.7/32\n")
    made = wgfleet("config", "create", "wg9", "--pool", "10.9.0.0/16", "--listen-port", "51833")
    assert made.returncode == 0, made.stderr
    words = ("import", "wg-quick", str(file), "--yes")
    refused = wgfleet(*words)
    assert (refused.returncode, "such as --pool 10.77.0.0/24" in refused.stderr) == (1, True)
    refused = wgfleet(*words, "--pool", "10.77.0.0/24")
    assert (refused.returncode, "such as --listen-port 51999" in refused.stderr) == (1, True)
    done = wgfleet(*words, "--pool", "10.77.0.0/24", "--listen-port", "51999")
    assert done.returncode == 0, done.stderr
    assert "note: addresses of 1 peer are in none of 10.77.0.0/24" in done.stderr.replace("\n", " ")
    assert "10.77.0.2" in done.stdout + wgfleet("peer", "list", "office").stdout


def test_peers_that_are_commented_out_are_named_and_come_in_as_disabled_ones(wgfleet: Run, tmp_path: Path) -> None:
    file = tmp_path / "office.conf"
    server = f"[Interface]\nPrivateKey = {new_key_pair()[0]}\nListenPort = 51833\nAddress = 10.9.0.1/24\n"
    peer = f"[Peer]\n# anna\nPublicKey = {new_key_pair()[1]}\nAllowedIPs = 10.9.0.7/32\n"
    file.write_text(server + "".join(f"# {line}\n" for line in peer.splitlines()))
    words = ("import", "wg-quick", str(file), "--yes")
    looked = wgfleet(*words, "--dry-run")
    assert "office: line 5, peer anna is commented out, and is not imported" in looked.stderr.replace("\n", " ")
    assert "1 peer was imported into office" in wgfleet(*words, "--commented-out").stderr
    (enabled,) = [line for line in wgfleet("peer", "show", "office/anna").stdout.splitlines() if "enabled" in line]
    assert enabled.split() == ["enabled", "no"]
