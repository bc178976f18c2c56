"""Programs that we start import nothing from the directory that they are started in."""

import re
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src/wgfleet"
PROGRAM = str(Path(sys.executable).parent / "wgfleet")


def test_the_agent_imports_nothing_from_where_it_is_started(tmp_path: Path) -> None:
    for name in ("structlog", "msgspec", "uvicorn", "asyncio"):
        (tmp_path / f"{name}.py").write_text("import os\nos._exit(42)\n")
    command = [PROGRAM, "agent", "run", "--state-dir", str(tmp_path / "state")]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert ended.returncode == 1, ended.stderr
    assert "enroll" in ended.stderr or "root" in ended.stderr


def test_every_python_that_we_start_leaves_the_directory_out() -> None:
    started = [
        (path.name, call)
        for path in SOURCE.rglob("*.py")
        for call in re.findall(r"\[sys\.executable,[^\]]*", path.read_text())
    ]
    assert len(started) >= 3
    assert [call for call in started if '"-P"' not in call[1] and '"-I"' not in call[1]] == []


def test_what_the_processes_of_a_panel_run_is_loaded_before_they_are_forked() -> None:
    """One that is started again after an upgrade replaced the files would mix two releases."""
    assert loaded_with("wgfleet.cli.panel_run") == ["True", "True"]


def test_other_commands_of_a_panel_do_not_load_its_api_and_pages() -> None:
    """They would take a second longer each."""
    assert loaded_with("wgfleet.cli.panel")[0] == "False"


def loaded_with(module: str) -> list[str]:
    words = f"import sys, {module}; print(*(f'wgfleet.panel.{{each}}' in sys.modules for each in ('main', 'core')))"
    ended = subprocess.run([sys.executable, "-P", "-c", words], check=True, capture_output=True, text=True, timeout=120)
    return ended.stdout.split()


def test_a_command_of_the_agent_loads_nothing_of_those_who_call_a_panel() -> None:
    """Its machine need not have their libraries."""
    words = (
        "import atexit, sys, wgfleet.cli; atexit.register(lambda: print('httpx' in sys.modules)); "
        "sys.argv = ['wgfleet', 'agent', '--help']; wgfleet.cli.main()"
    )
    ended = subprocess.run([sys.executable, "-P", "-c", words], check=True, capture_output=True, text=True, timeout=120)
    assert ended.stdout.splitlines()[-1] == "False"
