"""Public endpoints of a node: each address, at the port where it listens and at that of clients' files; which answer.

Pure. A node is looked at by one of them. The others are tried now and then, and when that one is in doubt: a node is
dead when none answers, and clients of a silent one are to be heard of.
"""

from dataclasses import dataclass, field

_SILENT = 2  # looks in a row, each of several probes: not for loss alone


@dataclass(slots=True)
class PublicEndpoints:
    """Those of an assignment: all `known`, the first of them to be preferred, and the ones that clients have.

    `used`: the one by which it is looked at.
    """

    known: tuple[str, ...]
    of_clients: frozenset[str]
    used: str
    looked_at: float = float("-inf")
    _missed: dict[str, int] = field(default_factory=dict)

    def take(self, answered: set[str], missed: set[str]) -> None:
        """Take what a look at all of them found.

        Those that could not be asked, as IPv6 from a machine without it, are in neither.
        """
        for endpoint in missed:
            self._missed[endpoint] = self._missed.get(endpoint, 0) + 1
        for endpoint in answered:
            self._missed.pop(endpoint, None)
        self.used = next((endpoint for endpoint in self.known if endpoint in answered), self.used)

    @property
    def trouble(self) -> str:
        """Say at which endpoints clients get no answer, while another answers; "": all is well."""
        silent = [endpoint for endpoint in self.known if self._missed.get(endpoint, 0) >= _SILENT]
        of_clients = [endpoint for endpoint in silent if endpoint in self.of_clients]
        if not of_clients or len(silent) == len(self.known):
            return ""
        return f"no answer at {', '.join(of_clients)}; it answers at {self.used}"
