"""Files that commands are given: a regular one, a pipe, or standard input for `-`, of 16 MiB at most."""

import os
import sys
import time
from pathlib import Path

import typer

from wgfleet.cli.client import USAGE
from wgfleet.cli.tree import complain
from wgfleet.imports.fleet import UnreadableError
from wgfleet.imports.given_files import MAX_BYTES, bytes_of, checked

WRITER_S = 2.0  # in which a writer opens a pipe that has one


def file_bytes(file: Path) -> bytes:
    """Return what is in a file, or end the command with words."""
    try:
        if str(file) == "-":
            return checked(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input")
        return _pipe_bytes(file) if file.is_fifo() else bytes_of(file)
    except (UnreadableError, OSError) as error:
        complain(error)
        raise typer.Exit(USAGE) from None


def file_text(file: Path) -> str:
    """Return the text of a file in UTF-8, or end the command with words."""
    try:
        return file_bytes(file).decode("utf-8-sig")
    except UnicodeDecodeError:
        complain(f"{file}: is no text in UTF-8")
        raise typer.Exit(USAGE) from None


def _pipe_bytes(file: Path) -> bytes:
    """Return what somebody writes to a pipe, as a shell makes one of `<(COMMAND)`; one without a writer ends soon."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as pipe:
        ends = time.monotonic() + WRITER_S
        while (begun := _begun(descriptor)) == b"":
            if time.monotonic() >= ends:
                raise UnreadableError(f"{file}: is no file, and a pipe to which nobody writes")
            time.sleep(0.02)
        os.set_blocking(descriptor, True)
        return checked((begun or b"") + pipe.read(MAX_BYTES + 1 - len(begun or b"")), str(file))


def _begun(descriptor: int) -> bytes | None:
    """Read what is there; None: nothing yet, but somebody has opened the pipe to write, b"": nobody has."""
    try:
        return os.read(descriptor, MAX_BYTES + 1)
    except BlockingIOError:
        return None
