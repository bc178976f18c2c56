"""`wgfleet certificate rotate-ca`, and which CAs the machine believes on which it is run."""

import hashlib
import json
import os
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.panel.test_door import AUTHORITY, opened_doors
from wgfleet.panel.agents.authority import Authority
from wgfleet.panel.api import Panel
from wgfleet.panel.services.fleet import authority_rotation
from wgfleet.panel.settings.door import DoorSettings

pytestmark = pytest.mark.slow

PROGRAM = Path(sys.executable).with_name("wgfleet")


def rotate_ca(home: Path, *options: str) -> str:
    """Run the command as somebody who has logged in; return what it says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WGFLEET", "XDG"))}
    command = [str(PROGRAM), "certificate", "rotate-ca", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**kept, "HOME": str(home)})
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def log_in(client: httpx.Client, home: Path, ca: str) -> Path:
    """Leave what a login by fingerprint leaves; return the file of the CA."""
    folder = home / ".config" / "wgfleet"
    folder.mkdir(parents=True)
    file = folder / "ca.pem"
    file.write_text(ca)
    key = str(client.headers["Authorization"]).removeprefix("Bearer ")
    values = {"url": str(client.base_url), "api_key": key, "ca_file": str(file)}
    settings = folder / "cli.toml"
    settings.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
    settings.chmod(0o600)
    return file


def ca_of(client: httpx.Client) -> str:
    return client.get("/api/ca.pem").text


def fingerprint(certificate: str) -> str:
    return "sha256:" + hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()


def test_the_old_ca_is_believed_until_the_end_and_no_longer(client: httpx.Client, panel: Panel, tmp_path: Path) -> None:
    """Who has its key could pose as the panel to this machine, and take the API key."""
    old = ca_of(client)
    file = log_in(client, tmp_path / "home", old)
    rotate_ca(tmp_path / "home", "--yes")
    assert file.read_text().count("BEGIN") == 2
    assert old.strip() in file.read_text()
    for _ in range(2):
        with panel.store.write() as tx:
            authority_rotation.advance(tx, panel.vault)
    new = ca_of(client)
    assert fingerprint(new) in rotate_ca(tmp_path / "home", "--status")
    assert file.read_text().strip() == new.strip() != old.strip()


def test_the_old_ca_is_believed_until_the_listener_shows_the_new_one(panel: Panel, tmp_path: Path) -> None:
    """Its certificate is replaced some seconds after the end."""
    with opened_doors(panel, DoorSettings()) as doors:
        with httpx.Client(base_url=f"http://127.0.0.1:{doors.plain}") as anonymous:
            both = AUTHORITY.certificate_pem + ca_of(anonymous)
        settings = {"Authorization": f"Bearer {doors.key}"}
        with httpx.Client(base_url=f"https://127.0.0.1:{doors.secure}", headers=settings) as client:
            file = log_in(client, tmp_path / "home", both)
        rotate_ca(tmp_path / "home", "--status")
        assert file.read_text() == both


def test_a_file_without_the_panels_ca_is_left_alone(client: httpx.Client, tmp_path: Path) -> None:
    others = "".join(Authority.create("others", time.time()).certificate_pem for _ in range(2))
    file = log_in(client, tmp_path / "home", others)
    rotate_ca(tmp_path / "home", "--status")
    assert file.read_text() == others
