"""A process that has loaded the commands of `wgfleet`, or its agent, and forks for each that is asked for.

See `programs.py`. Each fork is the program from there on: its words, environment, directory and files are what was
asked for, and it ends as an interpreter ends. It belongs to the process above this one, as if that had started it.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import socket
import sys
from pathlib import Path

import httpcore  # noqa: F401 - what each command would load later: it would take most of its time
import typer._adapters  # noqa: F401 - with pydantic, at the first option

from wgfleet import cli
from wgfleet.panel import faultpoints

MOST_BYTES = 1 << 18
AGENT = "wgfleet.agent"
ROOM = " " * 4096  # a word of the command line of this process, which a fork shows another in the place of
# What a command loads when it is under way.
LATER = {
    "panel run": (
        "anyio._backends._asyncio",
        "wgfleet.cli.panel_run",
        "wgfleet.panel.dns.providers.cloudflare",
        "wgfleet.panel.dns.providers.rfc2136",
    ),
    "agent enroll": ("wgfleet.agent.enrollment.enroll",),
    "agent run": ("anyio._backends._asyncio", f"{AGENT}.__main__"),
}
_libc = ctypes.CDLL(None, use_errno=True)
_execv = os.execv


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


class Becomes(BaseException):
    """A fork becomes another program: the rest of it is that. No `Exception`, for a command may catch those."""


def _load(words: list[str]) -> None:
    if words[0] == AGENT:
        importlib.import_module(f"{AGENT}.__main__")
        gc.freeze()
        return
    group = words[1] if len(words) > 1 else ""
    if group in cli.GROUPS:
        with contextlib.suppress(ImportError):  # the command says so
            importlib.import_module(f"wgfleet.cli.{cli.MODULES.get(group, group)}")
            for module in LATER.get(" ".join(words[1:3]), ()):
                importlib.import_module(module)
            gc.freeze()


def _execute(program: str, words: list[str]) -> None:
    """Go on as the agent, as `wgfleet agent run` does, without to load it again; else do as `os.execv` does."""
    if words[:-1] != [sys.executable, "-P", "-m", AGENT]:
        _execv(program, words)
    _be_known_as(words)
    sys.argv[:] = words[-2:]
    Path("/proc/self/comm").write_text(AGENT)
    raise Becomes


def _become(program: dict[str, object], files: list[int]) -> None:
    for number, file in enumerate(files):
        os.dup2(file, number)
    words, environment = program["words"], program["environment"]
    assert isinstance(words, list)
    assert isinstance(environment, dict)
    if isinstance(pid := program["beside"], int):
        _be_known_as([sys.executable, *(["-P", "-m"] if words[0] == AGENT else []), *words])
        _enter(pid)
        if words[0] != AGENT:
            os.setsid()
    else:
        os.chdir(str(program["directory"]))
    os.environ.clear()
    os.environ.update(environment)
    getattr(faultpoints, "read", lambda: None)()  # the release before this one has none
    sys.argv[:] = words
    Path("/proc/self/comm").write_text(Path(words[0]).name)
    gc.enable()


def _enter(pid: int) -> None:
    """Do what `wgfleet.lab.hosts.Host.enter` has nsenter do: go where a process is."""
    places = [os.open(f"/proc/{pid}/{place}", os.O_RDONLY) for place in ("ns/net", "ns/mnt", "root", "cwd")]
    network, mounts, root, directory = places
    for namespace in (network, mounts):
        if _libc.setns(namespace, 0) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    os.fchdir(root)
    os.chroot(".")
    os.fchdir(directory)
    for place in places:
        os.close(place)


def _be_known_as(command: list[str]) -> None:
    """Have /proc show a command line: agents find each other by it."""
    begin, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:47])  # see proc(5)
    text = b"".join(word.encode() + b"\0" for word in command)
    assert len(text) <= end - begin
    ctypes.memmove(begin, text.ljust(end - begin, b"\0"), end - begin)


if __name__ == "__main__":
    gc.disable()
    serve(socket.socket(fileno=int(sys.argv[1])))
    os.execv = _execute  # type: ignore[assignment]  # it takes what `wgfleet agent run` gives
    try:
        if sys.argv[0] != AGENT:
            cli.main()
            sys.exit()
    except Becomes:
        pass
    runpy.run_module(AGENT, run_name="__main__", alter_sys=True)
