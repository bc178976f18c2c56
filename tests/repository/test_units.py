"""The systemd units as text: who runs the panel, with what, and where a unit's own folders are."""

import re
import shutil
import subprocess
from pathlib import Path

from wgfleet.panel.settings import Settings

UNITS = Path(__file__).parents[2] / "packaging/systemd"


def values(unit: str) -> dict[str, list[str]]:
    """Every setting of a unit with its values, in order."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / unit).read_text().splitlines():
        if match := re.fullmatch(r"([A-Za-z]+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


def test_the_panel_has_a_user_of_its_own_and_no_privileges() -> None:
    unit = values("wgfleet-panel.service")
    assert unit["User"] == ["wgfleet"]
    assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == [""]
    for name in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "ProtectKernelTunables"):
        assert unit[name] == ["yes"]
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["UMask"] == ["0077"]


def test_the_panel_s_unit_runs_it_on_the_directory_of_the_default_settings() -> None:
    unit = values("wgfleet-panel.service")
    assert Path("/var/lib", *unit["StateDirectory"]) == Settings().data_dir
    assert unit["StateDirectoryMode"] == ["0700"]
    # Its user could not make interfaces: the node of this machine is the agent's unit.
    assert unit["ExecStart"] == ["/usr/local/bin/wgfleet panel run --no-panel-node"]


def test_a_panel_s_unit_ends_its_processes_in_order() -> None:
    unit = values("wgfleet-panel.service")
    assert unit["KillMode"] == ["mixed"], "SIGTERM to the parent, which ends the others"
    assert unit["Type"] == ["notify"]
    assert unit["NotifyAccess"] == ["main"], "the parent speaks for all"


def test_systemd_knows_every_setting_of_the_units(tmp_path: Path) -> None:
    if (analyze := shutil.which("systemd-analyze")) is None:
        return  # make test-units has a live one
    for unit in UNITS.glob("*.service"):
        # The programs and the user are those of an installed machine.
        text = re.sub(r"^(ExecStart=)\S+", rf"\1{shutil.which('true')}", unit.read_text(), flags=re.MULTILINE)
        copy = tmp_path / unit.name
        copy.write_text(re.sub(r"^(User|Group)=.*\n", "", text, flags=re.MULTILINE))
        done = subprocess.run([analyze, "verify", "--man=no", copy], check=False, capture_output=True, text=True)
        assert "Unknown" not in done.stdout + done.stderr
