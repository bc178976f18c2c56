"""The example packages of the docs pass their contract suites, from a folder outside the repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.providers.documented import install_package, write_package

PACKAGES = [("dns.md", "example_dns.py"), ("floating.md", "example_cloud.py")]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest there, without anything of the repository but the installed product."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *arguments]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(folder),
        "NO_PROXY": "*",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # those of this repository
    }
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(("page", "module"), PACKAGES)
def test_the_documented_package_passes_the_contract(page: str, module: str, tmp_path: Path) -> None:
    write_package(page, tmp_path)
    install_package(tmp_path)
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
    assert (tmp_path / module).exists()


@pytest.mark.slow
@pytest.mark.parametrize(("page", "module"), PACKAGES)
def test_a_package_that_breaks_the_contract_is_told_what_was_compared(page: str, module: str, tmp_path: Path) -> None:
    write_package(page, tmp_path)
    install_package(tmp_path)
    source = (tmp_path / module).read_text()
    leaky = source.replace("does not answer: {error}", "does not answer: {self._http.headers['Authorization']}")
    assert leaky != source
    (tmp_path / module).write_text(leaky)
    done = run(tmp_path, "-k", "does_not_answer or does_not_show")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "an error holds the credential" in done.stdout
    assert "1 failed, 1 passed" in done.stdout
