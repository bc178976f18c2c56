"""A process that has loaded the commands of `wgfleet` and forks for each that is asked for: see `programs.py`.

Each fork is the program from there on: its words, environment, directory and files are what was asked for, and it ends
as an interpreter ends. It belongs to the process above this one, as if that had started it.
"""

import contextlib
import gc
import importlib
import json
import os
import socket
import sys
from pathlib import Path

import httpcore  # noqa: F401 - what each command would load later: it would take most of its time
import typer._adapters  # noqa: F401 - with pydantic, at the first option

from wgfleet import cli

MOST_BYTES = 1 << 18


def serve(asked: socket.socket) -> None:
    """Fork for each that is asked for; return in each fork, and never here."""
    while True:
        words, files, _, _ = socket.recv_fds(asked, MOST_BYTES, 3)
        if not words:
            sys.exit()
        program = json.loads(words)
        _load(program["words"])
        read, write = os.pipe()
        between = os.fork()
        if between == 0:
            if pid := os.fork():
                os.write(write, str(pid).encode())
                os._exit(0)
            asked.close()
            _become(program, files)
            os.closerange(3, max(read, write, *files) + 1)
            return
        os.waitpid(between, 0)  # now the fork is the child of the process above
        asked.send(os.read(read, 20))
        for file in (read, write, *files):
            os.close(file)


def _load(words: list[str]) -> None:
    group = words[1] if len(words) > 1 else ""
    if group in cli.GROUPS:
        with contextlib.suppress(ImportError):  # the command says so
            importlib.import_module(f"wgfleet.cli.{cli.MODULES.get(group, group)}")
            gc.freeze()


def _become(program: dict[str, object], files: list[int]) -> None:
    for number, file in enumerate(files):
        os.dup2(file, number)
    words, environment = program["words"], program["environment"]
    assert isinstance(words, list)
    assert isinstance(environment, dict)
    os.chdir(str(program["directory"]))
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = words
    Path("/proc/self/comm").write_text(Path(words[0]).name)
    gc.enable()


if __name__ == "__main__":
    gc.disable()
    serve(socket.socket(fileno=int(sys.argv[1])))
    cli.main()
