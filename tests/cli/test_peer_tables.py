"""`wgfleet peer to-csv` and `from-csv`: each line is said first, and a file that comes back changes nothing."""

import os
import re
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.cli.conftest import Run
from tests.panel.conftest import made
from wgfleet.panel.api.peer_table_runs import MOST_AT_ONCE

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("wg0")
def test_a_file_makes_peers_and_comes_back(wgfleet: Run, client: httpx.Client, tmp_path: Path) -> None:
    file = tmp_path / "peers.csv"
    for nothing in (b"", b"\r\n \n"):
        file.write_bytes(nothing)
        empty = wgfleet("peer", "from-csv", "wg0", str(file), "--dry-run")
        assert (empty.returncode, "is empty: give a line of columns" in empty.stderr) == (2, True), empty
    file.write_text("name,notes\nanna,=1+1\nbert,\n")
    looked = wgfleet("peer", "from-csv", "wg0", str(file), "--dry-run")
    assert (looked.returncode, "2 new" in looked.stderr) == (0, True), looked
    assert "--yes" in wgfleet("peer", "from-csv", "wg0", str(file)).stderr
    done = wgfleet("peer", "from-csv", "wg0", str(file), "--yes")
    assert done.stdout == "2 peers created, 0 changed, 0 lines left out\n", done
    wrong = wgfleet("peer", "from-csv", "wg0", str(file), "--yes")
    assert (wrong.returncode, "line 2, name: there is a peer 'anna' already" in wrong.stderr) == (1, True), wrong
    out = tmp_path / "out.csv"
    assert wgfleet("peer", "to-csv", "wg0", "--semicolons", "-o", str(out)).returncode == 0
    text = out.read_bytes().decode("utf-8-sig")
    assert ("'=1+1" in text, text.count(";") > 30) == (True, True)
    same = wgfleet("peer", "from-csv", "wg0", str(out), "--existing", "update", "--yes")
    assert (same.returncode, "2 as they are" in same.stderr) == (0, True), same
    out.write_text(text.replace("bert", "carl"))
    assert wgfleet("peer", "from-csv", "wg0", str(out), "--existing", "update", "--yes").returncode == 0
    assert [each["name"] for each in client.get("/api/configs/wg0/peers").json()["items"]] == ["anna", "carl"]


@pytest.mark.usefixtures("wg0")
def test_what_is_no_file_is_neither_waited_for_nor_read_without_end(wgfleet: Run, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    said = {
        "/dev/zero": "is no file",
        str(pipe): "is no file",
        "/proc/self/mem": "error",
        str(tmp_path): "irectory|no file",
    }
    for path, words in said.items():
        refused = wgfleet("peer", "from-csv", "wg0", path, "--dry-run")
        assert (refused.returncode, bool(re.search(words, refused.stderr))) == (2, True), refused
        assert "Traceback" not in refused.stderr
    options = wgfleet("config", "endpoint", "wg0", "--domain", "vpn.example.com", "--dns-options", str(pipe))
    assert (options.returncode, "is no file" in options.stderr) == (2, True), options


@pytest.mark.usefixtures("wg0")
def test_what_a_command_of_a_shell_prints_is_taken(wgfleet: Run, tmp_path: Path) -> None:
    """In bash: `wgfleet peer from-csv wg0 <(...)`; secrets are given in this way."""
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    with subprocess.Popen(["sh", "-c", f"printf 'name\\nanna\\n' >{pipe}"]):
        made_of = wgfleet("peer", "from-csv", "wg0", str(pipe), "--yes")
    assert (made_of.returncode, "1 peers created" in made_of.stdout) == (0, True), made_of


def test_many_changes_are_left_to_an_operation(wgfleet: Run, client: httpx.Client, tmp_path: Path) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/20"])
    names = [f"p{number}" for number in range(MOST_AT_ONCE + 1)]
    made(client, "/api/configs/wg0/peers/batch", peers=[{"name": name} for name in names])
    file = tmp_path / "peers.csv"
    file.write_text("name,notes\n" + "".join(f"{name},x\n" for name in names))
    done = wgfleet("peer", "from-csv", "wg0", str(file), "--existing", "update", "--yes", "--no-wait")
    first, second = done.stdout.splitlines()
    assert first == "0 peers created, 251 to be changed, 0 lines left out"
    (operation,) = client.get("/api/operations").json()["items"]
    assert (done.returncode, operation["id"] in second, operation["progress"]["peers"]) == (0, True, 251)


@pytest.mark.usefixtures("wg0")
def test_whom_the_limits_of_a_tag_delete_is_said_before_a_table_gives_it(
    wgfleet: Run, client: httpx.Client, tmp_path: Path
) -> None:
    made(client, "/api/configs/wg0/peers", name="bert")
    made(client, "/api/tags", name="cut")
    made(client, "/api/tags/cut/jobs", field="date", value="2020-01-01T00:00:00Z", action="delete")
    file = tmp_path / "peers.csv"
    file.write_text("name,tags\nbert,cut\n")
    asked = wgfleet("peer", "from-csv", "wg0", str(file), "--existing", "update")
    assert "'bert' would be deleted at once, and their files never work again" in asked.stderr, asked
    assert client.get("/api/configs/wg0/peers").json()["items"][0]["tags"] == []
