"""Requirements of the lab on the machine: root, and a few programs of Debian."""

import os
import shutil
from pathlib import Path

from wgfleet.lab.errors import LabError

# program -> Debian package
PROGRAMS = {
    "ip": "iproute2",
    "knotd": "knot",
    "nft": "nftables",
    "nsenter": "util-linux",
    "ping": "iputils-ping",
    "setsid": "util-linux",
    "sysctl": "procps",
    "wg": "wireguard-tools",
    "wg-quick": "wireguard-tools",
    "wireguard-go": "wireguard-go",
}


def check_machine() -> None:
    """Raise `LabError` naming every Debian package that is missing, or root."""
    missing = sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})
    if missing:
        raise LabError(f"the lab needs programs that are not here; install them: apt-get install {' '.join(missing)}")
    if os.geteuid() != 0:
        raise LabError("the lab needs root for network namespaces; run it with sudo")
    if not Path("/dev/net/tun").exists():
        raise LabError("the lab needs /dev/net/tun for wireguard-go; load the kernel module `tun`")
