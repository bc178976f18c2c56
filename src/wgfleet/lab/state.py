"""The record of a lab on the machine: /run/wgfleet-lab/NAME, with state.json in it, and who may change it.

One lab at a time: two would share their addresses. A lab belongs to the command that runs it (which holds the lock)
until `up` hands it over to the user by writing phase `up`. Whatever is found in another phase with nobody holding the
lock is the rest of a crash, and is swept away by the next command.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wgfleet.lab import network, processes
from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host
from wgfleet.lab.topology import HostSpec, check_name, places
from wgfleet.protocol.quotes import quoted

BASE = Path("/run/wgfleet-lab")
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # what a person or a system ends a command with


@dataclass(slots=True)
class Lab:
    """A lab that stands. `result` is what `lab up --json` prints, once it is complete.

    `netns_was_there`: whether the machine had `ip netns`' directory before, so that `remove` leaves it as it was.
    `nat`: the clients are behind NAT. `split`: the nodes are in two segments. `witness`: there is one.
    `panel_node`: the panel's machine is a node too.
    """

    name: str
    nodes: int
    clients: int
    netns_was_there: bool = True
    nat: bool = False
    split: bool = False
    witness: bool = False
    panel_node: bool = False
    hosts: dict[str, Host] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return BASE / self.name

    def host(self, name: str) -> Host:
        """Return a host by its name; raise with the names that there are."""
        if name not in self.hosts:
            raise LabError(f"lab {self.name} has no host {quoted(name)}; it has {', '.join(self.hosts)}")
        return self.hosts[name]

    def place(self, name: str) -> HostSpec:
        """Return where a host hangs, for cutting and reconnecting its cable."""
        self.host(name)
        found = places(self.nodes, self.clients, nat=self.nat, split=self.split, witness=self.witness)
        return next(place for place in found if place.name == name)

    def cut(self, host: str) -> None:
        """Pull a host's cable."""
        network.cut(self.name, self.place(host))

    def reconnect(self, host: str) -> None:
        """Put a host's cable back."""
        network.reconnect(self.name, self.place(host))


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Be the only command that builds or removes labs; refuse at once when another one is at it."""
    BASE.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(BASE, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            current = os.fstat(descriptor).st_ino == BASE.stat().st_ino
        except (BlockingIOError, FileNotFoundError):
            current = False
        if not current:  # held, or removed by its holder just now
            raise LabError(
                "another wgfleet lab command is at work on this machine, and one lab at a time is all there is; "
                "wait for it to end"
            )
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # a lab is left in it
                BASE.rmdir()
    finally:
        os.close(descriptor)


def found() -> list[str]:
    """Return the names of the labs that this machine remembers."""
    return sorted(path.name for path in BASE.iterdir() if path.is_dir()) if BASE.is_dir() else []


def load(name: str) -> Lab:
    """Return a lab that is up."""
    document = _read(check_name(name))
    if document is None or document["phase"] != "up":
        others = [f"{each} (give --name {each})" for each in found() if each != name]
        there = f"there is {', '.join(others)}; or " if others else ""
        raise LabError(f"lab {name} is not up; {there}start it with: wgfleet lab up --name {name}")
    hosts = {key: Host(**{**value, "directory": Path(value["directory"])}) for key, value in document["hosts"].items()}
    return Lab(
        name,
        document["nodes"],
        document["clients"],
        document["netns_was_there"],
        document["nat"],
        document["split"],
        document["witness"],
        document["panel_node"],
        hosts=hosts,
        result=document["result"],
    )


def _read(name: str) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = json.loads((BASE / name / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document


def _write(lab: Lab, phase: str) -> None:
    hosts = {name: {**asdict(host), "directory": str(host.directory)} for name, host in lab.hosts.items()}
    document = {
        "phase": phase,
        "nodes": lab.nodes,
        "clients": lab.clients,
        "netns_was_there": lab.netns_was_there,
        "nat": lab.nat,
        "split": lab.split,
        "witness": lab.witness,
        "panel_node": lab.panel_node,
        "hosts": hosts,
        "result": lab.result,
    }
    path = lab.directory / "state.json"
    temporary = path.with_suffix(".new")
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(document), encoding="utf-8")
    temporary.replace(path)


def begin(
    name: str,
    nodes: int,
    clients: int,
    *,
    nat: bool = False,
    split: bool = False,
    witness: bool = False,
    panel_node: bool = False,
) -> Lab:
    """Sweep away what crashed, refuse while a lab is up, and build the network. The caller holds the lock."""
    hosts = places(nodes, clients, nat=nat, split=split, witness=witness)
    check_name(name)
    if others := clear():
        raise LabError(
            f"lab {others[0]} is up, and two labs would share their addresses; end it with: "
            f"wgfleet lab down --name {others[0]}"
        )
    network.sweep(name)  # a lab whose directory is gone with its /run
    lab = Lab(name, nodes, clients, processes.NETNS_DIR.is_dir(), nat, split, witness, panel_node)
    lab.directory.mkdir(mode=0o700)
    try:
        _write(lab, "growing")
        lab.hosts = network.build(name, lab.directory, hosts, dual=split)
    except BaseException:
        remove(name)
        raise
    return lab


def remove(name: str) -> None:
    """Remove a lab and everything that belongs to it; removing what is not there is no error."""
    with _uninterrupted():
        document = _read(check_name(name))
        network.sweep(name)
        if document is not None and not document["netns_was_there"]:
            network.forget_netns()
        shutil.rmtree(BASE / name, ignore_errors=True)


def clear() -> list[str]:
    """Remove what killed commands have left behind; return the labs that are up. The caller holds the lock."""
    up = []
    for name in found():
        document = _read(name)
        if document is not None and document["phase"] == "up":
            up.append(name)
        else:
            remove(name)
    return up


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Have those who lose patience wait until all is gone: a second Ctrl-C would leave half a lab behind."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def copy_logs(lab: Lab, target: Path) -> None:
    """Copy what the hosts' programs wrote to `target`/HOST/."""
    for host in lab.hosts.values():
        shutil.copytree(host.directory / "log", target / host.name, dirs_exist_ok=True)


@contextlib.contextmanager
def temporary(
    name: str,
    nodes: int,
    clients: int,
    *,
    nat: bool = False,
    split: bool = False,
    witness: bool = False,
    panel_node: bool = False,
    logs: Path | None = None,
) -> Iterator[Lab]:
    """Give a lab that is removed at the end, whatever happens. `logs`: where to copy the hosts' logs before that."""
    with locked():
        lab = begin(name, nodes, clients, nat=nat, split=split, witness=witness, panel_node=panel_node)
        try:
            yield lab
        finally:
            _end(lab, logs)


@contextlib.contextmanager
def lasting(name: str, nodes: int, clients: int, *, logs: Path | None = None) -> Iterator[Lab]:
    """Give a lab that stays for the user, unless the body fails."""
    with locked():
        lab = begin(name, nodes, clients)
        try:
            yield lab
            _write(lab, "up")
        except BaseException:
            _end(lab, logs)
            raise


def _end(lab: Lab, logs: Path | None) -> None:
    try:
        if logs is not None:
            copy_logs(lab, logs)
    finally:
        remove(lab.name)
