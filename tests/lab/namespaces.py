"""How the lab tests make a mount namespace and enter one: so that it works on a machine and in a chroot of one.

In a chroot `/` is no mount point: neither `unshare` nor `ip netns exec` can make it private, and `nsenter` would end up
in the machine's own root.
"""

UNSHARE_MOUNTS = ("unshare", "--mount", "--propagation", "unchanged")
# To be run first in the new namespace: keeps what is mounted on /run to it.
MAKE_PRIVATE = "mount --make-rprivate / 2>/dev/null || mount --make-private /run"


def enter(pid: int) -> list[str]:
    """The command that enters the network and mount namespaces of a process; put a program behind it."""
    return ["nsenter", f"--target={pid}", "--net", "--mount", "--root", "--wd", "--"]
