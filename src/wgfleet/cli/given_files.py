"""Files that commands are given: a regular one, a pipe, or standard input for `-`, of 16 MiB at most."""

import sys
from pathlib import Path

import typer

from wgfleet.cli.client import USAGE
from wgfleet.cli.tree import complain
from wgfleet.imports.fleet import UnreadableError
from wgfleet.imports.given_files import MAX_BYTES, bytes_of, checked


def file_bytes(file: Path) -> bytes:
    """Return what is in a file, or end the command with words."""
    try:
        if str(file) == "-":
            return checked(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input")
        return bytes_of(file, pipe=True)
    except UnreadableError as error:
        complain(error)
        raise typer.Exit(USAGE) from None


def file_text(file: Path) -> str:
    """Return the text of a file in UTF-8, or end the command with words."""
    try:
        return file_bytes(file).decode("utf-8-sig")
    except UnicodeDecodeError:
        complain(f"{file}: is no text in UTF-8")
        raise typer.Exit(USAGE) from None
