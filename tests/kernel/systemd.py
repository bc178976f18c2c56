"""The machine's own systemd: units put in place as a user does, and asked how they are."""

import subprocess
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
UNITS = Path("/etc/systemd/system")


def run(*command: str, cwd: Path | None = None, stdin: str | None = None) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd, input=stdin)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def succeeds(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def shown(unit: str, name: str) -> str:
    """A property of a unit."""
    return run("systemctl", "show", "--value", "--property", name, unit).strip()


def journal(*selection: str) -> list[str]:
    return run("journalctl", "--quiet", "--boot", "--no-pager", "--output=cat", *selection).splitlines()


def verify(*units: str) -> str:
    """What systemd finds wrong with units, which is nothing if all is well."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units],
        check=False,
        capture_output=True,
        text=True,
    )
    return f"{done.stdout}{done.stderr}" + (f"ended with {done.returncode}" if done.returncode else "")
