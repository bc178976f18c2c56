"""What a lab could leave behind on the machine."""

import subprocess
from pathlib import Path

from wgfleet.lab import processes, topology

LABS = ("pytest", "pytestdevice", "pytestfleet", "pytestnames", "pytesttwo")  # all that the tests beside this build


def machine() -> dict[str, list[str]]:
    """Namespaces, links, routes, mounts, processes and files that are a lab's, or could be."""

    def lines(*command: str) -> list[str]:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    return {
        "links": [line for line in lines("ip", "-br", "link") if topology.PREFIX in line],
        "routes": [line for line in lines("ip", "route") if line.startswith("198.1")],
        "namespaces": processes.named_namespaces(topology.PREFIX),
        "mounts": [line for line in Path("/proc/self/mounts").read_text().splitlines() if topology.PREFIX in line],
        "holders": sorted(name for lab in LABS for name in processes.holders(lab)),
        "files": sorted(str(path) for path in Path("/run/wgfleet-lab").rglob("*")),
    }
