"""Directories that options name. Loaded by the agent's commands too, so nothing comes with it."""

from pathlib import Path

import typer


def directory(text: str | Path) -> Path:
    """Return the path of a directory. An empty one, as of a variable that is not set, would be where one stands."""
    if not str(text):
        raise typer.BadParameter("names no directory; write one, or . for the one you are in")
    return Path(text)
