"""What keeps users from the uplink is found, named, and seen to be gone: the scenario `firewalls`, in one lab."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from wgfleet.lab.firewalls import obstacles

PROGRAM = str(Path(sys.executable).parent / "wgfleet")


@pytest.mark.lab
@pytest.mark.timeout(600)
def test_each_obstacle_is_found_named_and_seen_to_be_gone() -> None:
    command = [PROGRAM, "lab", "run", "firewalls", "--name", "pytestfire", "--nodes", "2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=580)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["ok"]
    assert set(found["each"]) == {each.name for each in obstacles()}
