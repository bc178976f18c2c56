"""What names mean in the lab: each host's /etc/hosts. The one place where a name gets its addresses.

A host asks its file for each lookup, so a change holds from the next one on. The order of a name's addresses differs
from host to host, as a name server's answers do: most programs take the first.
"""

from collections.abc import Iterable, Sequence

from wgfleet.lab.hosts import Host

DOMAIN = "vpn.lab.test"


def publish(hosts: Iterable[Host], name: str, addresses: Sequence[str]) -> None:
    """Have `name` mean `addresses` for these hosts, whatever it meant before."""
    for number, host in enumerate(hosts):
        path = host.directory / "hosts"
        kept = [line for line in path.read_text(encoding="ascii").splitlines() if line.split()[1] != name]
        turn = number % len(addresses) if addresses else 0
        kept += [f"{address} {name}" for address in (*addresses[turn:], *addresses[:turn])]
        path.write_text("".join(f"{line}\n" for line in kept), encoding="ascii")  # in place: it is mounted as a file
