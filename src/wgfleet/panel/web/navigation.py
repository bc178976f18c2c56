"""The navigation: its sections in order, each of which a module of `pages/` brings."""

from dataclasses import dataclass

from wgfleet.panel.services.access.callers import OWN


@dataclass(frozen=True, slots=True)
class Section:
    """An entry. `label` is marked for translation where it is written; `order` leaves room between the entries.

    It is shown to callers with the scope, and is the current one on all paths below `path`.
    """

    label: str
    path: str
    order: int
    scope: str = OWN

    def holds(self, path: str) -> bool:
        """Say whether a page is one of this section."""
        return path == self.path or (self.path != "/" and path.startswith((f"{self.path}/", f"{self.path}?")))
