"""The release before this one, 0.1.0, as a wheel: unpacked, it runs by `PYTHONPATH` with the libraries of this one.

How it was built, from commit d50eafb: `git archive d50eafb | tar -x -C DIR`, then in DIR, with the hatchling of
requirements.lock and SOURCE_DATE_EPOCH at the commit's time, `python -c "from hatchling.build import build_wheel;
build_wheel('.')"`. It is the same to the byte each time.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

WHEEL = Path(__file__).parent / "wgfleet-0.1.0-py3-none-any.whl"
MAIN = "from wgfleet.cli import main; main()"


def unpacked(folder: Path) -> Path:
    """Unpack the release; return what `PYTHONPATH` has to be."""
    target = folder / "wgfleet-0.1.0"
    with zipfile.ZipFile(WHEEL) as wheel:
        wheel.extractall(target)
    return target


def wgfleet(*arguments: str, release: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of a release; None: of this one."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WGFLEET_")}
    if release is not None:
        environment["PYTHONPATH"] = str(release)
    command = [sys.executable, "-c", MAIN, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
