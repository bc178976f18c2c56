"""The groups of tests that run side by side: see script/tests.

A machine has one lab at a time, so tests on labs are two groups, and script/tests gives the second a network and a /run
of its own. Those of agents in namespaces of their own are another, and those without a lab the last: several processes
share each of these two, and take file after file.
"""

import sys
from pathlib import PurePosixPath

LABS, LABS_APART, AGENTS, OTHERS = GROUPS = ("labs", "labs-apart", "agents", "others")
MARK = "mark.lab"
FOLDERS_APART = (
    "tests/panel/agents",
    "tests/panel/clients",
    "tests/panel/floating",
    "tests/panel/moves",
    "tests/panel/usage",
)


def of(path: PurePosixPath, *, lab: bool) -> str:
    """Tell which group a test belongs to; `path` from the top of the repository, `lab`: it is marked so."""
    if not lab:
        return OTHERS
    if path.is_relative_to("tests/agent"):
        return AGENTS
    return LABS_APART if any(map(path.is_relative_to, FOLDERS_APART)) else LABS


def possible(path: PurePosixPath, group: str, text: str) -> bool:
    """Tell whether tests of a module can be of the group, by its place and text: a lab's name the marker."""
    return group == OTHERS or (group == of(path, lab=True) and (MARK in text or path.name == "conftest.py"))


if __name__ == "__main__":
    sys.stdout.write("\n".join(GROUPS) + "\n")
