"""The example packages of the docs, written out as somebody writes them who works outside this repository."""

import re
import tomllib
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
_FILE = re.compile(r"^`([\w.]+)`[^\n]*:?[^\n]*\n\n```\w+\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def write_package(page: str, folder: Path) -> None:
    """Write the files that a page shows, each below its name."""
    found = dict(_FILE.findall((DOCS / page).read_text()))
    assert "pyproject.toml" in found
    for name, text in found.items():
        (folder / name).write_text(text)


def install_package(folder: Path) -> None:
    """Write what an installer would: the name and the entry points, in the folder itself."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join([*lines, ""]))
