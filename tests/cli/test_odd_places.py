"""Commands from odd places: without standard input, in a folder that is gone, at a home that takes no files."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.cli.conftest import Run
from tests.panel.conftest import made

pytestmark = pytest.mark.slow
PROGRAM = str(Path(sys.executable).with_name("wgfleet"))


@pytest.mark.parametrize(
    "url", ["https://[::1", "https://x:y", "https://x:99999", "https://x:0", "https://x:-1", "https://a\nb", "https://"]
)
def test_what_is_no_address_of_a_panel_is_said(wgfleet: Run, tmp_path: Path, url: str) -> None:
    for words in (["login", url], ["agent", "enroll", "--panel", url, "--token", "x", "--state-dir", str(tmp_path)]):
        refused = wgfleet(*words)
        assert refused.returncode in {1, 2}
        assert "address such as https://panel.example.com:8443" in refused.stderr


def test_a_password_in_the_address_is_refused_and_not_repeated(
    wgfleet: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    url = environment["WGFLEET_URL"].replace("//", "//anna:tulips-7@")
    asked = subprocess.run(
        [PROGRAM, "node", "list"], env=environment | {"WGFLEET_URL": url}, capture_output=True, text=True, check=False
    )
    assert (asked.returncode, asked.stderr.count("\n")) == (2, 1), asked.stderr
    assert "a name or a password before its host" in asked.stderr
    for words in (["login", url], ["agent", "enroll", "--panel", url, "--token", "x", "--state-dir", str(tmp_path)]):
        refused = wgfleet(*words)
        assert refused.returncode in {1, 2}
        assert "tulips" not in refused.stderr
    assert "tulips" not in asked.stderr


def test_a_closed_input_is_an_empty_one(environment: dict[str, str]) -> None:
    words = f"exec {PROGRAM} login {environment['WGFLEET_URL']} <&-"
    asked = subprocess.run(["/bin/sh", "-c", words], env=environment, capture_output=True, text=True, check=False)
    assert (asked.returncode, asked.stderr.count("\n")) == (2, 1)
    assert asked.stderr.startswith("error: no API key on standard input")


@pytest.mark.usefixtures("wg0")
def test_a_folder_that_is_gone_is_said(client: httpx.Client, environment: dict[str, str], tmp_path: Path) -> None:
    made(client, "/api/configs/wg0/peers", name="anna")
    made(client, "/api/configs/wg0/endpoint-group", domain="vpn.example.com")
    gone_soon = tmp_path / "gone"
    gone_soon.mkdir()
    words = f"cd {gone_soon} && rmdir {gone_soon} && exec {PROGRAM} peer file wg0/anna -o x.conf"
    gone = subprocess.run(["/bin/sh", "-c", words], env=environment, capture_output=True, text=True, check=False)
    assert (gone.returncode, gone.stdout) == (1, "")
    assert gone.stderr == "error: the folder that you are in: No such file or directory\n"


def test_a_home_that_takes_no_files_is_said(environment: dict[str, str]) -> None:
    """Nothing can be made in /proc, not even by root."""
    home = {**environment, "HOME": "/proc", "XDG_CONFIG_HOME": "/proc/x"}
    for words in (["login", environment["WGFLEET_URL"]], ["--install-completion", "bash"]):
        refused = subprocess.run(
            [PROGRAM, *words],
            env=home,
            input=environment["WGFLEET_API_KEY"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert refused.returncode == 1, refused
        assert refused.stderr.startswith("error: /proc/"), refused
        assert refused.stderr.count("\n") == 1, refused
