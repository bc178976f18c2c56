"""The navigation: its sections in order, each of which a module of `pages/` brings."""

from dataclasses import dataclass

from wgfleet.panel.services.access.callers import OWN, Caller


@dataclass(frozen=True, slots=True)
class Section:
    """An entry. `label` is marked for translation where it is written; `order` leaves room between the entries.

    It is shown to callers with the scope, and is the current one on all paths below `path`. `whole`: it is about all
    configs and nodes, and nothing to callers who are limited to some. `forms`: how paths of its forms begin that lie
    elsewhere, since below `path` they could be taken for a thing that is called so.
    """

    label: str
    path: str
    order: int
    scope: str = OWN
    whole: bool = False
    forms: tuple[str, ...] = ()

    def is_for(self, caller: Caller | None) -> bool:
        """Say whether a caller sees it."""
        return caller is not None and caller.may(self.scope) and not (self.whole and caller.limit is not None)

    def holds(self, path: str) -> bool:
        """Say whether a page is one of this section."""
        within = self.path != "/" and path.startswith((f"{self.path}/", f"{self.path}?"))
        return within or path == self.path or path.startswith(self.forms)
