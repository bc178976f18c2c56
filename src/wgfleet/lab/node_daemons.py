"""A routing daemon of the lab: the file that it is set up with, how it is started, and what runs of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from wgfleet.lab.hosts import Host
from wgfleet.lab.topology import ROUTED, ROUTED6, v6
from wgfleet.lab.waiting import wait_for

_READY_S = 20.0

Values = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class NodeDaemon:
    """One kind. `processes`: what its processes have in their command lines; the last is the one that announces.

    `owner`: of the directory of its sockets, where it does not run as root. `has_bfd`: the router notices its death at
    once. `sockets`: of each program, which it makes when it is ready; the next one is started then.
    """

    name: str
    package: str
    programs: Sequence[str]
    processes: Sequence[str]
    file: str
    template: str
    directory: str
    commands: Callable[[str], Sequence[Sequence[str]]]
    owner: str = "root"
    has_bfd: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    sockets: Sequence[str] = ()

    def set_up(self, host: Host, known: Values) -> None:
        """Write its settings."""
        (host.directory / self.file).write_text(self.template.format(**known), encoding="ascii")

    def is_set_up(self, host: Host) -> bool:
        """Whether it has settings in a host."""
        return (host.directory / self.file).exists()

    def start(self, host: Host) -> None:
        """Start those of its programs that do not run."""
        host.run("install", "-d", "-o", self.owner, "-g", self.owner, self.directory)
        for command, socket in zip_longest(self.commands(str(host.directory / self.file)), self.sockets):
            if not host.find(*command[:1], str(host.directory / self.file)):
                host.start(command, self.name, self.environment)
            if socket is not None:
                wait_for(
                    lambda socket=socket: host.succeeds("test", "-S", socket),  # type: ignore[misc]
                    f"{command[0]} of {host.name} is not ready",
                    within_s=_READY_S,
                )


def values(node: Host, number: int, gateway: str, router_as: int) -> dict[str, object]:
    """Return what the settings of a node's daemon name: `own`, `own6`, `gateway`, `gateway6`, `number` and others."""
    return {
        "name": node.name.replace("-", "_"),
        "own": node.address,
        "own6": v6(node.address),
        "number": number,
        "gateway": gateway,
        "gateway6": v6(gateway),
        "router_as": router_as,
        "routed": ROUTED,
        "routed6": ROUTED6,
    }
