"""The process that keeps a host's namespaces alive: `python -m wgfleet.lab.holder < hosts.json > pids.json`.

Input is a list of `HostSpec`-shaped objects: the named network namespace to enter, the host's directory, what to call
the process. Each holder enters that network namespace, makes a mount namespace of its own with an empty /run (so an own
/run/wireguard) and the host's own /etc/hosts, /etc/resolv.conf and /etc/wireguard, and becomes `sleep infinity`.

It is a program of its own, because it forks and must do so from a process without threads. Nothing else belongs here.
"""

import ctypes
import errno
import json
import os
import signal
import sys
from pathlib import Path

from wgfleet.lab.processes import BUILT_IN, mark

_CLONE_NEWNS = 0x00020000  # linux/sched.h
_CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18  # linux/mount.h
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_GONE = (errno.EINVAL, errno.ENOENT)  # of a path: no mount point any more

_libc = ctypes.CDLL(None, use_errno=True)
_FORWARDING = {"ipv4": "/proc/sys/net/ipv4/ip_forward", "ipv6": "/proc/sys/net/ipv6/conf/all/forwarding"}


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    encoded = [None if text is None else text.encode() for text in (source, target, kind)]
    data = None if options is None else options.encode()
    _check(_libc.mount(*encoded, ctypes.c_ulong(flags), data), f"mount {source} on {target}")


def _make_private() -> None:
    """Keep this namespace's mounts to itself."""
    try:
        _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # In a chroot `/` is no mount point and cannot be changed; what is mounted below it can. Others' mounts come
        # and go meanwhile, as those of network namespaces do.
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
            try:
                _mount("none", line.split()[4].encode().decode("unicode_escape"), None, _MS_PRIVATE)
            except OSError as gone:
                if gone.errno not in _GONE:
                    raise


def _arrange(directory: Path) -> None:
    """Mount the host's own files. `directory` stays visible under its own path, although /run is new."""
    run = directory / "run"
    _mount("tmpfs", str(run), "tmpfs", 0, "mode=0755")
    (run / "wireguard").mkdir(mode=0o700)
    resolver = Path("/etc/resolv.conf").resolve()
    inside = run / directory.relative_to("/run")
    inside.mkdir(mode=0o700, parents=True)
    _mount(str(directory), str(inside), None, _MS_BIND)
    _mount(str(run), "/run", None, _MS_BIND | _MS_REC)
    if resolver.is_relative_to("/run"):  # systemd-resolved's link would lead nowhere now
        resolver.parent.mkdir(parents=True, exist_ok=True)
        resolver.touch()
    for source, target in (
        (directory / "hosts", Path("/etc/hosts")),
        (directory / "resolv.conf", resolver),
        (directory / "wireguard", Path("/etc/wireguard")),
    ):
        if target.exists():
            _mount(str(source), str(target), None, _MS_BIND)


def _become_holder(spec: dict[str, str]) -> None:
    os.setsid()
    with Path("/run/netns", spec["namespace"]).open("rb") as handle:
        _check(_libc.setns(handle.fileno(), _CLONE_NEWNET), f"enter namespace {spec['namespace']}")
    _check(_libc.unshare(_CLONE_NEWNS), "make a mount namespace")
    _make_private()
    _arrange(Path(spec["directory"]))
    for family in spec.get("forwarding", "").split():
        Path(_FORWARDING[family]).write_text("1", encoding="ascii")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.chdir("/")
    os.execvp("sleep", [spec["namespace"], "infinity"])  # noqa: S606 - the holder is found by this name


def _fork(spec: dict[str, str]) -> int:
    """Return the holder's pid once it stands; raise with its reason when it does not."""
    read, write = os.pipe()  # closed by exec: an empty read means that all went well
    pid = os.fork()
    if pid == 0:
        try:
            _become_holder(spec)
        except OSError as error:
            os.write(write, str(error).encode())
        os._exit(1)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        reason = pipe.read().decode()
    if reason:
        raise RuntimeError(f"host {spec['namespace']}: {reason}")
    return pid


def main() -> None:
    """Start a holder for every host named on standard input, and print their pids by namespace."""
    os.environ[BUILT_IN] = mark()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # a lab that is killed must not go on growing
    specs = json.load(sys.stdin)
    try:
        pids = {spec["namespace"]: _fork(spec) for spec in specs}
    except RuntimeError as error:
        sys.exit(str(error))
    json.dump(pids, sys.stdout)


if __name__ == "__main__":
    main()
