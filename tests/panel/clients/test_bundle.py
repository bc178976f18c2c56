"""What is packed for Linux clients: always the same bytes, and a script that the linter takes."""

import io
import subprocess
import tarfile
from pathlib import Path

from wgfleet.panel import client_helper
from wgfleet.panel.services.clients import bundle
from wgfleet.panel.services.clients.files import ClientFile

FILE = ClientFile(None, None, "wg0.conf", "[Interface]\nPrivateKey = ...\n")


def test_the_script_passes_shellcheck() -> None:
    script = Path(client_helper.__file__).with_name(bundle.PROGRAM)
    done = subprocess.run(["shellcheck", "--shell=sh", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_an_archive_holds_one_folder_with_what_its_readme_names() -> None:
    name, content = bundle.archive(FILE)
    assert name == "wg0.tar.gz"
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as tar:
        modes = {entry.name: entry.mode for entry in tar.getmembers()}
        texts = {entry: tar.extractfile(entry).read().decode() for entry in modes}  # type: ignore[union-attr]
    assert modes == {
        "wg0/README.txt": 0o644,
        "wg0/wg0.conf": 0o600,
        "wg0/wgfleet-reresolve": 0o755,
        "wg0/wgfleet-reresolve@.service": 0o644,
        "wg0/wgfleet-reresolve@.timer": 0o644,
    }
    assert texts["wg0/wg0.conf"] == FILE.text
    assert all(entry.removeprefix("wg0/") in texts["wg0/README.txt"] for entry in modes if "README" not in entry)
    assert [entry for entry, text in texts.items() if "PrivateKey" in text] == ["wg0/wg0.conf"]


def test_equal_files_make_equal_archives() -> None:
    assert bundle.archive(FILE) == bundle.archive(FILE)
