"""The groups of tests that run side by side, a process for each: see script/tests.

A machine has one lab at a time, so tests on labs are two groups, and script/tests gives the second a network and a /run
of its own. Those of agents in namespaces of their own are another. The rest is divided by folder. All take about the
same time.
"""

import sys
from pathlib import PurePosixPath

LABS, LABS_APART, AGENTS, OTHERS = "labs", "labs-apart", "agents", "others"
FOLDERS_APART = ("tests/panel/agents", "tests/panel/clients", "tests/panel/floating", "tests/panel/moves")
FOLDERS = {
    "names": ("tests/providers", "tests/panel/dns", "tests/cli"),
    "connections": ("tests/panel/agents", "tests/panel/store", "tests/panel/access"),
    "fleet": ("tests/panel/fleet", "tests/panel/floating", "tests/panel/health", "tests/panel/moves"),
}
WITHOUT_LAB = (*FOLDERS, OTHERS)
GROUPS = (LABS, LABS_APART, AGENTS, *WITHOUT_LAB)


def of(path: PurePosixPath, *, lab: bool) -> str:
    """Tell which group a test belongs to; `path` from the top of the repository, `lab`: it is marked so."""
    if lab:
        if path.is_relative_to("tests/agent"):
            return AGENTS
        return LABS_APART if any(map(path.is_relative_to, FOLDERS_APART)) else LABS
    return next((group for group, folders in FOLDERS.items() if any(map(path.is_relative_to, folders))), OTHERS)


def possible(path: PurePosixPath, group: str) -> bool:
    """Tell whether tests of a module can be of the group, whatever their markers."""
    return group in {of(path, lab=True), of(path, lab=False)}


if __name__ == "__main__":
    sys.stdout.write("\n".join(WITHOUT_LAB if "--without-lab" in sys.argv else GROUPS) + "\n")
