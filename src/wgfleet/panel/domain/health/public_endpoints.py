"""Public endpoints of a node: each address, at the port where it listens and at that of clients' files; which answer.

Pure. A node is looked at by one of them. The others are tried now and then, and when that one is in doubt: a node is
dead when none answers, and clients of a silent one are to be heard of.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from wgfleet.protocol.addresses import split_endpoint
from wgfleet.protocol.reasons import Reason

_SILENT = 2  # looks in a row, each of several probes: not for loss alone
SILENT_S = 20.0  # for so long, an address is published no more: looks may come in quick succession


@dataclass(slots=True)
class PublicEndpoints:
    """Those of an assignment: all `known`, the first of them to be preferred, and the ones that clients have.

    `used`: the one by which it is looked at. `answered`: those that did at the latest look.
    """

    known: tuple[str, ...]
    of_clients: frozenset[str]
    used: str
    looked_at: float = float("-inf")
    first_look_at: float | None = None
    answered: frozenset[str] = frozenset()
    _missed: dict[str, int] = field(default_factory=dict)
    _silent_since: dict[str, float] = field(default_factory=dict)

    def take(self, answered: set[str], missed: set[str]) -> None:
        """Take what a look at all of them found.

        Those that could not be asked, as IPv6 from a machine without it, are in neither.
        """
        if self.first_look_at is None:
            self.first_look_at = self.looked_at
        self.answered = frozenset(answered)
        for endpoint in missed:
            self._silent_since.setdefault(endpoint, self.looked_at)
            self._missed[endpoint] = self._missed.get(endpoint, 0) + 1
        for endpoint in answered:
            self._missed.pop(endpoint, None)
            self._silent_since.pop(endpoint, None)
        self.used = next((endpoint for endpoint in self.known if endpoint in answered), self.used)

    @property
    def answering(self) -> tuple[str, ...]:
        """Return the endpoints that have been missed by no look since they answered."""
        if self.first_look_at is None:
            return ()
        return tuple(endpoint for endpoint in self.known if endpoint not in self._missed)

    def silent_addresses(self, reached: Collection[int]) -> tuple[str, ...] | None:
        """Return the addresses where clients have had no answer for a while, though the node answers at another one.

        `reached`: the IP versions by which anything is reached from here, since silence of others may be our own. None:
        nobody can tell.
        """
        known_for_s = 0.0 if self.first_look_at is None else self.looked_at - self.first_look_at
        silent = [
            endpoint
            for endpoint in self.of_clients & self._silent_since.keys()
            if self.looked_at - self._silent_since[endpoint] >= SILENT_S
        ]
        if known_for_s < SILENT_S or not self.answering or any(version(endpoint) not in reached for endpoint in silent):
            return None
        if not silent:
            return ()
        answering = {split_endpoint(each)[0] for each in self.answering}
        return tuple(sorted({split_endpoint(endpoint)[0] for endpoint in silent} - answering))

    @property
    def trouble(self) -> str:
        """Say at which endpoints clients get no answer, while another answers; "": all is well."""
        silent = [endpoint for endpoint in self.known if self._missed.get(endpoint, 0) >= _SILENT]
        of_clients = [endpoint for endpoint in silent if endpoint in self.of_clients]
        if not of_clients or len(silent) == len(self.known):
            return ""
        return Reason("no answer at {silent}; it answers at {used}", silent=", ".join(of_clients), used=self.used)


def version(endpoint: str) -> int:
    """Return the IP version of an endpoint."""
    return 6 if endpoint.startswith("[") else 4


def versions(endpoints: Iterable[str]) -> frozenset[int]:
    """Return the IP versions of endpoints."""
    return frozenset(map(version, endpoints))
