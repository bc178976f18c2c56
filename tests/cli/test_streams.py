"""Standard output that is full, or of an encoding without the letters of names; keys and addresses with odd ones."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.cli.conftest import Run
from tests.panel.conftest import made

pytestmark = pytest.mark.slow
PROGRAM = str(Path(sys.executable).with_name("wgfleet"))


def started(
    *words: str, environment: dict[str, str], out: int = subprocess.PIPE, encoding: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *words],
        stdout=out,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        check=False,
        env={**environment, "PYTHONIOENCODING": encoding},
    )


@pytest.mark.parametrize("words", [["peer", "list", "wg0"], ["peer", "file", "wg0/علی"], ["--help"], ["peer", "-h"]])
@pytest.mark.usefixtures("wg0")
def test_a_full_disk_is_said_in_one_line(words: list[str], client: httpx.Client, environment: dict[str, str]) -> None:
    made(client, "/api/configs/wg0/peers", name="علی")
    made(client, "/api/configs/wg0/endpoint-group", domain="vpn.example.com")
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        refused = started(*words, environment=environment, out=full)
    finally:
        os.close(full)
    assert refused.returncode == 1
    assert refused.stderr == "error: this cannot be written: No space left on device\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.usefixtures("wg0")
def test_names_that_an_encoding_lacks_are_written_as_numbers(
    encoding: str, client: httpx.Client, environment: dict[str, str]
) -> None:
    made(client, "/api/configs/wg0/peers", name="علی")
    made(client, "/api/configs/wg0/endpoint-group", domain="vpn.example.com")
    for words in (["peer", "list", "wg0"], ["peer", "file", "wg0/علی"], ["peer", "show", "wg0/علی"]):
        shown = started(*words, environment=environment, encoding=encoding)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "\\u0639\\u0644\\u06cc" in shown.stdout or (words[1] == "file" and "علی" in shown.stdout)
    refused = started("peer", "qr", "wg0/علی", environment=environment, encoding=encoding)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
    assert "LC_ALL=C.UTF-8" in refused.stderr


def test_a_key_with_odd_characters_is_refused_without_being_shown(wgfleet: Run, environment: dict[str, str]) -> None:
    key = environment["WGFLEET_API_KEY"]
    assert wgfleet("node", "list", WGFLEET_API_KEY=f" {key}\r\n").returncode == 0
    assert wgfleet("login", environment["WGFLEET_URL"], given=f" {key} \r\n").returncode == 0
    for odd in (f"{key}\n{key}", f"{key}ü", f"{key} x"):
        refused = wgfleet("node", "list", WGFLEET_API_KEY=odd)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert "character that no key has" in refused.stderr
        assert key not in refused.stderr


@pytest.mark.parametrize("url", ["https://[::1", "https://[x]:1"])
def test_half_an_address_is_none(wgfleet: Run, url: str) -> None:
    refused = wgfleet("node", "list", WGFLEET_URL=url)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "is not an address such as" in refused.stderr


@pytest.mark.usefixtures("wg0")
def test_a_watch_ends_when_its_reader_has_gone(environment: dict[str, str]) -> None:
    with subprocess.Popen(
        [PROGRAM, "config", "list", "--watch"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as watch:
        assert watch.stdout is not None
        assert watch.stderr is not None
        assert watch.stdout.readline()
        watch.stdout.close()
        try:
            assert watch.wait(30) == 1
            assert watch.stderr.read() == b""
        finally:
            watch.kill()
